"""What can be said of the Containerfile without a daemon; its steps are run by a slow test."""

import re
import tomllib

import pytest

from tests.fakes.containerfile import ROOT, of_this_house, steps

STEPS = of_this_house()
# Docker's own, as far as a file of one image needs them.
KNOWN = {"FROM", "RUN", "ENV", "COPY", "USER", "WORKDIR", "VOLUME", "ENTRYPOINT", "CMD"}


def texts(instruction: str) -> list[str]:
    return [step.text for step in STEPS if step.instruction == instruction]


def test_steps_are_read_with_their_lines_joined_and_without_remarks() -> None:
    read = steps("# a\nFROM x:1\n\nRUN one \\\n # not this\n && two\nENV A=1 B='2 3'\n")
    assert [(step.instruction, step.text) for step in read[:2]] == [("FROM", "x:1"), ("RUN", "one && two")]
    assert read[2].variables == {"A": "1", "B": "2 3"}


def test_it_has_known_instructions_only_and_begins_with_an_image() -> None:
    assert {step.instruction for step in STEPS} <= KNOWN
    assert STEPS[0].instruction == "FROM"


def test_the_image_has_a_version() -> None:
    (image,) = texts("FROM")
    name, _, tag = image.partition(":")
    assert re.fullmatch(r"3\.\d+-slim-\w+", tag), image
    assert name == "python"
    # Of the Pythons that this package says it runs with.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {tag.partition('-')[0]}" in project["classifiers"]


def test_what_is_copied_is_there_and_is_all_that_building_the_package_takes() -> None:
    sources = [source for step in STEPS if step.instruction == "COPY" for source in step.sources]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {"pyproject.toml", "src", project["project"]["readme"], *project["project"]["license-files"]}
    assert needed <= {*sources}


def test_nothing_else_is_handed_to_whoever_builds() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = {source for step in STEPS if step.instruction == "COPY" for source in step.sources}
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == sources


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = re.findall(r"\$\{SOURCE\}\[(.+?)\]", " ".join(texts("RUN")))
    assert asked
    assert {extra for each in asked for extra in each.split(",")} <= {*project["optional-dependencies"]}


def test_what_is_installed_is_held_to_the_versions_of_this_house() -> None:
    installs = [part for text in texts("RUN") for part in text.split(" && ") if "pip install" in part]
    assert installs
    assert [part for part in installs if '--constraint "$SOURCE/constraints.txt"' not in part] == []


def test_lists_of_packages_of_the_system_do_not_stay_in_it() -> None:
    for text in texts("RUN"):
        if "apt-get install" in text:
            assert "apt-get update && apt-get install --yes --no-install-recommends " in text
            assert text.endswith("rm -rf /var/lib/apt/lists/*")


def test_folders_are_named_by_variables_so_that_a_test_can_run_the_steps_elsewhere() -> None:
    ours = [step.text for step in STEPS if step.instruction == "RUN" and not step.is_of_the_system]
    assert len(ours) > 1
    assert [text for text in ours if re.search(r"(^|[\s\"'=])/", text)] == []


def test_whoever_runs_it_is_not_root_and_it_is_llem_that_runs() -> None:
    assert texts("USER") == ["1000:1000"]
    assert texts("ENTRYPOINT") == ['["llem"]']
    order = [step.instruction for step in STEPS]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "RUN")


def test_nvml_is_asked_for() -> None:
    variables = {name: value for step in STEPS if step.instruction == "ENV" for name, value in step.variables.items()}
    assert "utility" in variables["NVIDIA_DRIVER_CAPABILITIES"].split(",")
    # The folders that are written to are those that are volumes.
    (volumes,) = texts("VOLUME")
    assert volumes == f'["{variables["DATA"]}", "{variables["CACHE"]}"]'
    assert texts("WORKDIR") == [variables["DATA"]]
    assert variables["HOME"] == variables["CACHE"]


@pytest.mark.parametrize("secret", ["TOKEN", "PASSWORD", "API_KEY"])
def test_no_secret_is_built_in(secret: str) -> None:
    assert not any(secret in step.text for step in STEPS)
