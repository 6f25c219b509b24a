"""Whether a metric is the same thing in several results."""

from collections.abc import Sequence

from llenergymeasure.domain.meaning.fields import rests_on
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.comparing.metrics import Metric


def unlike(metric: Metric, results: Sequence[ExperimentResult]) -> str | None:
    """Why a metric is not the same thing in all of those results that have it."""
    known = [result for result in results if metric.read(result) is not None]
    reasons = []
    rules = {metric.counted_by(result) for result in known}
    if len(rules) > 1:
        reasons.append(f"it is counted in different ways: {' / '.join(sorted(rule or 'not known' for rule in rules))}")
    other = []
    for place in sorted(rests_on(metric.place)):
        versions = dict.fromkeys(result.definitions.get(place) for result in known)
        if len(versions) > 1:
            other.append(f"{place} {' / '.join(str(version or 'not known') for version in versions)}")
    if other:
        reasons.append(f"it is worked out by different definitions: {', '.join(other)}")
    return "; ".join(reasons) or None
