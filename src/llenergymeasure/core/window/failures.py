"""Requests that failed: how many a run bears."""

from collections.abc import Sequence

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError

# Offline, more failed requests than this end the experiment: one, or this share.
FAILED_SHARE = 0.01


def check_failures(
    done: Sequence[RequestOutput], n_requests: int, warnings: list[MeasurementWarning], *, are_rows: bool
) -> None:
    """A few requests that fail are told; more end the experiment, unless requests came at times of their own.

    Raises:
        ExperimentError: more than one failed, and more than the share.
    """
    failed = [output for output in done if output.error is not None]
    if not failed:
        return
    said = f"{len(failed)} of {n_requests} requests failed; the first, {failed[0].index}: {failed[0].error}"
    if len(failed) > max(1, FAILED_SHARE * n_requests):
        if not are_rows:
            raise ExperimentError(f"inference failed: {said}")
        # Where requests come as they do, failing is what a deployment does under too much load.
        warnings.append(
            MeasurementWarning("requests_failed_above_share", said, "lower the rate, and see requests.parquet")
        )
        return
    warnings.append(MeasurementWarning("requests_failed", said, "see their rows in requests.parquet"))
