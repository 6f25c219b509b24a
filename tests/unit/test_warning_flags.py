"""Every flag that the package raises stands in the one table of flags, and nothing stands there that no code raises."""

import ast
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.domain.warnings import FLAGS

ROOT = Path(__file__).parents[2]


def raised() -> set[str]:
    """The flags of all warnings that the package makes."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")]
    return {flag for tree in trees for node in ast.walk(tree) for flag in flags_of(node)}


def flags_of(node: ast.AST) -> Iterator[str]:
    """Flags that a call gives a warning, and those of optional work that may fail."""
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)] if node.args else []
    if name == "MeasurementWarning" and not isinstance(node.args[0], ast.JoinedStr):
        yield from (text for text in texts if isinstance(text, str))
    if name in ("or_unavailable", "or_warning", "said"):
        yield from (f"{text}_unavailable" for text in texts if isinstance(text, str))


def test_the_table_of_flags_has_what_the_code_raises_and_nothing_else() -> None:
    found = raised()
    assert {"short_measurement_duration", "flops_unavailable", "aliasing"} <= found
    assert found - set(FLAGS) == set()
    assert set(FLAGS) - found == set()
