"""Whether a file still says what a study was planned from."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

from llenergymeasure._telling import told_values
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.config.sweep.chosen import carried_out
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.exceptions import config_error
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.where import where_planned
from llenergymeasure.results.rows.settings import flat_settings, same

_MOST_SHOWN = 10
# What is compared by the runs that there are, or may be others where a study is gone on with.
_NOT_COMPARED = ("cycles", "order", "workers")


def refuse_another_study(plan: StudyPlan, given: StudyConfig) -> None:
    """Raise unless a study runs what its plan has.

    Raises:
        ConfigError: it does not; the differences are told. Or its files cannot be found where it was planned.
    """
    experiments = carried_out(given)
    # Of what is left to the machine it looks into files.
    leaves_something = not all(each.is_settled for each in experiments)
    with where_planned(plan) if leaves_something else contextlib.nullcontext(), Asking() as asking:
        chosen = [settled_before_a_run(each, asking) for each in experiments]
    now = plan_of(given, chosen, datetime.now(UTC))
    lines = list(_differences(plan, now))
    if not lines and now.digest == plan.digest:
        return
    more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    raise config_error(
        f"the file is another study than the one in the folder: {'; '.join([*lines[:_MOST_SHOWN], *more])}; go on "
        "without a file, or begin a new study without --resume"
    )


def _differences(plan: StudyPlan, now: StudyPlan) -> Iterator[str]:
    before, after = len(plan.compared), len(now.compared)
    if before != after:
        yield f"{before} configurations in the folder, {after} in the file"
    for number, (ours, theirs) in enumerate(zip(plan.configurations, now.configurations, strict=False)):
        folder, file = (flat_settings(told_values(dict(each.values))) for each in (ours, theirs))
        for name in sorted(folder.keys() | file.keys()):
            before_it, in_it = folder.get(name), file.get(name)
            if not same(before_it, in_it) and name not in ("name", "output_dir"):
                yield f"configuration {number}: {name} {before_it!r} in the folder, {in_it!r} in the file"
    runs = tuple(sum(not slot.sentinel for slot in each.slots) / max(1, len(each.compared)) for each in (plan, now))
    if runs[0] != runs[1]:
        yield f"{runs[0]:g} runs of each in the folder, {runs[1]:g} in the file"
    if plan.order != now.order:
        yield f"order {plan.order} in the folder, {now.order} in the file"
    before_it, in_it = (each.execution.model_dump(mode="json") for each in (plan, now))
    for name, value in before_it.items():
        if name not in _NOT_COMPARED and not same(value, in_it[name]):
            yield f"execution.{name} {value!r} in the folder, {in_it[name]!r} in the file"
