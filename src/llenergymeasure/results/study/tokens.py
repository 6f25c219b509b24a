"""What the rows of a study's table said: letters, the share of equal tokens, and what stands beneath."""

from collections.abc import Sequence

from llenergymeasure.domain.in_figures import NONE, share_pct
from llenergymeasure.domain.study.summary import SummaryRow

PERCENT = "%"
_MOST_NAMED = 10


def tells_outputs(rows: Sequence[SummaryRow]) -> bool:
    """Whether there is something to tell row by row: where all said the same, a line beneath the table says so."""
    return len({row.outputs for row in rows if row.n_finished}) > 1 or any(map(_tells_a_share, rows))


def output_of(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """The letters of a row, and its share of equal tokens with the row that it is of where these are several."""
    said = row.equal_tokens
    parts = ["/".join(row.outputs) or NONE]
    if said.share is not None and _tells_a_share(row):
        parts.append(share_pct(said.share))
        parts += [f"({said.row})"] if len(_references(rows)) > 1 else []
    return " ".join(parts)


def about_equal_tokens(rows: Sequence[SummaryRow]) -> list[str]:
    """What the shares are, which of them need not be whole, and why others are not known."""
    said = []
    if any(map(_tells_a_share, rows)):
        references = _references(rows)
        which = f"row {references[0]}" if len(references) == 1 else "the row in brackets"
        said.append(f"of all tokens those that {which} said too, each answer up to its first difference; of runs that "
                    "said different things the least")  # fmt: skip
    differing = [row for row in rows if row.equal_tokens.verdict == "may differ"]
    if differing:
        said.append(f"equality is not to be expected of {_reasons(differing)}")
    unknown = [row for row in rows if row.equal_tokens.share is None and row.equal_tokens.reason is not None]
    if unknown and tells_outputs(rows):
        said.append(f"not known of {_reasons(unknown)}")
    return said


def _tells_a_share(row: SummaryRow) -> bool:
    """Whether a row said not all of what the other did; that it did is what its letter says."""
    said = row.equal_tokens
    return said.share is not None and (said.share < 1 or said.n_left_out > 0)


def _references(rows: Sequence[SummaryRow]) -> list[int]:
    known = {row.equal_tokens.row for row in rows if _tells_a_share(row)}
    return sorted(number for number in known if number is not None)


def _reasons(rows: Sequence[SummaryRow]) -> str:
    """Of which rows, and why; of many rows how many they are."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.equal_tokens.reason or "", []).append(str(row.number))
    return "; ".join(f"{_named(numbers)} ({reason})" for reason, numbers in found.items())


def _named(numbers: Sequence[str]) -> str:
    if len(numbers) > _MOST_NAMED:
        return f"{len(numbers)} rows"
    return f"row {numbers[0]}" if len(numbers) == 1 else f"rows {', '.join(numbers)}"
