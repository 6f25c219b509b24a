"""How much of what configurations of a study said is what another said."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import FinishReason, ModelDescription, ModelIdentity
from llenergymeasure.domain.metrics import FlopsResult
from llenergymeasure.domain.study.summary import EqualTokens, StudySummary
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.study.files import as_csv, as_rows
from llenergymeasure.results.study.rows import RowReader, rows
from llenergymeasure.results.study.saying import folders_in
from llenergymeasure.results.study.shown import markdown, text
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.study.writer import SummaryWriter
from llenergymeasure.results.sums import mark_done
from llenergymeasure.results.tables import write_outputs_parquet, write_requests_parquet
from tests.fakes.requests import answered
from tests.fakes.studies import Study, result_of
from tests.unit.results.study.test_writer import OPENED

Answer = tuple[int, ...]
WEIGHTS = "sha256:" + "1" * 64
# What the reference says: eight tokens.
TRUTH = ((1, 2, 3, 4), (5, 6, 7, 8))
# Of it the first two tokens of the first answer, and all of the second.
OTHER = ((1, 2, 9, 4), (5, 6, 7, 8))
# Nothing of the first, and two of the second, which goes on longer: 2 of 4 + 5.
FURTHER = ((9,) * 4, (5, 6, 9, 9, 9))


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "a/model", "precision": "fp32", **fields})


def say(
    study: Study, configuration: int, *answers: Answer, repeat: int = 0, keeps: bool = True, given: int = 0,
    lost: Mapping[int, FinishReason] = MappingProxyType({}), weights: str | None = WEIGHTS,
    model: Mapping[str, Any] = MappingProxyType({}), **fields: Any,
) -> Path:  # fmt: skip
    """A run of a configuration whose requests got these answers; ``given`` is what they read."""
    slot = study.slot(configuration, repeat)
    requests = tuple(
        replace(answered(n, (ids,) if ids else (), given=(given, n)), finish_reason=lost.get(n, "length"))
        for n, ids in enumerate(answers)
    )
    attempt = study.directory.new_attempt(study.plan, slot)
    result = result_of(
        study.plan, slot, requests=requests, identity=ModelIdentity(weights_digest=weights),
        model=ModelDescription(engine="fake", engine_version="1", **model), **fields,
    )  # fmt: skip
    files = {"requests": "requests.parquet", "outputs": "outputs.parquet" if keeps else None}
    write_requests_parquet(requests, attempt / "requests.parquet", 0.0)
    if keeps:
        write_outputs_parquet(requests, attempt / "outputs.parquet")
    save_result(result.model_copy(update=files), attempt)
    mark_done(attempt)
    return attempt


def of(path: Path, *configs: ExperimentConfig, n_cycles: int = 1) -> Study:
    return Study.of(path / "s", configs, n_cycles)


def summed(study: Study, reference: int | None = None) -> StudySummary:
    summing = Summing(study.plan, reference, folders_in(study.directory, study.plan))
    return summing.of(rows(study.directory, study.plan))


def told(study: Study, reference: int | None = None) -> list[EqualTokens]:
    return [row.equal_tokens for row in summed(study, reference).rows]


def equal(row: int) -> EqualTokens:
    return EqualTokens(share=1.0, row=row, verdict="equal")


def lines_of(summary: StudySummary) -> list[str]:
    """The lines of a table, those that were broken put together."""
    return re.sub(r"\n {8}", " ", text(summary)).splitlines()


def engines_in(path: Path) -> Study:
    """Of one model: the reference, an engine that says something else, bf16, one of Q4, and one that says the same."""
    study = of(
        path, config(), config(backend="ctranslate2"), config(precision="bf16"),
        config(backend="llamacpp", model="a/model-q4.gguf"), config(backend="onnxruntime"),
    )  # fmt: skip
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER)
    say(study, 2, *FURTHER)
    say(study, 3, *OTHER, weights="sha256:2", model={"quantization": "GGUF Q4_1"})
    say(study, 4, *TRUTH)
    return study


@pytest.fixture
def engines(tmp_path: Path) -> Study:
    """The same in a folder of its own."""
    return engines_in(tmp_path)


def test_an_engine_that_says_something_else_in_fp32_is_marked(engines: Study) -> None:
    found = summed(engines)
    assert [row.equal_tokens for row in found.rows] == [
        equal(1),
        EqualTokens(share=6 / 8, row=1, verdict="something else"),
        EqualTokens(share=2 / 9, row=1, verdict="may differ", reason="bf16"),
        EqualTokens(share=6 / 8, row=1, verdict="may differ", reason="quantised: GGUF Q4_1, other weight files"),
        equal(1),
    ]
    mark = "says something else than row 1, of the same weights in fp32"
    assert [mark in row.notes for row in found.rows] == [False, True, False, False, False]


def test_the_shares_stand_in_every_form_of_the_table(engines: Study) -> None:
    found = summed(engines)
    lines = lines_of(found)
    cells = [re.split(r"\s{2,}", line) for line in lines[:1] + lines[2:7]]
    place = cells[0].index("output")
    shares = [row[place].partition(" ")[2] for row in cells[1:]]
    assert shares == ["", "75.00 %", "22.22 %", "75.00 %", ""]
    assert cells[2][place + 1] == "1"
    assert "1: says something else than row 1, of the same weights in fp32" in lines
    assert (
        "%: of all tokens those that row 1 said too, each answer up to its first difference; of runs that said "
        "different things the least"
    ) in lines
    assert (
        "%: equality is not to be expected of row 3 (bf16); row 4 (quantised: GGUF Q4_1, other weight files)"
    ) in lines  # fmt: skip
    assert " 22.22 % |" in re.sub(" +", " ", markdown(found))
    second = as_rows(found)[1]
    assert (second["equal_token_share"], second["equal_token_row"]) == (0.75, 1)
    assert (second["equal_token_verdict"], second["equal_token_reason"]) == ("something else", None)
    assert "0.75,1,something else," in as_csv(found)


def test_where_all_said_the_same_there_is_no_column(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"))
    say(study, 0, *TRUTH)
    say(study, 1, *TRUTH)
    found = summed(study)
    assert [row.equal_tokens for row in found.rows] == [equal(1), equal(1)]
    assert not any(line.startswith(("%", "#")) and "output" in line for line in lines_of(found))
    assert "100.00 %" not in text(found)
    assert "output: every run gave equal tokens for the same input" in lines_of(found)


def test_a_share_is_of_a_row_in_fp32_whichever_the_reference_is(engines: Study) -> None:
    assert [each.row for each in told(engines, 2)] == [1] * 5
    assert [each.row for each in told(engines, 1)] == [2] * 5
    assert [each.share for each in told(engines, 1)] == [6 / 8, 1, 2 / 9, 1, 6 / 8]


def test_without_one_in_fp32_it_is_of_the_reference(tmp_path: Path) -> None:
    study = of(tmp_path, *(config(precision="bf16", backend=name) for name in ("pytorch", "ctranslate2")))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER)
    assert told(study)[1] == EqualTokens(share=0.75, row=1, verdict="may differ", reason="bf16")
    assert [each.row for each in told(study, 1)] == [2, 2]


def test_of_two_models_each_is_held_against_its_own(tmp_path: Path) -> None:
    study = of(
        tmp_path, config(), config(model="b/model"), config(backend="ctranslate2"),
        config(model="b/model", backend="ctranslate2"),
    )  # fmt: skip
    say(study, 0, *TRUTH)
    say(study, 1, *FURTHER, weights="sha256:2")
    say(study, 2, *OTHER)
    say(study, 3, *FURTHER, weights="sha256:2")
    assert told(study) == [
        equal(1),
        # Files of other weights may be a copy of the same ones, for all that is known.
        EqualTokens(share=2 / 9, row=1, verdict="may differ", reason="other weight files"),
        EqualTokens(share=0.75, row=1, verdict="something else"),
        EqualTokens(share=1.0, row=2, verdict="equal"),
    ]
    cells = [re.split(r"\s{2,}", line) for line in lines_of(summed(study))[2:6]]
    shares = [[cell.partition(" ")[2] for cell in row if "%" in cell] for row in cells]
    assert shares == [[], ["22.22 %"], ["75.00 %"], []]


@pytest.mark.parametrize(
    ("fields", "run", "reason"),
    [
        ({"backend": "llamacpp", "llamacpp": {"cache_type_k": "q8_0"}}, {}, "llamacpp.cache_type_k q8_0"),
        ({"pytorch": {"suppress_tokens": [3]}}, {}, "pytorch.suppress_tokens"),
        ({"passthrough_kwargs": {"rope_theta": 5}}, {}, "passthrough_kwargs"),
        ({}, {"weights": "sha256:2"}, "other weight files"),
        ({}, {"weights": None}, "it is not known which weights they read"),
        ({}, {"flops_result": FlopsResult(value=1.0, method="x", confidence="high", number_format="tf32")}, "tf32"),
        ({}, {"model": {"devices": ("GPU-0",)}}, "number format not known"),
        ({}, {"model": {"quantization": "bitsandbytes"}}, "quantised: bitsandbytes"),
        ({}, {"model": {"weights": "random, seed 42"}, "weights": None}, "weights that were drawn"),
    ],
)
def test_what_may_differ_is_not_marked(
    tmp_path: Path, fields: dict[str, Any], run: dict[str, Any], reason: str
) -> None:
    study = of(tmp_path, config(pytorch={"batch_size": 2}), config(**fields))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER, **run)
    assert told(study)[1] == EqualTokens(share=0.75, row=1, verdict="may differ", reason=reason)


def test_llamacpps_own_cache_keeps_no_engine_from_being_marked(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="llamacpp"))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER, flops_result=FlopsResult(value=1.0, method="x", confidence="high", number_format="fp32"))
    assert told(study)[1].verdict == "something else"


@pytest.mark.parametrize(
    "decoder", [{"do_sample": True}, {"num_beams": 2}, {"repetition_penalty": 1.5}, {"ignore_eos": True}]
)
def test_of_other_decoding_nothing_is_said(tmp_path: Path, decoder: dict[str, Any]) -> None:
    study = of(tmp_path, config(), config(decoder=decoder))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER)
    assert told(study) == [EqualTokens(), EqualTokens()]


def test_of_drawn_tokens_no_share_is_told(tmp_path: Path) -> None:
    drawn = {"do_sample": True}
    study = of(tmp_path, config(decoder=drawn), config(decoder=drawn, backend="ctranslate2"))
    say(study, 0, *TRUTH)
    say(study, 1, *TRUTH)
    assert told(study) == [EqualTokens(), EqualTokens()]


def test_of_other_inputs_nothing_is_said(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER, given=7)
    assert told(study) == [EqualTokens(), EqualTokens()]


def test_tokens_that_were_not_kept_give_no_share(tmp_path: Path) -> None:
    study = of(tmp_path, config(), *(config(backend=name) for name in ("ctranslate2", "onnxruntime", "llamacpp")))
    say(study, 0, *TRUTH)
    say(study, 1, *OTHER, keeps=False)
    # Equal digests say that all are equal, but of tokens that nobody told.
    say(study, 2, *TRUTH, keeps=False)
    say(study, 3, *TRUTH, keeps=False, measurement_warnings=(MeasurementWarning("tokens_untold", "of some answers"),))
    unknown = EqualTokens(row=1, reason="tokens were not kept")
    assert told(study) == [equal(1), unknown, equal(1), unknown]
    assert "%: not known of rows 2, 4 (tokens were not kept)" in lines_of(summed(study))
    # Runs that lie nowhere.
    nowhere = Summing(study.plan).of(rows(study.directory, study.plan))
    assert [row.equal_tokens for row in nowhere.rows] == [equal(1), unknown, equal(1), unknown]


def test_of_runs_that_said_different_things_the_least_is_told(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"), n_cycles=3)
    for repeat, (ours, theirs) in enumerate([(TRUTH, TRUTH), (TRUTH, OTHER), (OTHER, FURTHER)]):
        say(study, 0, *ours, repeat=repeat)
        say(study, 1, *theirs, repeat=repeat)
    assert told(study) == [
        EqualTokens(share=6 / 8, row=1, verdict="something else"),
        EqualTokens(share=2 / 9, row=1, verdict="something else"),
    ]


def test_a_row_that_is_alone_is_held_against_itself_only_where_its_runs_differ(tmp_path: Path) -> None:
    study = of(tmp_path, config(), n_cycles=2)
    say(study, 0, *TRUTH)
    assert told(study) == [EqualTokens()]
    say(study, 0, *OTHER, repeat=1)
    assert told(study) == [EqualTokens(share=0.75, row=1, verdict="something else")]
    assert "its runs say different things, of the same weights in fp32" in summed(study).rows[0].notes


def test_requests_that_were_not_answered_are_left_out_and_told(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"), config(backend="onnxruntime"))
    say(study, 0, *TRUTH, (3,), lost={2: "error"}, n_requests_failed=1)
    say(study, 1, *OTHER, (3,))
    say(study, 2, TRUTH[0], (5,), (3,), lost={1: "cancelled"}, n_requests_excluded=1)
    found = summed(study)
    # Of the last one the first answer is common to both, and whole in both.
    assert [row.equal_tokens for row in found.rows] == [
        EqualTokens(share=1.0, row=1, verdict="equal", n_left_out=1),
        EqualTokens(share=6 / 8, row=1, verdict="something else", n_left_out=1),
        EqualTokens(share=1.0, row=1, verdict="equal", n_left_out=2),
    ]
    notes = "requests that were not answered in it and in row 1, and whose tokens are not compared: "
    assert [[n for n in row.notes if n.startswith(notes)] for row in found.rows] == [
        [f"{notes}1"], [f"{notes}1"], [f"{notes}2"],
    ]  # fmt: skip


def test_other_numbers_of_requests_are_not_compared(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"))
    say(study, 0, *TRUTH, n_requests_failed=1)
    say(study, 1, *TRUTH, (3,), n_requests_failed=1)
    assert told(study)[1].share is None
    assert "request 2 is in one of the runs only" in str(told(study)[1].reason)


def test_nothing_said_has_no_share(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"))
    for place in range(2):
        attempt = say(study, place, (1,), n_requests_failed=1)
        write_outputs_parquet([replace(answered(0, ()), output_ids=((),))], attempt / "outputs.parquet")
        (attempt / "DONE").unlink()
        mark_done(attempt)
    assert told(study)[1] == EqualTokens(row=1, reason="neither said anything")


def test_a_table_that_was_edited_gives_no_share_and_tells_no_place(tmp_path: Path) -> None:
    study = of(tmp_path, config(), config(backend="ctranslate2"))
    say(study, 0, *TRUTH)
    attempt = say(study, 1, *OTHER)
    write_outputs_parquet([answered(n, (ids,)) for n, ids in enumerate(TRUTH)], attempt / "outputs.parquet")
    found = told(study)[1]
    assert (found.share, found.verdict) == (None, None)
    slot = study.plan.folder_of(study.slot(1))
    assert str(found.reason).startswith(f"runs/{slot}/attempt-1/outputs.parquet: it is not the file that was written")


def test_whoever_goes_on_writes_the_same_table(engines: Study) -> None:
    study = engines
    names = ("summary.csv", "summary.md", "summary.parquet")
    SummaryWriter(study.directory, study.plan).finish()
    before = [(study.directory.path / name).read_bytes() for name in names]
    assert b"something else" in before[0]
    now_s = 0.0
    writer = SummaryWriter(study.directory, study.directory.plan(), clock=lambda: now_s)
    for _ in range(2):
        now_s += 1000
        assert writer.written_if_due()
        assert [(study.directory.path / name).read_bytes() for name in names] == before
    writer.finish()
    assert [(study.directory.path / name).read_bytes() for name in names] == before


def test_tokens_are_read_once(engines: Study) -> None:
    summing = Summing(engines.plan, None, folders_in(engines.directory, engines.plan))
    reader = RowReader(engines.directory, engines.plan, only_needed=True)
    with OPENED.counted(engines.directory.path) as opened:
        first = summing.of(reader.read())
    # Those of the reference once, and of the three that have another digest.
    assert opened["requests.parquet"] >= 4
    with OPENED.counted(engines.directory.path) as again:
        assert summing.of(reader.read()) == first
    assert dict(again) == {"a folder": 1}
