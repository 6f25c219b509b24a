"""How much of what each configuration of a study said is what another one said."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._telling import in_a_line
from llenergymeasure.config.base import canonical
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.summary import EqualTokens
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.equality import EXACT, WEIGHTS, decoding_of, is_greedy, why_they_may_differ
from llenergymeasure.results.outputs import SavedRun, compare_runs
from llenergymeasure.results.study.against import Side
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.rows import SlotRow
from llenergymeasure.results.tables import OUTPUTS_FILE

# Where the tables of a run lie; None where they lie nowhere.
FolderOf = Callable[[SlotRow], Path | None]
NOT_KEPT = "tokens were not kept"
# The flag of a run of which some tokens are not known.
_UNTOLD = "tokens_untold"
# Stands for inputs that are not known of every request.
_UNKNOWN = "?"
_Key = tuple[str, ...]
_Pair = tuple[int, str, int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What is kept of two runs that were compared: ``why`` there is no share, or why they may differ."""

    share: float | None = None
    why: str | None = None
    n_left_out: int = 0


def folders_in(directory: StudyDirectory, plan: StudyPlan) -> FolderOf:
    """Where the attempts of a study lie."""
    return lambda run: directory.folder(plan, plan.slots[run.slot]) / run.attempt if run.attempt else None


def _nowhere(_: SlotRow) -> Path | None:
    return None


class Saying:
    """Compares what runs said, again and again while runs come in; two that were compared are not read once more."""

    def __init__(self, plan: StudyPlan, reference: int, folder_of: FolderOf | None = None) -> None:
        """Begin with nothing read.

        Args:
            plan: the study.
            reference: the configuration that others are held against first, by its place in the plan.
            folder_of: where the tables of a run lie; None where none of them lies anywhere.
        """
        self._reference, self._folder_of = reference, folder_of or _nowhere
        alike: dict[str, str] = {}
        values = [each.values for each in plan.configurations]
        decoding = [canonical(decoding_of(each)) if is_greedy(each) else None for each in values]
        self._decoding = [each and alike.setdefault(each, each) for each in decoding]
        self._precision = [each["precision"] for each in values]
        self._known: dict[_Pair, _Found] = {}
        self._open: tuple[Path, SavedRun] | None = None

    def of(self, sides: Sequence[Side]) -> list[EqualTokens]:
        """The tokens of [n] rows of a table against those of one of them each.

        A row is held against the first that read the same, decodes alike, and has the same weights in fp32; where there
        is none before it, against the first in fp32, or else the first. The first of all is the reference of the study.
        Of rows whose tokens are drawn, and of one that nothing is held against, nothing is said.
        """
        references = self._references(sides)
        n_held = Counter(references.values())
        known: dict[_Pair, _Found] = {}
        said = []
        for place, side in enumerate(sides):
            reference = references.get(place)
            distinct = {run.values["outputs_digest"]: run for run in reversed(side.runs)}
            if reference is None or (reference == place and n_held[place] == 1 and len(distinct) == 1):
                said.append(EqualTokens())
                continue
            first = sides[reference].runs[0]
            found = []
            for run in sorted(distinct.values(), key=lambda run: run.slot):
                key = (first.slot, first.done, run.slot, run.done)
                known[key] = self._known.get(key) or self._found(first, run)
                found.append(known[key])
            said.append(_summed_up(found, reference + 1))
        self._known, self._open = known, None
        return said

    def _references(self, sides: Sequence[Side]) -> dict[int, int]:
        """The place of the row that each is held against, by its own place."""
        greedy = [place for place, side in enumerate(sides) if side.runs and self._decoding[side.configuration]]
        order = sorted(greedy, key=lambda place: (sides[place].configuration != self._reference, place))
        first: dict[_Key, int] = {}
        for rank, place in enumerate(order):
            side, (*alike, inputs) = sides[place], self._way_of(sides[place])
            ways = _ways(side, (*alike, inputs), alike)
            is_exact = self._precision[side.configuration] == EXACT and side.runs[0].values["quantization"] is None
            for key in (key for keys in (ways if is_exact else ways[-1:]) for key in keys):
                first.setdefault(key, rank)
        found = {}
        for rank, place in enumerate(order):
            side, (*alike, inputs) = sides[place], self._way_of(sides[place])
            # Inputs that are not known in full may be the same as any others.
            known = (alike,) if inputs == _UNKNOWN else ((*alike, inputs), (*alike, _UNKNOWN))
            ranks = [[first[key] for key in keys if key in first] for keys in _ways(side, *known)]
            # The first of its weights may have those of another kind of file, such as GGUF.
            ranks[0] = [other for other in ranks[0] if other != rank]
            found[place] = order[min(next(some for some in ranks if some))]
        return found

    def _way_of(self, side: Side) -> _Key:
        """What has to be the same so that tokens can be: prompts, decoding and inputs."""
        behind = side.runs[0].circumstances
        return behind.prompts, self._decoding[side.configuration] or "", behind.inputs or _UNKNOWN

    def _found(self, first: SlotRow, other: SlotRow) -> _Found:
        if _said_the_same(first, other):
            return _Found(share=1.0)
        ours, theirs = self._folder_of(first), self._folder_of(other)
        if ours is None or theirs is None or not all((folder / OUTPUTS_FILE).is_file() for folder in (ours, theirs)):
            return _Found(why=NOT_KEPT)
        try:
            saved, another = self._saved(ours), SavedRun(theirs, strict=True)
            found = compare_runs(saved, another)
        except ConfigError as error:
            # The files of a summary do not say where they lie.
            return _Found(why=in_a_line(str(error).replace(f"{ours.parents[2]}{os.sep}runs", "runs")))
        if not found.n_tokens:
            return _Found(why="neither said anything", n_left_out=found.n_left_out)
        why = None if found.identical else why_they_may_differ(saved.result, another.result, found)
        return _Found(share=found.equal_token_share, why=why, n_left_out=found.n_left_out)

    def _saved(self, folder: Path) -> SavedRun:
        """A reference: the tables of one, and of no more, are kept until all rows are through."""
        if self._open is None or self._open[0] != folder:
            self._open = None
            self._open = (folder, SavedRun(folder, strict=True))
        return self._open[1]


