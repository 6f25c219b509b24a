"""Perplexity and bits per byte, derived again; and every edit of them, with sums made anew, is found."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.results.verification.verify import verify
from tests.fakes.bundles import bundle_of
from tests.fakes.damages import sums_written
from tests.unit.results.verification.test_bundles import raw_of, unverifiable, wrong
from tests.unit.results.verification.test_edits import edited

RAW = ".state/process_0.json"
# Three nats a token; 4,000 bytes.
FOUND = QualityResult(
    text="built-in sample", text_digest="a" * 64, tokens_digest="b" * 64, nll_nats=3000.0, n_scored_tokens=1000,
    n_bytes=4000, perplexity=math.e**3, bits_per_byte=3000 / math.log(2) / 4000, n_context_tokens=512,
    n_stride_tokens=256,
)  # fmt: skip
WHY = "the engine does not tell how probable tokens are"


def raw_with(found: QualityResult | None, *warnings: MeasurementWarning, asked: Any = True) -> RawProcessResult:
    plan = ExperimentPlan.of(ExperimentConfig.model_validate({"model": "m", "quality": asked}))
    raw = raw_of()
    return raw.model_copy(
        update={
            "effective_config": plan.config.resolved(),
            "quality": found,
            "measurement_warnings": (*raw.measurement_warnings, *warnings),
        }
    )


def about_quality(folder: Path) -> list[str]:
    return [line for line in wrong(verify(folder)) if "quality" in line]


def test_what_follows_from_the_sum_agrees(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(FOUND)])
    assert about_quality(tmp_path) == []
    assert "quality.nll_nats" in unverifiable(verify(tmp_path))


@pytest.mark.parametrize(
    "raw",
    [
        raw_with(None, asked=None),
        raw_with(QualityResult(text="built-in sample", why_not=WHY), MeasurementWarning("quality_unavailable", WHY)),
        raw_with(
            replace(FOUND, text="a.txt", n_bytes=None, bits_per_byte=None),
            asked="a.txt",
        ),
    ],
    ids=["not asked for", "none, and why", "of bytes nobody knows"],
)
def test_what_is_not_there_agrees_with_the_reason(raw: RawProcessResult, tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw])
    assert about_quality(tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("perplexity", 20.0, "differs: quality.perplexity: the file says 20, derived 20.0855369232"),
        ("bits_per_byte", 1.0, "differs: quality.bits_per_byte: the file says 1, derived 1.08202128067"),
        ("bits_per_byte", None, "differs: quality.bits_per_byte: the file says None, derived 1.08202128067"),
        ("nll_nats", 2900.0, "differs: quality.perplexity: the file says 20.0855369232, derived 18.1741453694"),
        ("nll_nats", -1.0, "damaged: quality: nll_nats is -1, and a probability is one at most"),
        ("n_scored_tokens", 0, "damaged: quality: n_scored_tokens is 0, which is no number of them"),
        ("n_scored_tokens", 5000, "differs: quality.n_scored_tokens: the file says 5000, and less was asked for"),
        ("n_bytes", 4000.5, "damaged: quality: n_bytes is 4000.5, which is no number of them"),
        ("n_context_tokens", 1024, "differs: quality.n_context_tokens: the file says 1024, and less was asked for"),
        ("n_stride_tokens", 300, "differs: quality.n_stride_tokens: the file says 300, and half a window is most"),
        ("text", "a.txt", "differs: quality.text: the file says a.txt, derived built-in sample"),
        ("text_digest", "cafe", "damaged: quality: text_digest is cafe, which is no SHA-256"),
        ("why_not", WHY, "differs: quality.perplexity: the file says 20.0855369232, derived None"),
    ],
)  # fmt: skip
def test_an_edit_of_both_copies_is_found(field: str, value: Any, line: str, tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(FOUND)])
    for name in ("result.json", RAW):
        edited(tmp_path, name, lambda content: content["quality"].update({field: value}))
    sums_written(tmp_path)
    assert line in about_quality(tmp_path)


def test_an_edit_of_one_copy_is_found(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(FOUND)])
    edited(tmp_path, "result.json", lambda result: result["quality"].update(text_digest="c" * 64))
    sums_written(tmp_path)
    (line,) = about_quality(tmp_path)
    assert line.startswith("differs: quality.text_digest: the file says ccc")


@pytest.mark.parametrize(
    ("quality", "asked", "said"),
    [
        (None, {"text": None}, "differs: quality: the file says None, and effective_config.quality is {"),
        (vars(FOUND), None, "and effective_config.quality is None"),
        ({"text": "t"}, {"text": None}, "damaged: quality: it has no field bits_per_byte"),
        ({**vars(FOUND), "more": 1}, {"text": None}, "damaged: quality: it has a field more"),
        ("good", {"text": None}, "damaged: quality"),
    ],
    ids=["gone", "invented", "parts gone", "more", "another kind"],
)
def test_what_is_there_is_what_was_asked_for(quality: Any, asked: Any, said: str, tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(FOUND)])

    def edit(content: dict[str, Any]) -> None:
        content["quality"] = quality
        content["effective_config"]["quality"] = asked

    for name in ("result.json", RAW):
        edited(tmp_path, name, edit)
    sums_written(tmp_path)
    assert any(said in line for line in about_quality(tmp_path))


def test_a_reason_that_no_warning_has_is_none(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(QualityResult(text="built-in sample", why_not=WHY))])
    assert about_quality(tmp_path) == [f"differs: quality.why_not: the file says {WHY}, and no warning says so"]


def test_a_file_with_quality_is_of_no_earlier_revision(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(FOUND)])
    edited(tmp_path, "result.json", lambda result: result.update(schema_revision=5))
    sums_written(tmp_path)
    assert "damaged: schema_revision: it is 5, and quality came with 6" in wrong(verify(tmp_path))


def test_a_file_of_this_revision_without_the_field_is_damaged(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_with(None, asked=None)])
    edited(tmp_path, "result.json", lambda result: result.pop("quality"))
    sums_written(tmp_path)
    assert "damaged: quality: it is not there" in wrong(verify(tmp_path))
