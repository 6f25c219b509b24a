"""Groups of repeated runs beside each other, as text and as Markdown."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.render import DIGEST_DIGITS, setting
from llenergymeasure.domain.in_figures import NONE, letter, ratio, with_interval
from llenergymeasure.results.comparing.comparison import Against, Comparison, Row, Value
from llenergymeasure.results.comparing.facts import Fact
from llenergymeasure.results.comparing.metrics import Metric
from llenergymeasure.results.showing import tables
from llenergymeasure.results.showing.lines import WIDTH, wrapped
from llenergymeasure.results.statistics import runs

# Of latencies the table has these; the JSON has all.
_LATENCIES = ("ttft_", "tpot_", "itl_", "e2e_")
_SHOWN = ("mean_s", "p50_s", "p99_s")
_MOST_PACKAGES = 5
_TWO = 2
_MANY = ("settings", "tokens")


def comparison(found: Comparison, *, markdown: bool = False, with_settings: bool = True) -> str:
    """The groups, a table for each of them against the first, and what to know beside it.

    Args:
        found: the comparison.
        markdown: for an issue or a paper; else for a terminal.
        with_settings: whether settings are among what differs.
    """
    letters = [letter(place) for place in range(len(found.groups))]
    listed = [
        f"{name}  {in_a_line(group.label)} ({runs(len(group.results))})"
        for name, group in zip(letters, found.groups, strict=True)
    ]
    blocks = ["\n".join(f"- {line}" for line in listed) if markdown else "\n".join(listed)]
    rows = [row for row in found.rows if _is_shown(row)]
    blocks += [_table(rows, letters, place, markdown) for place in range(1, len(letters))]
    beside = _beside(found, rows, letters)
    facts = [fact for fact in found.differences if with_settings or fact.kind != "settings"]
    # Names of runs and values of settings stand in them.
    lines = [(label, in_a_line(text)) for label, text in [*beside, *_differences(facts)]]
    blocks.append("\n".join(f"- {label}: {text}" if markdown else wrapped(label, text) for label, text in lines))
    return "\n\n".join(blocks)


def _is_shown(row: Row) -> bool:
    return not row.metric.name.startswith(_LATENCIES) or row.metric.name.endswith(_SHOWN)


def _table(rows: Sequence[Row], letters: Sequence[str], place: int, markdown: bool) -> str:
    head = ["metric", letters[0], letters[place], f"{letters[place]} / {letters[0]}", "verdict"]
    body = [
        [
            _called(row.metric, markdown),
            _value(row.values[0]),
            _value(row.values[place]),
            _ratio(row.against[place - 1]),
            _verdict(row.against[place - 1]),
        ]
        for row in rows
    ]
    draw = tables.markdown if markdown else tables.plain
    return draw(head, body, ["left"] * len(head))


def _called(metric: Metric, markdown: bool) -> str:
    """By its own name where there is room for it."""
    if not markdown:
        return metric.label
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def _value(value: Value) -> str:
    found = value.summary
    if found is None:
        return NONE
    marks = f" of {found.n}" if value.n_without else ""
    return f"{with_interval(found.value, found.low, found.high)}{marks}"


def _ratio(against: Against) -> str:
    found = against.ratio
    if found is None:
        return NONE
    is_one = found.method == "exact" and found.low == found.high
    if is_one or found.low is None or found.high is None:
        return ratio(found.value)
    return f"{ratio(found.value)} ({ratio(found.low)}-{ratio(found.high)})"


def _verdict(against: Against) -> str:
    if against.refused is not None and against.ratio is None:
        return "refused"
    return against.judgement.verdict


def _beside(found: Comparison, rows: Sequence[Row], letters: Sequence[str]) -> list[tuple[str, str]]:
    """What is in the table, and what repeats do not take away."""
    margin = f"{100 * found.margin:g} %"
    family = "; all against A are one family, by Holm" if len(letters) > _TWO else ""
    verdicts = (
        f"different: the interval excludes 1 and the ratio is beyond {margin}; equivalent: all of the interval is "
        f"within {margin}{family}. A number of runs would decide with 80 %, if ratio and scatter stay what they are"
    )
    lines = []
    if any(against.judgement.p is not None for row in rows for against in row.against):
        lines.append(("intervals", "95 %, Student's t on the logarithms of runs; values are geometric means"))
        lines.append(("verdicts", verdicts))
    lines += [("beside the interval", text) for text in _systematic(rows, letters)]
    lines += [("caution", text) for text in found.cautions]
    notes = [(note, row) for row in rows for against in row.against for note in against.notes]
    undecided = [(why, row) for row in rows for against in row.against if (why := _why(against)) is not None]
    lines += [*_by_text("note", notes, len(rows)), *_by_text("undecided", undecided, len(rows))]
    for place, name in enumerate(letters):
        far = [(f"{name}: {', '.join(row.values[place].outliers)}", row) for row in rows if row.values[place].outliers]
        lines += _by_text("outlier, kept", far, len(rows))
    return lines


def _why(against: Against) -> str | None:
    """How many runs would decide, or the reason of what more runs of the same do not."""
    said = against.judgement
    return said.reason if said.n_needed is None else f"{said.n_needed} runs of each would decide"


def _by_text(label: str, said: Sequence[tuple[str, Row]], n_rows: int) -> list[tuple[str, str]]:
    """Each text once, with the metrics that it is of where they are not all."""
    found: dict[str, dict[str, None]] = {}
    for text, row in said:
        found.setdefault(text, {})[row.metric.label] = None
    return [(label, text if len(names) == n_rows else f"{text} [{', '.join(names)}]") for text, names in found.items()]


def _systematic(rows: Sequence[Row], letters: Sequence[str]) -> list[str]:
    """What the sensors are off by, of the first row that has energy."""
    row = next((row for row in rows if any(v.accuracy_pct or v.bound_pct for v in row.values)), None)
    if row is None:
        return []
    said = []
    for name, value in zip(letters, row.values, strict=True):
        parts = [f"+-{value.accuracy_pct:g} % (sensor)"] if value.accuracy_pct is not None else []
        parts += [f"+-{value.bound_pct:.2g} % (readings)"] if value.bound_pct is not None else []
        said.append(f"{name} {', '.join(parts) or 'not known'}")
    return [f"energy: {'; '.join(said)}; repeats take nothing of it away"]


def _differences(facts: Sequence[Fact]) -> list[tuple[str, str]]:
    """What else differs, a line for each kind; of packages the first few."""
    packages = [fact for fact in facts if fact.name.startswith("package.")]
    shown = [fact for fact in facts if fact not in packages[_MOST_PACKAGES:]]
    found: dict[str, list[str]] = {}
    for fact in shown:
        values = " / ".join(", ".join(_told(fact, value) for value in of) for of in fact.values)
        found.setdefault(fact.kind, []).append(f"{fact.name.removeprefix('package.')} {values}")
    more = len(packages) - _MOST_PACKAGES
    if more > 0:
        found["environment"].append(f"and {more} more packages")
    return [(f"{kind} differ{'' if kind in _MANY else 's'}", "; ".join(said)) for kind, said in found.items()]


def _told(fact: Fact, value: Any) -> str:
    """A value as in YAML; of a digest so many digits that it can be told from others."""
    if fact.name.endswith("_digest") and isinstance(value, str) and ":" not in value:
        return value[:DIGEST_DIGITS]
    text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else setting(value)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
