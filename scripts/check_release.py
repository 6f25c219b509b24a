"""Check that everything says the version that a tag releases: ``python scripts/check_release.py v2.0.0``."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Why this tag cannot be released, in a line each.

    Args:
        tag: such as ``v2.0.0``.
        root: of the checkout.
    """
    version = _found(root / "src" / "llenergymeasure" / "_version.py", r'^__version__ = "(.+)"$')
    cited = _found(root / "CITATION.cff", r"^version: (.+)$")
    told = (
        [] if tag == f"v{version}" else [f"the tag is {tag!r} and _version.py says {version}: it has to be v{version}"]
    )
    if cited != version:
        told.append(f"CITATION.cff says {cited} and _version.py {version}")
    if _found(root / "CHANGELOG.md", rf"^## \[({re.escape(version)})\] - \d{{4}}-\d\d-\d\d$") != version:
        told.append(f"CHANGELOG.md has no section '## [{version}] - DATE'; [Unreleased] becomes it")
    return told


def _found(path: Path, pattern: str) -> str:
    """What a line of a file says; empty where none does."""
    match = re.search(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return match[1] if match else ""


def main(tag: str) -> int:
    """Tell the problems; 1 where there are any."""
    found = problems(tag)
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2] or [""]))
