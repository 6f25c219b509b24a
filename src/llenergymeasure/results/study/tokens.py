"""The share of equal tokens in the table of a study: its column, and what stands beneath."""

from collections.abc import Sequence

from llenergymeasure.domain.in_figures import NONE, share_pct
from llenergymeasure.domain.study.summary import SummaryRow

EQUAL_TOKENS = "equal tok"
_MOST_NAMED = 10


def tells_shares(rows: Sequence[SummaryRow]) -> bool:
    """Whether there is a share to tell: where all said the same, a line beneath the table says so."""
    return any(row.equal_tokens.share not in (None, 1) for row in rows)


def equal_share(row: SummaryRow, rows: Sequence[SummaryRow]) -> str:
    """The share of a row, and of which row where these are several."""
    said = row.equal_tokens
    if said.share is None:
        return NONE
    return share_pct(said.share) + (f" ({said.row})" if len(_references(rows)) > 1 else "")


def about_equal_tokens(rows: Sequence[SummaryRow]) -> list[str]:
    """What the shares are, which of them need not be whole, and why others are not known."""
    said = []
    if tells_shares(rows):
        references = _references(rows)
        which = f"row {references[0]}" if len(references) == 1 else "the row in brackets"
        said.append(f"of all tokens those that {which} said too, each answer up to its first difference; of runs "
                    "that said different things the least")  # fmt: skip
    differing = [row for row in rows if row.equal_tokens.verdict == "may differ"]
    if differing:
        said.append(f"need not be 100 %: {_reasons(differing)}")
    unknown = [row for row in rows if row.equal_tokens.share is None and row.equal_tokens.reason is not None]
    if unknown and (said or len({row.outputs for row in rows if row.n_finished}) > 1):
        said.append(f"not known: {_reasons(unknown)}")
    return said


def _references(rows: Sequence[SummaryRow]) -> list[int]:
    known = {row.equal_tokens.row for row in rows if row.equal_tokens.share is not None}
    return sorted(number for number in known if number is not None)


def _reasons(rows: Sequence[SummaryRow]) -> str:
    """Why, and of which rows; of many rows how many they are."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.equal_tokens.reason or "", []).append(str(row.number))
    return "; ".join(f"{_named(numbers)} ({reason})" for reason, numbers in found.items())


def _named(numbers: Sequence[str]) -> str:
    if len(numbers) > _MOST_NAMED:
        return f"{len(numbers)} rows"
    return f"row {numbers[0]}" if len(numbers) == 1 else f"rows {', '.join(numbers)}"
