"""What a contributor is told to read and to run is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL) + re.findall(r"`(make .*?)`", PAGE)
    )
    targets = set(re.findall(r"^(?:`?)make ([a-z-]+)", code, flags=re.MULTILINE))
    assert len(targets) > 5
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_files_and_folders_that_it_names_are_there() -> None:
    paths = [one or other for one, other in re.findall(r"`([\w./]+/)`|`(\S+\.py)`", PAGE)]
    assert len(paths) > 5
    places = (ROOT, ROOT / "src" / "llenergymeasure")
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []
