"""Every flag of a warning stands in the table of docs/metrics.md, and nothing stands there that no code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.config.introspection import field_descriptions

ROOT = Path(__file__).parents[2]
# A flag has at least two words, but for this one.
SINGLE_WORD = "aliasing"
FLAG = re.compile(rf"([a-z]+(?:_[a-z0-9]+)+|{SINGLE_WORD}): ")


def documented() -> set[str]:
    """The first column of the table."""
    section = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").split("## Warnings")[1]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {flag for row in rows for flag in re.findall(r"`([a-z_]+)`", row.split("|")[1])}


def said() -> set[str]:
    """What texts of the package begin with."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")]
    return {flag for tree in trees for node in ast.walk(tree) for flag in flags_of(node)}


def flags_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == "attempt":
        texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
        yield from (f"{text}_unavailable" for text in texts if isinstance(text, str))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := FLAG.match(node.value)):
        yield match[1]


def test_the_table_of_warnings_has_what_the_code_says_and_nothing_else() -> None:
    assert {"short_measurement_duration", "flops_unavailable", SINGLE_WORD} <= said()
    # Errors begin with the setting that is wrong, and one warning with the setting that makes it.
    settings = {path.rpartition(".")[2] for path in field_descriptions()}
    assert said() - settings - documented() == set()
    assert documented() - said() == set()
