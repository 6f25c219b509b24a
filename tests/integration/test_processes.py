"""Several processes for real: two of them on the CPU, over gloo where they compute together."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from llenergymeasure import ExperimentConfig, ExperimentResult, run_experiment
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.results.aggregation import aggregate_directory
from llenergymeasure.results.process_files import read_process_results
from llenergymeasure.results.verification.verify import verify
from tests.fakes.damages import sums_written
from tests.fakes.effort import THREADS_OF_TESTS
from tests.integration.conftest import save_tiny_llama

N = 5
SHARED = {"data_parallel_size": 2}
SPLIT = {"tp_plan": "auto", "tp_size": 2}
QUALITY = {"n_scored_tokens": 400, "n_context_tokens": 64}


@pytest.fixture(scope="module", autouse=True)
def a_model_hub_that_is_not_asked() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        if THREADS_OF_TESTS in os.environ:
            # How processes share the cores is what is tested here.
            patch.delenv("OMP_NUM_THREADS")
        yield


def config_of(model: Path, section: dict[str, Any], **fields: Any) -> ExperimentConfig:
    defaults: dict[str, Any] = {
        "model": str(model),
        "precision": "fp32",
        "n": N,
        "max_input_tokens": 24,
        "max_output_tokens": 12,
        "warmup": {"n_warmup": 1},
        "energy": {"backend": None},
        "pytorch": section,
    }
    return ExperimentConfig.model_validate({**defaults, **fields})


@dataclass(frozen=True)
class Run:
    """A finished run and where it lies."""

    result: ExperimentResult
    folder: Path

    def rows(self) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = pq.read_table(self.folder / "requests.parquet").to_pydict()
        return rows


def run(model: Path, output: Path, section: dict[str, Any], **fields: Any) -> Run:
    """A run whose engine is asked in this process, where torch is imported; one process alone measures here too."""
    here = {"launcher": "in_process"}
    result = run_experiment(config_of(model, section, output_dir=output, execution=here, **fields))
    (folder,) = output.iterdir()
    return Run(result, folder)


@pytest.fixture(scope="module")
def alone(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same requests in one process."""
    return run(tiny_llama, tmp_path_factory.mktemp("alone"), {}, quality=QUALITY)


