"""The slots of a study held against its plan and the names of their folders: whose result lies where."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.results.verification.bundle import DONE, RESULT, Bundle, as_json, check_prompts, prompts_of
from llenergymeasure.results.verification.findings import DamageError, Report, first_difference, shown

PLAN, RUNS, _EVENTS = "plan.json", "runs", "events"
_SLOT = re.compile(r"(\d{4,})-(.+)", re.DOTALL)
_ATTEMPT = re.compile(r"attempt-(\d+)")


@dataclass(frozen=True)
class Attempts:
    """Folders of attempts: those of results, and those ``without`` one, of which ``explained`` say why."""

    results: Sequence[Path]
    without: Sequence[Path]
    explained: Sequence[Path]


def is_attempt(folder: Path) -> bool:
    """Whether a folder is called as that of an attempt."""
    return _ATTEMPT.fullmatch(folder.name) is not None


def is_run_again(attempt: Path) -> bool:
    """Whether a later attempt at the same run has finished."""
    number = _ATTEMPT.fullmatch(attempt.name)
    if number is None:
        return False
    # A path may be given from within.
    others = (each for each in attempt.absolute().parent.iterdir() if (each / DONE).is_file())
    return any(int(found[1]) > int(number[1]) for each in others if (found := _ATTEMPT.fullmatch(each.name)))


def check_names(results: Iterable[Path], report: Report) -> None:
    """Hold the configuration of each result against the hash in the name of its slot's folder."""
    for folder in results:
        # A path may be given from within.
        slot = Path(folder.absolute()).parent
        named = _SLOT.fullmatch(slot.name)
        result = _result_in(folder)
        if named is None or slot.parent.name != RUNS or not is_attempt(folder) or result is None:
            continue
        said = result.get("measurement_config_hash")
        if said != named[2]:
            text = f"its folder is that of {shown(named[2])}, and the result is of {shown(said)}"
            report.add("differs", _field(folder, "measurement_config_hash", report), text)


def check_slots(study: Path, attempts: Attempts, report: Report) -> None:
    """Hold the slots of a study against its plan: none is passed over, and none has the result of another.

    Raises:
        DamageError: the plan cannot be read, or has what is no slot.
    """
    runs = study / RUNS
    plan = as_json(Bundle(study, {PLAN: study / PLAN}), PLAN)
    planned = {f"{slot['slot']:04d}-{slot['hash']}": slot for slot in map(_with_its_config(plan), plan["slots"])}
    strange = next((name for name in planned if "/" in name), None)
    if strange is not None:
        raise DamageError(f"it has the slot {shown(strange)}, which is no name of a folder")
    of_results, of_all = _by_slot(runs, attempts.results), _by_slot(runs, [*attempts.results, *attempts.without])
    explained = _by_slot(runs, attempts.explained)
    finished = _finished_slots(study / _EVENTS)
    if finished is None:
        # Before there were events, slots were carried out in their order, and one that was interrupted ended the study.
        begun = [place for place, name in enumerate(planned) if name in of_all]
        finished = dict.fromkeys(range(max(begun, default=0)), "experiments after it were run")
    for place, (name, slot) in enumerate(planned.items()):
        called = _called(runs / name, report)
        for folder in of_results.get(name, ()):
            _check_result(folder, slot, report)
        if name in of_results or name in explained:
            continue
        if place in finished:
            report.damaged(called, f"{finished[place]}, and it has neither a result nor a failure")
        elif not os.path.lexists(runs / name):
            report.unverifiable(called, f"not run: {PLAN} has it, and nothing is there")
        elif (why := _without_attempt(runs / name)) is not None:
            report.damaged(called, why)
    for name in sorted(of_all.keys() - planned.keys()):
        report.add("differs", _called(runs / name, report), f"{PLAN} has no such slot")
    given = {prompts_of(each.get("config")) for each in plan.get("configurations", ())}
    for name, digest in sorted(filter(None, given)):
        check_prompts(study / name, digest, _called(study / name, report), report)


def _with_its_config(plan: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Gives a slot what its result has to say, where the plan has configurations apart from the slots."""

    def whole(slot: dict[str, Any]) -> dict[str, Any]:
        try:
            configuration = plan["configurations"][slot["configuration"]]
        except (KeyError, IndexError, TypeError):
            return slot
        if configuration.get("hash") != slot["hash"]:
            raise DamageError(f"slot {shown(slot['slot'])} has another hash than its configuration")
        place = {name: slot.get(name) for name in ("slot", "block", "repeat")}
        key = {"study_id": plan.get("study_id"), **place, "order": plan.get("order")}
        return {**slot, "config": configuration.get("config"), "run_key": key}

    return whole


def _finished_slots(events: Path) -> dict[int, str] | None:
    """The slots of which an event says that they finished; None where there are no events."""
    if not events.is_dir():
        return None
    found: dict[int, str] = {}
    for file in sorted(events.glob("*.jsonl")):
        try:
            lines = file.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                event = json.loads(line)
                if event["event"] == "finished":
                    found[int(event["slot"])] = f"{_EVENTS}/{file.name} says that it finished"
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # the last line of one that was killed may be torn
    return found


def _without_attempt(slot: Path) -> str | None:
    """Why the folder of a slot has no attempt; None where one is in it, or where a link to it was told already."""
    if slot.is_symlink():
        return None
    try:
        there = any(map(_ATTEMPT.fullmatch, os.listdir(slot)))  # noqa: PTH208 - names, also of links
    except OSError as error:
        return f"it cannot be looked into: {error.strerror or error}"
    return None if there else "there is no attempt in it, so what lay there was taken away"


def _check_result(folder: Path, slot: Mapping[str, Any], report: Report) -> None:
    """Whether a result is that of the experiment which was planned for its slot."""
    result = _result_in(folder)
    if result is None:
        return
    for said, planned in (("experiment_id", "experiment_id"), ("effective_config", "config"), ("run_key", "run_key")):
        if planned not in slot:
            continue
        found = first_difference(result.get(said), slot[planned], said)
        if found is not None:
            where, ours, theirs = found
            text = f"the result says {shown(ours)}, and {PLAN} {shown(theirs)} for this slot"
            report.add("differs", _field(folder, where, report), text)


def _result_in(folder: Path) -> dict[str, Any] | None:
    """What a result says; None where it cannot be read, which its own report tells."""
    try:
        return as_json(Bundle(folder, {RESULT: folder / RESULT}), RESULT)
    except DamageError:
        return None


def _by_slot(runs: Path, folders: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in folders:
        if folder != runs and folder.is_relative_to(runs):
            found.setdefault(folder.relative_to(runs).parts[0], []).append(folder)
    return found


def _called(path: Path, report: Report) -> str:
    return path.relative_to(report.folder).as_posix()


def _field(folder: Path, name: str, report: Report) -> str:
    return name if folder == report.folder else f"{_called(folder, report)}: {name}"
