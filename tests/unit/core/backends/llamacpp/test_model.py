"""The model over a socket: tokens, times, ends, loads, and what is told of them."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp.file import GgufFile, Vocabulary
from llenergymeasure.core.backends.llamacpp.model import LlamaCppModel
from llenergymeasure.core.backends.llamacpp.opened import Opened
from llenergymeasure.core.backends.llamacpp.parameters import common_params
from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource
from llenergymeasure.domain.inference import InferenceOutput, Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import BackendError
from tests.fakes.xllamacpp import Answer, fake_library, frames, last_frame

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
HEADER = GgufFile(
    architecture="llama",
    n_by_format={"Q4_1": 900},
    n_parameters=1000,
    n_bytes=625,
    file_type="Q4_1",
    vocabulary=Vocabulary(kind="llama", texts=("<s>", "</s>", *BYTES), type_index=(3, 3, *[6] * 256)),
)


@contextmanager
def loaded(answer: Answer | None = None, **fields: Any) -> Iterator[tuple[LlamaCppModel, Any]]:
    given = {"model": "m.gguf", "backend": "llamacpp", "llamacpp": {"n_ctx": 64, "n_parallel": 2}, **fields}
    config = ExperimentConfig.model_validate(given)
    library = fake_library(answer)
    # A socket's path has some 100 bytes, and a test's own folder may be longer.
    with tempfile.TemporaryDirectory(prefix="llem-") as folder:
        params = common_params(library, config, Path("m.gguf"), f"{folder}/s.sock")
        files = {"m.gguf": Path("m.gguf")}
        checkpoint = Checkpoint(source=ModelSource(location=".", gguf_file="m.gguf"))
        file = Opened(path=Path("m.gguf"), header=HEADER, checkpoint=checkpoint, files=files)
        model = LlamaCppModel(library.Server(params), params, config, file)
        try:
            yield model, library
        finally:
            model.release()


def requests(n: int = 3, limit: int = 4) -> list[Request]:
    return [Request(index=i, token_ids=(10 + i, 20 + i), max_output_tokens=limit) for i in range(n)]


def ran(model: LlamaCppModel, asked: list[Request], load: Load | None = None) -> dict[int, RequestOutput]:
    done: list[RequestOutput] = []
    model.run(asked, load or Load.all_at_once(), done.append)
    assert len({output.index for output in done}) == len(done)
    return {output.index: output for output in done}


def test_tokens_and_times_are_each_requests_own() -> None:
    began_s = time.monotonic()
    with loaded() as (model, library):
        found = ran(model, requests())
    for i, output in found.items():
        ids = (20 + i, 10 + i, 20 + i, 10 + i)
        assert (output.output_ids, output.output_tokens, output.input_tokens) == ((ids,), 4, 2)
        assert (output.output_digest, output.input_digest) == (tokens_digest(ids), tokens_digest((10 + i, 20 + i)))
        assert output.finish_reason == "length"
        known = [began_s, output.sent_s, output.first_token_s, *output.token_times_s, output.end_s, time.monotonic()]
        assert known == sorted(known, key=lambda time_s: time_s or 0.0)
        assert len(output.token_times_s) == 4
    assert sorted(body["prompt"][0] for body in library.bodies) == [10, 11, 12]
    assert model.warnings() == []


def test_an_end_token_counts_and_ends_the_answer() -> None:
    ended = [*frames([[7], [1]]), last_frame(2, 2, stop_type="eos")]
    with loaded(lambda _: ended) as (model, _):
        (output,) = ran(model, requests(1)).values()
    assert (output.finish_reason, output.output_ids) == ("stop", ((7, 1),))


def test_tokens_that_came_without_their_ids_are_found_by_their_text() -> None:
    # As it was seen: the last byte of a face comes with the count of all four, and its own id.
    face = {"content": "\U0001f600", "tokens": [2 + 0x80], "stop": False, "tokens_predicted": 4}
    with loaded(lambda _: [face, last_frame(4, 2)]) as (model, _):
        (output,) = ran(model, requests(1)).values()
    assert output.output_ids == ((2 + 0xF0, 2 + 0x9F, 2 + 0x98, 2 + 0x80),)
    assert len(set(output.token_times_s)) == 1
    assert len(output.token_times_s) == 4
    assert model.warnings() == []


def test_tokens_that_nobody_knows_are_counted_and_are_no_answer() -> None:
    # The answer ends after two of a character's bytes, of which nothing is streamed.
    with loaded(lambda _: [*frames([[7], [8]]), last_frame(4, 2)]) as (model, _):
        (output,) = ran(model, requests(1)).values()
        warnings = model.warnings()
    assert (output.output_tokens, output.output_ids, len(output.token_times_s)) == (4, (), 4)
    assert output.output_digest == tokens_digest((7, 8, -1, -1))
    assert [warning.flag for warning in warnings] == ["tokens_untold"]
    assert "1 of 1 answers" in warnings[0].text


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([{"status": 400, "error": {"message": "request (9 tokens) exceeds the available context size"}}], "exceeds"),
        ([{"error": {"message": "Compute error."}}], "Compute error."),
        ([*frames([[7]])], "ended the connection before the answer"),
        ([*frames([[7]]), last_frame(1, 2)], "there was no room for more after 1 of 4 tokens; raise llamacpp.n_ctx"),
        ([*frames([[7]]), last_frame(1, 3, stop_type="eos")], "read 3 tokens of 2"),
        ([{"content": "a", "stop": False}], "cannot be read"),
    ],
)
def test_what_fails_is_that_request_alone(events: list[dict[str, Any]], why: str) -> None:
    from tests.fakes.xllamacpp import backwards

    with loaded(lambda body: events if body["prompt"][0] == 11 else backwards(body)) as (model, _):
        found = ran(model, requests())
    assert [found[i].finish_reason for i in range(3)] == ["length", "error", "length"]
    assert why in str(found[1].error)
    assert (found[1].output_tokens, found[1].output_ids) == (0, ())


def test_no_more_are_sent_than_there_are_slots_or_the_load_allows() -> None:
    with loaded() as (model, _):
        assert model.capacity() == 2
        for load, most in ((Load.all_at_once(), 2), (Load.at_most(1), 1), (Load.at_most(9), 2)):
            spans = [(o.sent_s or 0.0, o.end_s or 0.0) for o in ran(model, requests(6), load).values()]
            assert max(sum(a <= at < b for a, b in spans) for at, _ in spans) <= most


def test_requests_wait_for_their_time() -> None:
    with loaded() as (model, _):
        began_s = time.monotonic()
        found = ran(model, requests(3), Load.at_due_times([0.0, 0.1, 0.2]))
    for i, output in found.items():
        assert output.due_s is not None
        assert output.due_s - began_s >= 0.1 * i
        assert (output.sent_s or 0.0) >= output.due_s


def test_a_cancelled_run_ends_and_tells_what_was_in_flight_once_no_slot_is_at_work() -> None:
    ended: list[int] = []

    def answer(body: dict[str, Any]) -> list[dict[str, Any]]:
        time.sleep(0.3)
        ended.append(body["seed"])
        return [*frames([[7]]), last_frame(1, 2)]

    ends_s = time.monotonic() + 0.1
    load = Load(kind="all_at_once", cancelled=lambda: time.monotonic() > ends_s)
    with loaded(answer) as (model, library):
        library.at_work[:] = [True, True, False]
        found = ran(model, requests(5), load)
        assert (len(ended), library.at_work) == (2, [])
    assert sorted(found) == [0, 1]
    assert {output.finish_reason for output in found.values()} == {"cancelled"}


def test_a_run_to_its_end_asks_nothing() -> None:
    with loaded() as (model, library):
        library.at_work[:] = [True]
        ran(model, requests(2))
        assert library.at_work == [True]


def test_a_seed_begins_the_counts_anew_and_reaches_requests() -> None:
    cached = [*frames([[7]]), last_frame(1, 2, timings={"cache_n": 5})]
    with loaded(lambda _: cached) as (model, library):
        ran(model, requests(2, limit=1))
        (warning,) = model.warnings()
        assert (warning.flag, "10 tokens" in warning.text) == ("prompt_cache_used", True)
        model.seed(7)
        assert model.warnings() == []
        ran(model, requests(1, limit=1))
    assert [body["seed"] for body in library.bodies] == [42, 42 + 1_000_003, 7]


def test_it_describes_what_it_resolved() -> None:
    with loaded(decoder={"do_sample": True, "temperature": 0.5}) as (model, _):
        found = model.describe()
        assert model.peak_memory_mb() is None or (model.peak_memory_mb() or 0.0) > 0
    parameters = found.parameters or {}
    assert found.quantization == "GGUF Q4_1, 5.00 bits per weight"  # 8 x 625 / 1000
    assert (found.engine, found.n_parameters, found.devices) == ("llamacpp", 1000, ())
    assert (parameters["temperature"], parameters["n_ctx_slot"], parameters["cache_type_k"]) == (0.5, 32, "f16")
    assert (parameters["cache_prompt"], parameters["top_k"]) == (False, 40)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, {"do_sample": False, "samplers": "penalties;top_k"}),
        (
            {"decoder": {"do_sample": True}, "llamacpp": {"n_ctx": 64, "samplers": "top_k"}},
            {"do_sample": True, "samplers": "top_k", "top_k": 40},
        ),
        (
            {"decoder": {"do_sample": True}, "llamacpp": {"n_ctx": 64, "mirostat": 2}},
            {"do_sample": True, "mirostat": 2, "temperature": 0.8},
        ),
    ],
)
def test_it_tells_of_no_setting_that_no_sampler_reads(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    with loaded(**fields) as (model, _):
        parameters = model.describe().parameters or {}
    assert {name: parameters[name] for name in shown} == shown
    drawing = {name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p") if parameters[name] is not None}
    assert drawing == set(shown) & {"temperature", "top_k"}


def test_nothing_stays_when_it_is_released() -> None:
    before = set(threading.enumerate())
    with loaded() as (model, _):
        assert ran(model, requests(1))
    for thread in set(threading.enumerate()) - before:
        thread.join(5.0)
    assert set(threading.enumerate()) <= before


@pytest.mark.pytorch
def test_of_an_unknown_architecture_flops_are_not_known(tmp_path: Path) -> None:
    output = InferenceOutput(requests=())
    with loaded() as (model, _), pytest.raises(BackendError, match=r"m\.gguf"):
        model.flops(output)