@pytest.fixture(scope="module")
def shared(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two processes that share the prompts, and both ask CodeCarbon for the energy of the one CPU."""
    output = tmp_path_factory.mktemp("shared")
    return run(tiny_llama, output, SHARED, energy={"backend": "codecarbon"}, quality=QUALITY)


@pytest.fixture(scope="module")
def split(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two processes that share the layers, warmed up until steady, which each would find at another run."""
    warmup = {"cv_threshold": 0.01, "window_size": 2, "min_prompts": 2, "max_warmup_prompts": 6}
    return run(tiny_llama, tmp_path_factory.mktemp("split"), SPLIT, warmup=warmup, quality=QUALITY)


@pytest.mark.parametrize("of", ["alone", "shared", "split"])
def test_all_that_they_left_comes_out_the_same_again(
    of: str, alone: Run, shared: Run, split: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree({"alone": alone, "shared": shared, "split": split}[of].folder, folder)
    sums_written(folder)
    report = verify(folder)
    assert [str(finding) for finding in report.findings if finding.kind != "not verifiable"] == []
    # A model's joules have no readings, and probabilities are not kept; nobody says again in words what it was.
    named = {finding.name for finding in report.findings}
    joules = {"energy_devices[0].energy_j", "energy_devices[1].energy_j"}
    assert named <= {"reproducibility_notes", "quality.nll_nats", *joules}
    assert report.n_agreed > 200


def test_a_text_is_as_probable_to_several_processes_as_to_one(alone: Run, shared: Run, split: Run) -> None:
    expected = alone.result.quality
    assert expected is not None
    assert expected.perplexity is not None
    assert shared.result.quality == expected
    found = split.result.quality
    assert found is not None
    # Sums over halves of a layer are in another order.
    assert found.perplexity == pytest.approx(expected.perplexity, rel=1e-4)
    assert found.tokens_digest == expected.tokens_digest
    of_shared, of_split = (read_process_results(run.folder / ".state", 2) for run in (shared, split))
    assert [raw.quality is not None for raw in of_shared] == [True, False]
    assert [raw.quality is not None for raw in of_split] == [True, True]


def test_processes_that_share_the_prompts_serve_each_once_with_the_tokens_of_one(alone: Run, shared: Run) -> None:
    result = shared.result
    for column in ("index", "input_tokens", "output_tokens", "finish_reason", "output_digest", "input_digest"):
        assert shared.rows()[column] == alone.rows()[column], column
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (
        N, alone.result.input_tokens, alone.result.output_tokens,
    )  # fmt: skip
    assert (result.prompts_digest, result.inputs_digest) == (alone.result.prompts_digest, alone.result.inputs_digest)
    assert result.aggregation is not None
    assert (result.aggregation.n_processes, result.aggregation.parallelism) == (2, "data")


def test_the_figures_are_those_of_both_processes(shared: Run) -> None:
    result = shared.result
    first, second = read_process_results(shared.folder / ".state", 2)
    assert [[r.index for r in raw.requests] for raw in (first, second)] == [[0, 2, 4], [1, 3]]
    assert result.output_tokens == first.counts.output_tokens + second.counts.output_tokens
    # A tiny model's window takes milliseconds; where a busy machine leaves one of the two waiting, that is said.
    overlap = first.window_start_s < second.window_end_s and second.window_start_s < first.window_end_s
    assert overlap == all(warning.flag != "windows_do_not_overlap" for warning in result.warnings)
    # They begin together: the one that comes last makes the others wait, who look every 5 ms.
    assert abs(first.window_start_s - second.window_start_s) < 1
    whole_s = max(first.window_end_s, second.window_end_s) - min(first.window_start_s, second.window_start_s)
    assert result.duration_sec == whole_s
    assert result.tokens_per_second == result.output_tokens / whole_s
    assert first.peak_memory_mb is not None
    assert second.peak_memory_mb is not None
    assert result.peak_memory_mb == first.peak_memory_mb + second.peak_memory_mb
    assert result.latency_stats is not None
    assert result.latency_stats.e2e_s is not None
    assert result.latency_stats.e2e_s.n == N


def test_the_one_cpu_that_both_processes_watched_counts_once(shared: Run) -> None:
    raws = read_process_results(shared.folder / ".state", 2)
    measured = [raw.energy for raw in raws if raw.energy is not None]
    assert [[d.device for d in energy.devices] for energy in measured] == [["cpu", "ram"]] * 2
    longest = max(measured, key=lambda energy: energy.duration_sec)
    assert longest.total_j is not None
    assert longest.total_j > 0
    assert shared.result.total_energy_j == longest.total_j
    assert [d.device for d in shared.result.energy_devices] == ["cpu", "ram"]


def test_cores_are_shared_by_processes_that_share_the_cpu(alone: Run, shared: Run, split: Run) -> None:
    usable = len(os.sched_getaffinity(0))
    cores = min(psutil.cpu_count(logical=False) or usable, usable)
    if "OMP_NUM_THREADS" in os.environ and THREADS_OF_TESTS not in os.environ:
        pytest.skip("somebody said how many threads there are to be")
    for run in (shared, split):
        assert run.result.model.parameters is not None
        assert run.result.model.parameters["n_threads"] == max(1, cores // 2)


def test_processes_that_share_the_layers_say_what_one_says_and_it_counts_once(alone: Run, split: Run) -> None:
    result = split.result
    for column in ("index", "input_tokens", "output_tokens", "finish_reason", "output_digest"):
        assert split.rows()[column] == alone.rows()[column], column
    assert (result.input_tokens, result.output_tokens) == (alone.result.input_tokens, alone.result.output_tokens)
    assert result.model.n_parameters == alone.result.model.n_parameters
    assert result.total_flops == alone.result.total_flops
    assert result.aggregation is not None
    assert (result.aggregation.n_processes, result.aggregation.parallelism) == (2, "tensor")
    first, second = read_process_results(split.folder / ".state", 2)
    assert [r.output_digest for r in first.requests] == [r.output_digest for r in second.requests]
    # Steady by the first one's latencies, or they would wait for each other in different runs.
    assert first.warmup_result == second.warmup_result


# Together by default, and each alone where there is time: whichever is computed otherwise gives other tokens.
@pytest.mark.parametrize(
    "with_",
    [
        ("an adapter apart", "a draft"),
        pytest.param(("an adapter apart",), marks=pytest.mark.slow),
        pytest.param(("a draft",), marks=pytest.mark.slow),
    ],
    ids=" and ".join,
)
def test_layers_that_are_shared_say_what_one_process_says_with_what_stands_beside_them(
    tiny_llama: Path, adapter: Path, tmp_path: Path, with_: tuple[str, ...]
) -> None:
    fields: dict[str, Any] = {"n": 2}
    section: dict[str, Any] = {}
    if "an adapter apart" in with_:
        fields["lora"] = {"path": str(adapter), "merge": False}
    if "a draft" in with_:
        section["assistant_model"] = str(save_tiny_llama(tmp_path / "draft", hidden_size=32))
    one = run(tiny_llama, tmp_path / "one", section, **fields)
    two = run(tiny_llama, tmp_path / "two", {**section, **SPLIT}, **fields)
    assert two.result.aggregation is not None
    assert two.rows()["output_digest"] == one.rows()["output_digest"]
    assert two.result.flops_result == one.result.flops_result


def test_an_adapter_is_not_folded_into_layers_that_are_shared(tiny_llama: Path, adapter: Path) -> None:
    (problem,) = PyTorchBackend().problems(config_of(tiny_llama, SPLIT, lora={"path": str(adapter)}))
    assert problem.endswith("set lora.merge: false")
    assert PyTorchBackend().problems(config_of(tiny_llama, SHARED, lora={"path": str(adapter)})) == []


def test_what_is_left_is_a_raw_result_and_a_marker_of_each(shared: Run) -> None:
    assert sorted(p.name for p in (shared.folder / ".state").iterdir()) == [
        *("process_0.done", "process_0.json", "process_1.done", "process_1.json", "state_0", "state_1"),
    ]
    assert sorted(p.name for p in shared.folder.iterdir()) == [
        *(".state", "DONE", "log.txt", "log_1.txt"),
        *("outputs.parquet", "requests.parquet", "result.json", "timeseries.parquet"),
    ]
    again = aggregate_directory(shared.folder / ".state", 2)
    # The files beside the result were written when both had ended.
    named = {name: f"{name}.parquet" for name in ("timeseries", "requests", "outputs")}
    assert again.model_copy(update=named) == ExperimentResult.from_json(shared.folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda state: (state / "process_1.json").unlink(), r"process_1\.json is missing; process 1 did not finish$"),
        (lambda state: (state / "process_0.done").unlink(), r"process_0\.done is missing; process 0 did not finish$"),
        (
            lambda state: (state / "process_1.json").write_bytes((state / "process_1.json").read_bytes()[:-100]),
            r"process_1\.json does not match its completion marker$",
        ),
    ],
    ids=["missing", "unmarked", "torn"],
)
def test_a_file_that_is_missing_or_torn_is_named(
    shared: Run, tmp_path: Path, spoil: Callable[[Path], Any], said: str
) -> None:
    state = shutil.copytree(shared.folder / ".state", tmp_path / "state")
    spoil(state)
    with pytest.raises(ExperimentError, match=said):
        aggregate_directory(state, 2)


def test_an_experiment_of_several_processes_is_not_run_in_one(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs 2 processes \(data parallel\)"):
        PyTorchBackend().run(config_of(tiny_llama, SHARED))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"tp_plan": "auto"}, "give tp_size, which on a CPU is the number of processes"),
        ({"tp_plan": "auto", "tp_size": 3}, "3 processes cannot share 4 of num_attention_heads evenly"),
        ({"tp_plan": "auto", "tp_size": 4}, "4 processes cannot share 2 of num_key_value_heads evenly"),
    ],
)
def test_what_cannot_be_split_is_found_before_anything_is_started(
    tiny_llama: Path, section: dict[str, Any], said: str
) -> None:
    problems = PyTorchBackend().problems(config_of(tiny_llama, section))
    assert any(said in problem for problem in problems)


