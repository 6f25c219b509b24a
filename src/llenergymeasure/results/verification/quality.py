"""Perplexity and bits per byte, from the sum of logarithms and what it is of."""

import math
import re
from collections.abc import Mapping
from typing import Any

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.findings import DamageError, Report, first_difference, is_number, shown

FIRST_WITH_QUALITY = 6
_BUILT_IN = "built-in sample"
_FIGURES = (
    "perplexity", "bits_per_byte", "nll_nats", "n_scored_tokens", "n_bytes", "n_context_tokens", "n_stride_tokens",
    "text_digest", "tokens_digest",
)  # fmt: skip
_FIELDS = {*_FIGURES, "text", "why_not"}
_FLAG = "quality_unavailable: "
_SUM = re.compile(r"[0-9a-f]{64}")


def verify_quality(bundle: Bundle, report: Report) -> None:
    """That there is what was asked for, that it is what the first process left, and that its figures follow."""
    if bundle.revision < FIRST_WITH_QUALITY:
        return
    with report.part("quality"):
        found, asked = bundle.result["quality"], bundle.result["effective_config"].get("quality")
        should = f"effective_config.quality is {shown(asked)}"
        report.check_that("quality", found, (found is None) == (asked is None), should)
        if bundle.raws:
            apart = first_difference(found, bundle.raws[0]["quality"])
            where, said, left = apart or ("", "", "")
            report.check_that(f"quality.{where}".rstrip("."), said, apart is None, f"the raw result has {shown(left)}")
        if found is not None and asked is not None:
            _check_figures(found, asked, bundle, report)


def _check_figures(found: Mapping[str, Any], asked: Mapping[str, Any], bundle: Bundle, report: Report) -> None:
    if found.keys() != _FIELDS:
        name = min(_FIELDS.symmetric_difference(found))
        raise DamageError(f"it has {'no' if name in _FIELDS else 'a'} field {shown(name)}")
    report.check("quality.text", found["text"], asked["text"] or _BUILT_IN)
    why, warnings = found["why_not"], bundle.result["measurement_warnings"]
    if why is not None:
        for name in _FIGURES:
            report.check(f"quality.{name}", found[name], None)
        told = any(warning.startswith(f"{_FLAG}{why}") for warning in warnings)
        report.check_that("quality.why_not", why, told, "no warning says so")
        return
    is_told = any(warning.startswith(_FLAG) for warning in warnings)
    report.check_that("quality.why_not", why, not is_told, "a warning says that there is none")
    nats, n_tokens, n_bytes = found["nll_nats"], found["n_scored_tokens"], found["n_bytes"]
    if not is_number(nats) or nats < 0:
        raise DamageError(f"nll_nats is {shown(nats)}, and a probability is one at most")
    for name in ("n_scored_tokens", "n_context_tokens", "n_stride_tokens"):
        _check_count(name, found[name])
    report.check_that("quality.n_scored_tokens", n_tokens, n_tokens <= asked["n_scored_tokens"], "less was asked for")
    context, stride = found["n_context_tokens"], found["n_stride_tokens"]
    report.check_that("quality.n_context_tokens", context, context <= asked["n_context_tokens"], "less was asked for")
    report.check_that("quality.n_stride_tokens", stride, stride <= context // 2, "half a window is most")
    for name in ("text_digest", "tokens_digest"):
        if not isinstance(found[name], str) or _SUM.fullmatch(found[name]) is None:
            raise DamageError(f"{name} is {shown(found[name])}, which is no SHA-256")
    report.check("quality.perplexity", found["perplexity"], math.e ** (nats / n_tokens))
    if n_bytes is not None:
        _check_count("n_bytes", n_bytes)
    report.check("quality.bits_per_byte", found["bits_per_byte"], n_bytes and nats * math.log2(math.e) / n_bytes)
    report.unverifiable("quality.nll_nats", "the probability of each token is not kept")


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DamageError(f"{name} is {shown(value)}, which is no number of them")
