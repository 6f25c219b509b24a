"""The perplexity of a text beside a measurement: when it is worked out, what it is, and that it costs nothing else."""

import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.prompts.fitting import Room
from llenergymeasure.core.quality.scoring import nll_nats
from llenergymeasure.core.quality.text import TextTokens, read_text
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import FakeClock, FakeEngine, FakeModel, FakeSampler, fake_environment, words_as_tokens
from tests.unit.core.test_session import LoggingPeers

N_WORDS = 2147


@dataclass
class Saying(FakeModel):
    """Gives what it is told to."""

    says: Callable[[Sequence[int]], Any] = field(default=lambda ids: [-1.0] * (len(ids) - 1))

    def token_log_probs(self, token_ids: Sequence[int]) -> Any:
        super().token_log_probs(token_ids)
        return self.says(token_ids)


def words(text: str, checkpoint: Checkpoint, most_scored: int, most_at_a_time: int) -> TextTokens:
    """A token for each word; the first is not scored."""
    found = text.split()[: most_scored + 1]
    return TextTokens(token_ids=tuple(range(len(found))), n_bytes=len(" ".join(found[1:]).encode()))


def measured(model: FakeModel, quality: Any = True, **more: Any) -> RawProcessResult:
    layout = more.pop("layout", ProcessLayout())
    index = more.pop("index", 0)
    config = ExperimentConfig.model_validate(
        {"model": "fake", "n": 4, "warmup": {"n_warmup": 1}, "energy": {"backend": None}, "quality": quality}
    )
    plan = ExperimentPlan(config=config, experiment_id="x", config_hash="0" * 16, layout=layout, process_index=index)
    given: dict[str, Any] = {
        "energy": None,
        "sampler": FakeSampler(log=model.log),
        "snapshot": fake_environment,
        "clock": model.clock,
        "sleep": model.clock.sleep,
        "now": model.clock.now,
        "tokenise": words_as_tokens,
        "tokenise_text": words,
        **more,
    }
    return run_session(plan, FakeEngine(model), Instruments(**given))


def fake(n_vocabulary: int | None = 50) -> FakeModel:
    return FakeModel(FakeClock(), n_vocabulary=n_vocabulary)


def test_where_all_tokens_are_equally_probable_the_perplexity_is_their_number() -> None:
    raw = measured(fake(50))
    found = raw.quality
    assert found is not None
    assert found.perplexity == pytest.approx(50)
    assert found.n_scored_tokens == N_WORDS - 1
    assert found.nll_nats == pytest.approx((N_WORDS - 1) * math.log(50))
    # log2 of 50 bits for each token, over the bytes of the words.
    sample = read_text(None)
    n_bytes = len(" ".join(sample.text.split()[1:]))
    assert found.bits_per_byte == pytest.approx((N_WORDS - 1) * 5.643856189774724 / n_bytes)
    assert (found.text, found.text_digest) == ("built-in sample", sample.digest)
    assert (found.n_context_tokens, found.n_stride_tokens, found.why_not) == (512, 256, None)
    assert [w for w in raw.measurement_warnings if w.flag.startswith("quality")] == []


def test_it_comes_after_everything_that_is_measured_and_changes_none_of_it() -> None:
    model, plain = fake(), fake()
    raw = measured(model, {"n_context_tokens": 1024})
    without = measured(plain, None)
    asked = [line for line in model.log if line.startswith("log-probs")]
    # Windows of 1,024, half of that apart, over 2,147.
    assert asked == ["log-probs 1024", "log-probs 1024", "log-probs 1024", "log-probs 611"]
    assert model.log == [*plain.log[:-1], *asked, "unload"]
    assert plain.log[-2:] == ["flops", "unload"]
    same = raw.model_copy(update={"quality": None, "effective_config": without.effective_config})
    assert same == without


def test_each_token_counts_once_with_the_most_that_comes_before_it() -> None:
    # The surprise of a token tells how many came before it in its window.
    model = Saying(FakeClock(), says=lambda ids: [-float(n) for n in range(1, len(ids))])
    tokens = TextTokens(token_ids=tuple(range(10)))
    # Windows of four, two apart: 1 2 3 in the first, and two and three before each further two.
    assert nll_nats(model, tokens, 4) == 1 + 2 + 3 + (2 + 3) * 3
    # With a token that is put before, nothing of the text is left out.
    with_beginning = TextTokens(token_ids=tuple(range(10)), prefix=(99,))
    assert nll_nats(model, with_beginning, 4) == 1 + 2 + 3 + 4 + (3 + 4) * 3


def test_every_window_begins_with_what_the_tokenizer_puts_before_a_text() -> None:
    seen: list[list[int]] = []

    def say(ids: Sequence[int]) -> list[float]:
        seen.append(list(ids))
        return [-1.0] * (len(ids) - 1)

    nll_nats(Saying(FakeClock(), says=say), TextTokens(token_ids=(5, 6, 7, 8), prefix=(1,)), 2)
    assert seen == [[1, 5, 6], [1, 6, 7], [1, 7, 8]]


def test_a_model_of_a_short_context_is_given_that() -> None:
    def narrow(*given: Any) -> TextTokens:
        found = words(*given)
        return TextTokens(token_ids=found.token_ids[:9], prefix=(0,), room=Room(n_ids=2147, n_positions=5))

    model = fake()
    found = measured(model, tokenise_text=narrow).quality
    assert found is not None
    assert (found.n_context_tokens, found.n_stride_tokens, found.n_scored_tokens) == (5, 2, 9)
    assert [line for line in model.log if line.startswith("log-probs")] == ["log-probs 5"] * 3 + ["log-probs 4"]
    # Nobody says which bytes they are.
    assert found.perplexity == pytest.approx(50)
    assert (found.n_bytes, found.bits_per_byte) == (None, None)