def test_a_model_without_a_plan_is_not_split(tmp_path: Path) -> None:
    from transformers import GPT2Config

    GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=16).save_pretrained(tmp_path)
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()  # nothing that is asked before loading opens them
    # Its weights are none either, which is told beside it.
    problems = PyTorchBackend().problems(config_of(tmp_path, SPLIT))
    assert "pytorch.tp_plan: transformers has no such plan for models of type 'gpt2'; remove it" in problems


def test_the_memory_of_every_process_is_in_the_estimate(tiny_llama: Path) -> None:
    one, two, both = (
        PyTorchBackend().estimate_memory(config_of(tiny_llama, section)) for section in ({}, SHARED, SPLIT)
    )
    assert one is not None
    assert both is not None
    assert (one.weights_mb, one.kv_cache_mb) == (both.weights_mb, both.kv_cache_mb)  # it is split, not copied
    assert two is not None
    assert one.kv_cache_mb is not None
    assert (two.weights_mb, two.kv_cache_mb) == (2 * one.weights_mb, 2 * one.kv_cache_mb)


def test_a_draft_is_whole_in_every_process_whatever_is_split(tiny_llama: Path) -> None:
    section = {**SPLIT, "assistant_model": str(tiny_llama), "batch_size": 1}
    both = PyTorchBackend().estimate_memory(config_of(tiny_llama, section))
    assert both is not None
    # Embeddings and head of 320 x 64; in each of 2 layers q and o of 64 x 64, k and v of 64 x 32, three of 64 x 128
    # and two norms of 64; a norm at the end.
    n_parameters = 2 * 320 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64) + 64
    # Keys and values of 2 layers with 2 heads of 16, for 24 tokens in and 12 out.
    n_cached = 2 * 2 * 2 * 16 * (24 + 12)
    # One model among the two processes, and a draft of the same shape in each; 4 bytes for a number.
    assert both.weights_mb == pytest.approx(3 * 4 * n_parameters / 1e6)
    assert both.kv_cache_mb == pytest.approx(3 * 4 * n_cached / 1e6)
    # Scores of each process are whole: two of the model, two of the drafts.
    alone = PyTorchBackend().estimate_memory(config_of(tiny_llama, {"batch_size": 1}))
    assert alone is not None
    assert alone.activations_mb is not None
    assert both.activations_mb == pytest.approx(4 * alone.activations_mb)
