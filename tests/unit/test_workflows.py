"""What hosted machines run is what is run here: targets of the Makefile, with the Pythons that are promised."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Of actions by their commits; the publisher's own documentation names a branch.
BY_A_BRANCH = {"pypa/gh-action-pypi-publish@release/v1"}


def read(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return workflow


def events(workflow: dict[Any, Any]) -> dict[str, Any]:
    # To YAML 1.1 the word is a truth.
    found: dict[str, Any] = workflow[True]
    return found


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def targets(text: str) -> list[str]:
    """The targets that the lines of a script have made."""
    found = [re.fullmatch(r"\s*make ([\w-]+)( \w+=\S+)*", line) for line in text.splitlines()]
    return [match[1] for match in found if match]


def all_targets() -> set[str]:
    return {target for path in FILES for step in steps(read(path.name)) for target in targets(step.get("run", ""))}


def test_the_three_workflows_are_there() -> None:
    assert [path.name for path in FILES] == ["gpu.yml", "release.yml", "test.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_every_step_makes_a_target_that_the_makefile_has(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = [step["run"] for step in steps(read(path.name)) if "run" in step]
    for script in scripts:
        # A line that is not make would be run there and nowhere else.
        assert len(targets(script)) == len(script.strip().splitlines()), script
        for target in targets(script):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_what_has_to_hold_on_main_is_run_on_hosted_machines_too() -> None:
    wanted = targets((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert {"check", "test", "test-engines"} <= {*wanted}
    test = read("test.yml")
    assert {*wanted} <= {target for step in steps(test) for target in targets(step.get("run", ""))}


def test_the_pythons_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    tried = read("test.yml")["jobs"]["default"]["strategy"]["matrix"]["python"]
    assert tried == promised
    assert project["requires-python"] == f">={promised[0]}"
    # A number in YAML would be 3.1 for 3.10.
    assert all(isinstance(python, str) for python in tried)


def test_every_push_and_pull_request_is_tested() -> None:
    assert {"push", "pull_request"} <= {*events(read("test.yml"))}
    assert events(read("test.yml"))["push"] is None


def test_no_stranger_runs_code_on_the_machine_with_the_gpu() -> None:
    gpu = read("gpu.yml")
    assert {*events(gpu)} == {"push", "schedule", "workflow_dispatch"}
    assert events(gpu)["push"]["branches"] == ["main"]
    assert [job["runs-on"] for job in gpu["jobs"].values()] == [["self-hosted", "linux", "gpu"]]
    folders = [pattern.removesuffix("/**") for pattern in events(gpu)["push"]["paths"]]
    assert [folder for folder in folders if not (ROOT / folder).exists()] == []


def test_a_release_is_a_tag_whose_build_is_not_what_publishes() -> None:
    release = read("release.yml")
    assert events(release) == {"push": {"tags": ["v*"]}}
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert "permissions" not in build
    assert publish["permissions"] == {"id-token": "write", "attestations": "write"}
    assert publish["environment"] == "release"
    assert publish["needs"] == "build"
    # What comes from the repository is run where nothing can be published.
    assert [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_rights_are_the_least_and_nothing_runs_for_ever(path: Path) -> None:
    workflow = read(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    assert [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job] == []
    for step in steps(workflow):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_actions_are_named_by_their_commits_with_the_version_beside_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.+)$", text, flags=re.MULTILINE)
    assert used or path.name == "gpu.yml"
    wrong = [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)]
    assert {*wrong} <= BY_A_BRANCH


def test_an_action_has_one_version_everywhere() -> None:
    used: dict[str, set[str]] = {}
    for path in FILES:
        for name, version in re.findall(r"uses: (\S+?)@(\S+)", path.read_text(encoding="utf-8")):
            used.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in used.items() if len(versions) > 1} == {}


def test_the_makefile_tells_of_every_target_that_is_made_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = set(re.findall(r"make ([\w-]+)", "\n".join(re.findall(r'@echo "(make .*)"', makefile))))
    assert all_targets() <= told