def test_a_file_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("one two three", encoding="utf-8")
    found = measured(fake(8), {"text": "~/a.txt", "n_scored_tokens": 2}).quality
    assert found is not None
    assert (found.text, found.text_digest) == ("~/a.txt", hashlib.sha256(b"one two three").hexdigest())
    # "two three" is nine bytes and two tokens of three bits.
    assert (found.n_scored_tokens, found.n_bytes) == (2, 9)
    assert found.bits_per_byte == pytest.approx(6 / 9)


def raising(*_: Any) -> Any:
    raise MemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def not_whole(*given: Any) -> TextTokens:
    return TextTokens(token_ids=(0, 1, 320), room=Room(n_ids=320))


@pytest.mark.parametrize(
    ("model", "quality", "more", "why"),
    [
        (fake(None), True, {}, "the engine does not tell how probable tokens are"),
        (fake(), {"text": "no-such.txt"}, {}, "quality.text no-such.txt: cannot be read: No such file"),
        (Saying(FakeClock(), says=raising), True, {}, "CUDA out of memory"),
        (fake(), True, {"tokenise_text": raising}, "CUDA out of memory"),
        (fake(), True, {"tokenise_text": not_whole}, "token id 320, and the model has ids up to 319"),
        (fake(), True, {"tokenise_text": lambda *_: TextTokens(token_ids=(1,))}, "too few tokens to score any"),
        (Saying(FakeClock(), says=lambda ids: [math.nan] * (len(ids) - 1)), True, {}, "nan for the logarithm"),
        (Saying(FakeClock(), says=lambda ids: [-math.inf] * (len(ids) - 1)), True, {}, "-inf for the logarithm"),
        (Saying(FakeClock(), says=lambda ids: [0.5] * (len(ids) - 1)), True, {}, "0.5 for the logarithm"),
        (Saying(FakeClock(), says=lambda ids: [-1.0] * len(ids)), True, {}, "512 probabilities of 511 tokens"),
        (Saying(FakeClock(), says=lambda ids: [-800.0] * (len(ids) - 1)), True, {}, "a perplexity beyond all numbers"),
        (Saying(FakeClock(), says=lambda _: sys.exit(3)), True, {}, "SystemExit"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_null_with_a_reason_and_costs_nothing_else(
    model: FakeModel, quality: Any, more: dict[str, Any], why: str
) -> None:
    raw = measured(model, quality, **more)
    found = raw.quality
    assert found is not None
    assert found.why_not is not None
    assert why in found.why_not
    assert found == QualityResult(text=found.text, why_not=found.why_not)
    (warning,) = [w for w in raw.measurement_warnings if w.flag.startswith("quality")]
    assert (warning.flag, why in warning.text) == ("quality_unavailable", True)
    # Nothing else is another, and the energy is judged as without it.
    result, plain = ExperimentResult.from_processes([raw]), ExperimentResult.from_processes([measured(fake(), None)])
    assert (result.output_tokens, result.duration_sec) == (plain.output_tokens, plain.duration_sec)
    assert (result.validity, result.validity_flags) == (plain.validity, plain.validity_flags)
    assert model.log[-1] == "unload"


def test_what_was_measured_is_left_before_and_left_again_with_it() -> None:
    left: list[RawProcessResult] = []

    def say(ids: Sequence[int]) -> list[float]:
        # The process might end here.
        assert [raw.quality and raw.quality.why_not for raw in left] == ["the process ended before it was known"]
        assert "quality_unavailable" in {w.flag for w in left[0].measurement_warnings}
        return [-1.0] * (len(ids) - 1)

    raw = measured(Saying(FakeClock(), says=say), on_measured=left.append)
    assert raw.quality is not None
    assert raw.quality.why_not is None
    assert raw.quality.perplexity == pytest.approx(math.e)
    assert left[1:] == [raw]
    assert "quality_unavailable" not in {w.flag for w in raw.measurement_warnings}


def test_without_it_a_result_is_left_once() -> None:
    left: list[RawProcessResult] = []
    assert measured(fake(), None, on_measured=left.append).quality is None
    assert len(left) == 1


@pytest.mark.parametrize(("parallelism", "scores"), [("data", (True, False)), ("tensor", (True, True))])
def test_of_several_processes_those_score_that_have_to(parallelism: Any, scores: tuple[bool, bool]) -> None:
    for index, does in enumerate(scores):
        model = fake()
        layout = ProcessLayout(n_processes=2, parallelism=parallelism)
        raw = measured(model, True, layout=layout, index=index, peers=LoggingPeers(model.log))
        assert (raw.quality is not None) == does
        assert any(line.startswith("log-probs") for line in model.log) == does
        # None begins while another may still look at sensors, and none unloads before all are done.
        together = [line for line in model.log if line.startswith(("together", "log-probs"))]
        assert list(dict.fromkeys(together[together.index("together: end") :]))[:2] == [
            "together: end",
            "together: quality",
        ]
        assert together[-1] == "together: left"


def test_nothing_scored_has_no_perplexity() -> None:
    with pytest.raises(ValueError, match="no token was scored"):
        QualityResult(text="t", nll_nats=0.0, n_scored_tokens=0).worked_out()
    assert QualityResult(text="t", nll_nats=0.0, n_scored_tokens=1, n_bytes=1).worked_out().perplexity == 1
    with pytest.raises(ExperimentError):
        nll_nats(fake(None), TextTokens(token_ids=(1, 2)), 2)
