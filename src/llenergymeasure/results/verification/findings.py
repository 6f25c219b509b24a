"""What was found in the files of a result: agreement is counted, everything else is a line."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["differs", "damaged", "not verifiable"]
# Sums, counts, percentiles and what follows from them are the same but for the order of additions.
SAME = 1e-9
_MOST_SHOWN = 100


class DamageError(Exception):
    """A file or a part of one that cannot be what it should be; the message is the line about it."""


@dataclass(frozen=True)
class Finding:
    """One line: what it is about, and what is the matter with it."""

    kind: Kind
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}: {self.text}"


@dataclass
class Report:
    """What was found in one folder. ``n_agreed`` figures came out as the files have them."""

    folder: Path
    n_agreed: int = 0
    # Of a file of an earlier revision, which one: much of it nobody can verify, and its summary says so.
    schema_revision: int | None = None
    _found: dict[Finding, None] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        """Everything that was found, each once."""
        return list(self._found)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs and nothing is damaged."""
        return all(finding.kind == "not verifiable" for finding in self._found)

    def add(self, kind: Kind, name: str, text: str) -> None:
        """Add a line, once."""
        self._found.setdefault(Finding(kind, name, text))

    def damaged(self, name: str, text: str) -> None:
        """Something is not what it should be."""
        self.add("damaged", name, text)

    def unverifiable(self, name: str, reason: str) -> None:
        """Something cannot be worked out from these files."""
        self.add("not verifiable", name, reason)

    def check(self, name: str, said: Any, derived: Any, *, rel: float = SAME, off: float = 0.0) -> None:
        """Hold what a file says against what was derived; numbers may be apart by ``rel``, or by ``off``."""
        if same(said, derived, rel, off):
            self.n_agreed += 1
        else:
            more = f" +-{off:.4g}" if off else ""
            self.add("differs", name, f"the file says {shown(said)}, derived {shown(derived)}{more}")

    def check_that(self, name: str, said: Any, holds: bool, should: str) -> None:
        """Hold what a file says against a condition."""
        if holds:
            self.n_agreed += 1
        else:
            self.add("differs", name, f"the file says {shown(said)}, and {should}")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the verification that a damage may end; the others go on."""
        try:
            yield
        except DamageError as error:
            self.damaged(name, str(error))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            # Whatever a file holds, it is told and never a traceback.
            what = f"{type(error).__name__}: {shown(str(error))}"
            self.damaged(name, f"it is not of the form that a result has ({what})")


def same(said: Any, derived: Any, rel: float = SAME, off: float = 0.0) -> bool:
    """Whether two values of JSON are alike: numbers as numbers, everything else exactly and of one type."""
    if is_number(said) and is_number(derived):
        finite = math.isfinite(said) and math.isfinite(derived)
        return finite and abs(said - derived) <= max(rel * max(abs(said), abs(derived)), off, 1e-12)
    if isinstance(said, dict) and isinstance(derived, dict):
        return said.keys() == derived.keys() and all(same(said[k], derived[k], rel, off) for k in said)
    if isinstance(said, list) and isinstance(derived, list):
        return len(said) == len(derived) and all(same(a, b, rel, off) for a, b in zip(said, derived, strict=True))
    return type(said) is type(derived) and bool(said == derived)


def first_difference(said: Any, derived: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Where two values of JSON first differ, and both there; None where they are alike."""
    if isinstance(said, dict) and isinstance(derived, dict):
        for name in [*said, *(name for name in derived if name not in said)]:
            inner = f"{where}.{name}" if where else str(name)
            if name not in said or name not in derived:
                return inner, said.get(name, "nothing"), derived.get(name, "nothing")
            found = first_difference(said[name], derived[name], inner)
            if found is not None:
                return found
        return None
    if isinstance(said, list) and isinstance(derived, list) and len(said) == len(derived):
        pairs = enumerate(zip(said, derived, strict=True))
        return next((found for i, (a, b) in pairs if (found := first_difference(a, b, f"{where}[{i}]"))), None)
    return None if same(said, derived) else (where, said, derived)


def is_number(value: Any) -> bool:
    """Whether it is a number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value in a line, cut short."""
    if isinstance(value, float):
        return f"{value:.12g}"
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape", "backslashreplace").decode("ascii")
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
