"""The room in which results are worked out again shares nothing with what made them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llenergymeasure.results import verification

ROOM = Path(verification.__file__).parent
OF_OTHERS = {"numpy", "pyarrow", "scipy"}


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports by a relative name"
            yield node.module or ""


@pytest.mark.parametrize("file", sorted(ROOM.rglob("*.py")), ids=lambda file: file.name)
def test_a_module_imports_its_own_room_and_libraries_only(file: Path) -> None:
    # The contract of import-linter names the package's modules one by one, and would not know of a new one.
    for module in imported(file):
        own = module.startswith(verification.__name__)
        assert own or module.partition(".")[0] in OF_OTHERS | set(sys.stdlib_module_names), module