def notes_of_tokens(number: int, said: EqualTokens) -> list[str]:
    """What has to be known of what the row with a number said."""
    notes = []
    if said.verdict == "something else":
        notes.append(
            f"says something else than row {said.row}, of the same weights in {EXACT}"
            if said.row != number
            else f"its runs say different things, of the same weights in {EXACT}"
        )
    if said.n_left_out:
        notes.append(f"requests that were not answered in it and in row {said.row}, and whose tokens are not compared: "
                     f"{said.n_left_out}")  # fmt: skip
    return notes


def _said_the_same(first: SlotRow, other: SlotRow) -> bool:
    """Whether the digests of two runs alone tell that; not where some of their tokens are not known."""
    inputs = {run.circumstances.inputs for run in (first, other)}
    digests = {run.values["outputs_digest"] for run in (first, other)}
    untold = any(_UNTOLD in str(run.values["warnings"] or "").split("; ") for run in (first, other))
    return len(inputs) == len(digests) == 1 and "" not in inputs and not untold


def _ways(side: Side, *alike: Sequence[str]) -> list[list[_Key]]:
    """The names under which a row is looked for, best first: of the same weights in fp32, in fp32, or at all."""
    weights: Mapping[str, str] = side.runs[0].circumstances.weights
    own = [weights.get(name, "") for name in WEIGHTS]
    return [[(*kind, *each) for each in alike] for kind in (("weights", *own), ("fp32",), ("any",))]


def _summed_up(found: Sequence[_Found], row: int) -> EqualTokens:
    """Runs of a row against one run, of which the least is told."""
    unknown = next((each for each in found if each.share is None), None)
    if unknown is not None:
        return EqualTokens(row=row, reason=unknown.why, n_left_out=unknown.n_left_out)
    least = min(found, key=lambda each: (each.share or 0.0, each.why is not None))
    if least.share == 1:
        return EqualTokens(row=row, share=least.share, verdict="equal", n_left_out=least.n_left_out)
    return EqualTokens(
        row=row, share=least.share, verdict="something else" if least.why is None else "may differ", reason=least.why,
        n_left_out=least.n_left_out,
    )  # fmt: skip
