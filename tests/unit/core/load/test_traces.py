"""Traces of arrivals, as they are published, and as they should not be."""

import gzip
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.load.traces import Arrival, prompts_of, read_trace
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.exceptions import ConfigError

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:46.6805900,879,55
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46]}
"""
BURST = "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,18\n45,ChatGPT,1087,230\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "arrivals"),
    [
        ("azure.csv", AZURE, [(0.0, 374, 44), (4.314579, 396, 109), (60.0, 879, 55)]),
        ("mooncake.jsonl", MOONCAKE, [(0.0, 6955, 52), (3.053, 6472, 26)]),
        ("burst.csv", BURST, [(0.0, 472, 18), (40.0, 1087, 230)]),
        ("mooncake.jsonl.gz", MOONCAKE, [(0.0, 6955, 52), (3.053, 6472, 26)]),
        ("ours.jsonl", '{"timestamp_s": 9.5}\n\n{"timestamp_s": 9.0, "input_tokens": 3}\n', [(0.0, 3, None),
                                                                                           (0.5, None, None)]),
        ("zone.csv", "timestamp\n2024-05-10 00:00:00.009930+00:00\n2024-05-10 00:00:00.509930+00:00\n",
         [(0.0, None, None), (0.5, None, None)]),
    ],
)  # fmt: skip
def test_published_kinds_are_read(
    tmp_path: Path, name: str, text: str, arrivals: list[tuple[float, int | None, int | None]]
) -> None:
    found = read_trace(written(tmp_path, name, text))
    assert [(a.input_tokens, a.output_tokens) for a in found] == [(i, o) for _, i, o in arrivals]
    assert [a.time_s for a in found] == pytest.approx([time_s for time_s, _, _ in arrivals], abs=1e-6)


def test_a_trace_is_played_faster_and_cut(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, "azure.csv", AZURE), speed=2.0, n=2)
    assert [a.time_s for a in found] == pytest.approx([0.0, 2.1572895])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "5\n", "unknown kind of file '.txt'; give .csv or .jsonl"),
        ("a.csv", "", "there are no arrivals in this file"),
        ("a.csv", "when,what\n1,2\n", "a.csv:2: there is no time of arrival; name its column timestamp_s"),
        ("a.csv", "timestamp_s\nsoon\n", "a.csv:2: timestamp_s: 'soon' is neither a number nor a date"),
        ("a.csv", "timestamp_s\nnan\n", "a.csv:2: timestamp_s: 'nan' is no time"),
        ("a.csv", "timestamp_s,input_tokens\n1,-4\n", "a.csv:2: input_tokens: '-4' is no number of tokens"),
        ("a.csv", "timestamp_s,input_tokens\n1,2.5\n", "a.csv:2: input_tokens: '2.5' is no number of tokens"),
        ("a.jsonl", '{"timestamp": 1}\n{"timestamp": \n', "a.jsonl:2: this is no JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: give an object with a timestamp, not list"),
        ("a.jsonl", '{"timestamp": true}\n', "a.jsonl:1: timestamp: True is no time"),
        ("a.jsonl", '{"timestamp_s": 1' + "0" * 400 + "}\n", "a.jsonl:1: timestamp_s: "),
        ("a.jsonl", '{"timestamp_s": 1, "input_tokens": 1' + "0" * 400 + "}\n", "is no number of tokens"),
        ("a.csv", "timestamp_s\n-1e308\n1e308\n", "its last request comes inf s after the first"),
        ("a.csv", "timestamp_s\n0\n1e15\n", "its last request comes 1e+15 s after the first"),
        ("a.csv", 'timestamp_s,why\n1,"no end\n2,x\n', "cannot be read as CSV"),
        ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl:1: this is no JSON"),
    ],
)
def test_what_is_no_trace_says_where_and_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_trace(written(tmp_path, name, text))
    assert said in str(caught.value)


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: cannot be read: No such file or directory"):
        read_trace(tmp_path / "none.csv")


def test_a_trace_below_the_home_directory_is_found_by_its_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = ExperimentConfig.model_validate({"model": "m", "load": {"trace": written(tmp_path, "azure.csv", AZURE)}})
    assert config.load is not None
    assert str(config.load.trace) == "~/azure.csv"
    assert len(select_prompts(config).prompts) == 3


def test_no_more_of_a_trace_is_taken_than_comes_in_its_time(tmp_path: Path) -> None:
    trace = written(tmp_path, "azure.csv", AZURE)
    assert [a.input_tokens for a in read_trace(trace, most_s=30.0)] == [374, 396]
    assert len(read_trace(trace, speed=10.0, most_s=30.0)) == 3
    fields = {"model": "m", "load": {"trace": trace, "duration_s": 30}, "max_input_tokens": 400}
    found = select_prompts(ExperimentConfig.model_validate(fields))
    # The third, which is longer, does not come.
    assert len(found.prompts) == 2
    assert "trace_lengths_cut" not in {warning.flag for warning in found.warnings}


def test_prompts_have_the_lengths_of_the_trace_as_far_as_the_experiment_lets_them() -> None:
    prompts, n_cut = prompts_of([Arrival(0.0, 10, 5), Arrival(1.0, 700, 5), Arrival(2.0, 10, 0)], 512, 4)
    assert [(p.n_random_tokens, p.output_tokens) for p in prompts] == [(10, 4), (512, 4), (10, 1)]
    assert n_cut == 2
    assert prompts_of([Arrival(0.0, 10, 5), Arrival(1.0)], 512, 4) == ((), 0)


def test_an_experiment_under_a_trace_has_its_prompts(tmp_path: Path) -> None:
    trace = written(tmp_path, "azure.csv", AZURE)
    fields = {"model": "m", "load": {"trace": str(trace)}, "max_input_tokens": 400, "max_output_tokens": 200}
    found = select_prompts(ExperimentConfig.model_validate(fields))
    assert [p.n_random_tokens for p in found.prompts] == [374, 396, 400]
    assert [w.flag for w in found.warnings] == ["trace_lengths_cut", "trace_answers_may_end"]
    exact = select_prompts(
        ExperimentConfig.model_validate({**fields, "max_input_tokens": 900, "decoder": {"ignore_eos": True}})
    )
    assert exact.warnings == ()
