"""Paragraphs about results: every number is the result's, and what is absent is not claimed."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure._version import __version__
from llenergymeasure.domain.metrics import EnergyBreakdown
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.persistence import load_result
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.citing import Account, bibtex, methods_of_one
from llenergymeasure.results.sharing.opening import bundle_in
from tests.unit.results.sharing.kinds import counted, modelled, packages, parallel, raw_of, saved, study, unmeasured

GOLDEN = Path(__file__).parents[3] / "golden"


def test_the_counter_of_a_gpu_with_both_idles_a_bound_and_the_sensors_own_error() -> None:
    said = methods_of_one(counted())
    for sentence in (
        "Energy, throughput and latency of inference with org/a-model (revision c0ffee; 135.7 M parameters) in bf16 "
        "under the engine pytorch (torch 9.1) were measured with LLenergyMeasure 0.0.",
        "It ran on NVIDIA H100, power limit 650 W, in a machine with Fake CPU, 4 logical CPUs, 16 GB of memory, driver "
        "590.1, CUDA 13.2, Python 3.11.0, Linux-fake.",
        "Prompts were those of the data set mixed (at most 512 tokens in, at most 128 tokens out), run in batches of 7 "
        "with greedy decoding.",
        "5 runs of warm-up came first, not counted; then the loaded model idled for 64 s.",
        "The energy is sensed: energy counter of the GPU (nvml). Read: nvmlDeviceGetTotalEnergyConsumption, new every "
        "0.02 s. It covers the GPU alone. Its systematic error is about 5 %, and in no interval here.",
        "Tokens, time and energy are of one window of 2 s, the whole run, from 2026-03-04 05:06:07 to 2026-03-04 "
        "05:06:09 (UTC): 1 request, 3 tokens in and 4 out, 2 output tokens per second.",
        # 80 J of 4 tokens; the interval is 80 +- 1.5 J.
        "It was 80 J, 20 J per output token, idle power included; the measurement leaves open 78.5 to 81.5 J.",
        "Idle power before the model was loaded was 12.5 W (+-0.25 W), taken from a measurement shortly before (611 s "
        "old), without which 55 J (+-2 J) remain.",
        # 80 J - 2 s x 17.5 W.
        "With the model loaded it was 17.5 W (+-0.75 W), without which 45 J",
        "It is a single run, so nothing is known of how far repeats would spread.",
        f"Digests of what went in: weights sha256:{'1' * 64}, prompts {'0' * 64}, inputs ",
        "Devices: GPU-a.",
    ):
        assert sentence in said


def test_packages_by_rapl_claim_no_accuracy_and_no_idle() -> None:
    said = methods_of_one(packages())
    assert "The energy is sensed: energy counter of the 2 CPUs (rapl). It covers 2 CPUs alone." in said
    # Bounds of 0.125 J each.
    assert (
        "It was 41 J, 10.25 J per output token, idle power included; the measurement leaves open 40.75 to 41.25 J."
        in said
    )
    assert "Idle power was not measured." in said
    assert "no GPU was used" in said
    assert "systematic" not in said
    assert "By the tool's own rules this energy is citable. The tool gave no warning." in said


def test_modelled_energy_is_called_an_estimate_and_has_no_bound() -> None:
    said = methods_of_one(modelled())
    assert "The energy is modelled from CPU load, not sensed (codecarbon). It is an estimate that no sensor" in said
    assert "It was 19 J, 4.75 J per output token." in said
    assert "By the tool's own rules this energy is not citable (energy_modelled)." in said
    assert "idle power included" not in said
    assert "leaves open" not in said


def test_where_there_is_no_energy_none_is_claimed() -> None:
    said = methods_of_one(unmeasured())
    assert said.startswith("Throughput and latency of inference with org/a-model")
    assert "No energy was obtained: no sensor answered; see llem config." in said
    assert "There is no energy to cite. Warnings of the tool: energy_unavailable." in said
    assert not re.search(r"\d J\b|citable|Idle|It was", said)


def test_several_processes_are_named_with_how_they_were_put_together() -> None:
    said = methods_of_one(parallel())
    assert "2 processes shared the work (tensor parallel); together: sum over devices." in said
    assert "The energy is sensed: sampled power of the 2 GPUs, integrated (nvml)." in said
    assert "under the engine pytorch, version not known, were" in said
    # 80 + 90 J over 4 tokens, counted once.
    assert "It was 170 J, 42.5 J per output token, idle power included; no bound of it is known." in said
    assert "It ran on 2 GPUs that the driver did not describe" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"decoder": {"do_sample": True, "temperature": 0.6, "top_k": 31}, "random_seed": 77},
         "with sampling (temperature 0.6, top_k 31, seed 77)"),
        ({"decoder": {"num_beams": 3}}, "with 3 beams"),
        ({"dataset": "random", "max_output_tokens": 61}, "those of random tokens"),
        ({"dataset": "mine.jsonl"}, "those of the data set mine.jsonl"),
        (
            {"dataset": {"name": None, "in_memory": {"n": 3, "sha256": "ab" * 32}}},
            f"those of a list of 3 given in Python (SHA-256 {'ab' * 32})",
        ),
    ],
)  # fmt: skip
def test_prompts_and_decoding_are_those_of_the_configuration(config: dict[str, Any], said: str) -> None:
    assert said in methods_of_one(ExperimentResult.from_processes([raw_of(config)]))


def test_a_fresh_baseline_is_called_so_and_one_that_is_not_there_is_not_mentioned() -> None:
    fresh = EnergyBreakdown(raw_j=41.0, adjusted_j=None, baseline_power_w=9.5, baseline_method="fresh")
    assert "was 9.5 W, measured for this run." in methods_of_one(packages(energy_breakdown=fresh))
    absent = EnergyBreakdown(raw_j=41.0, adjusted_j=None, baseline_power_w=None, baseline_method="unavailable")
    assert "Idle power was not measured." in methods_of_one(packages(energy_breakdown=absent))


NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?(?![\w])")
KINDS = [counted, packages, modelled, unmeasured, parallel]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *leaves(inner))
    elif isinstance(value, list):
        yield len(value)
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def is_of(token: str, values: list[Any]) -> bool:
    """Whether a number as it is written is one of the values, rounded as it is, in its unit or in thousands of it."""
    if any(isinstance(value, str) and token in value for value in values):
        return True
    number = float(token.replace(",", ""))
    digits = len(token.partition(".")[2].partition("e")[0])
    close = 0.5 * 10.0**-digits * (1 + 1e-9)
    return any(
        abs(value / scale - number) <= close
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
        for scale in (1, 1e3, 1e6)
    )


@pytest.mark.parametrize("make", KINDS)
def test_every_number_in_a_paragraph_is_in_the_result(make: Callable[[], ExperimentResult]) -> None:
    result = make()
    values = [*leaves(result.model_dump(mode="json")), result.energy_origin]
    text = re.sub(r"2026-03-04 05:06:0[79]", "", methods_of_one(result))
    tokens = [token.strip(",") for token in NUMBER.findall(text)]
    assert len(tokens) > 10
    assert [token for token in tokens if not is_of(token, values)] == []
    # The check itself finds one that is not.
    assert not is_of("78.4321", values)


@pytest.mark.parametrize(
    "name",
    [
        "revision-1/gpus",
        "revision-1/quickstart",
        "revision-2/quickstart",
        "revision-3/quickstart",
        "revision-6/gpus",
        "revision-7/gpus",
        "revision-7/load",
    ],
)
def test_results_of_every_revision_have_a_paragraph_with_their_own_numbers(name: str) -> None:
    result = ExperimentResult.from_json(GOLDEN / name)
    said = methods_of_one(result)
    values = [*leaves(result.model_dump(mode="json")), result.energy_origin]
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", said)
    assert [token for token in NUMBER.findall(text) if not is_of(token.strip(","), values)] == []
    assert "None" not in said


def text_of(folder: Path) -> str:
    return Account.of(Bundle.of(folder)).text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Requests arrived at 1.5 per second on average, whatever became of those before."),
        ({"kind": "concurrency", "n_asked_in_flight": 16}, "16 requests were in flight at a time."),
        ({"kind": "trace"}, "Requests arrived as in a trace."),
        ({"kind": "max"}, "All requests arrived at once."),
    ],
)
def test_how_requests_arrived_is_said(changes: dict[str, Any], said: str) -> None:
    result = load_result(GOLDEN / "revision-7" / "load")
    assert result.load is not None
    given = result.model_copy(update={"load": replace(result.load, **changes)})
    assert f"with greedy decoding. {said}" in methods_of_one(given)


def test_a_study_says_what_its_runs_have_in_common_and_lists_its_configurations(tmp_path: Path) -> None:
    warned = (MeasurementWarning("gpu_throttled", "it was hot"),)
    first, second = counted(), counted(measurement_warnings=warned)
    folder = study(tmp_path / "s", first, second, packages(), n_failed=1, n_planned=6)
    text = text_of(folder)
    paragraph, *lines = text.splitlines()
    # Both kinds have the same configuration here, so they are runs of it: two on a GPU, one on the CPU.
    assert paragraph.startswith(
        "A study of 1 configuration with 3 runs, 3 of each, from 2026-03-04 05:06 to 2026-03-04 05:06 (UTC); 1 more "
        "failed, 2 more of the plan have no result."
    )
    assert "In 2 of 3 runs (a run): It ran on NVIDIA H100" in paragraph
    assert "In 1 of 3 runs (a run): It ran on the CPU of Fake CPU" in paragraph
    assert "of one window, of 2 s." in paragraph
    assert paragraph.endswith(
        "Idle power, which is in the energies, was before the model was loaded 12.5 W (of 2 of 3 runs) and with the "
        "model loaded 17.5 W (of 2 of 3 runs)."
    )
    assert "no confidence interval" in paragraph
    (line,) = lines
    # 41 J and 80 J of 4 tokens each.
    assert line.startswith(
        f"- a run ({first.measurement_config_hash}), 3 runs: 10.25 to 20 J per output token, 2 output"
    )
    assert "questionable in 3 of 3" not in line
    assert line.endswith("warnings: gpu_throttled") or "gpu_throttled" in line


def test_how_well_a_model_predicts_a_text_is_said_with_what_that_is_of(tmp_path: Path) -> None:
    found = QualityResult(
        text="built-in sample", text_digest="d1g3st", nll_nats=6000.0, n_scored_tokens=2000, n_bytes=8000,
        n_context_tokens=512, n_stride_tokens=256,
    ).worked_out()  # fmt: skip
    # e to 3, and 6000 / ln 2 bits over 8,000 bytes.
    assert (
        "the model as it was loaded had a perplexity of 20.09 (1.082 bits per byte of it) on 2000 tokens of a text "
        "(built-in sample, SHA-256 d1g3st), in windows of 512 tokens, 256 apart."
    ) in methods_of_one(counted(quality=found))
    none = QualityResult(text="built-in sample", why_not="the engine does not tell")
    assert "(built-in sample) was asked for and is not known: the engine does not tell." in methods_of_one(
        counted(quality=none)
    )
    assert "predicts" not in methods_of_one(counted())
    *_, line = text_of(study(tmp_path / "s", counted(quality=found), counted(quality=none))).splitlines()
    assert "tokens per second, 20.09 perplexity (of 1 of 2 runs); the energy" in line


def test_runs_without_energy_are_counted_and_not_averaged_over(tmp_path: Path) -> None:
    text = text_of(study(tmp_path / "s", packages(), unmeasured()))
    assert "10.25 J per output token (of 1 of 2 runs)" in text
    assert "absent in 1 of 2" in text


def of_joules(make: Callable[..., ExperimentResult], per_token_j: float, **fields: Any) -> ExperimentResult:
    update = {"energy_per_output_token_j": per_token_j, "experiment_id": f"{make.__name__}-{per_token_j}", **fields}
    return make().model_copy(update=update)


def test_three_runs_of_a_kind_have_a_mean_with_its_interval(tmp_path: Path) -> None:
    runs = [of_joules(counted, joules) for joules in (19.0, 20.0, 21.0)]
    loads = (1.5, 3.25, None)
    runs = [run.model_copy(update={"foreign_cpu_pct": pct}) for run, pct in zip(runs, loads, strict=True)]
    others = [
        of_joules(modelled, joules, measurement_config_hash="f" * 16, name="other", tokens_per_second=4.0)
        for joules in (5.0, 7.0)
    ]
    paragraph, first, second = text_of(study(tmp_path / "s", *runs, *others)).splitlines()
    # (19 x 20 x 21)^(1/3) = 19.983; s of the logarithms 0.050047; t(2) = 4.30265, so a factor of e^0.12432 = 1.13238.
    assert "3 runs: 19.98 J per output token (mean of 3 runs, 95 % interval 17.65 to 22.63), 2 output tokens" in first
    assert "; other programs took 1.5 to 3.25 % of the processors' time (of 2 of 3 runs); the energy is" in first
    # Of two there is none, and nobody takes a model's figure for a sensor's.
    assert "2 runs: 5 to 7 J per output token, modelled and not sensed, 4 output tokens per second; the" in second
    assert (
        "What stands below for 3 runs or more of one kind is their geometric mean with its 95 % interval" in paragraph
    )
    assert "Over all configurations" not in paragraph


def of_a_sentinel(per_token_j: float, slot: int) -> ExperimentResult:
    key = RunKey(study_id="s", slot=slot, block=slot, repeat=slot, order="blocks")
    return of_joules(counted, per_token_j, name="sentinel", run_key=key, idle_loaded_power_w=99.0, duration_sec=9.0)


def test_runs_of_a_sentinel_like_the_reference_are_in_none_of_its_figures(tmp_path: Path) -> None:
    # The first and the last of a study are those of the sentinel.
    runs = [of_joules(counted, joules) for joules in (19.0, 20.0, 21.0)]
    folder = study(tmp_path / "s", of_a_sentinel(5.0, 0), *runs, of_a_sentinel(95.0, 4), n_planned=6)
    paragraph, line = text_of(folder).splitlines()
    assert paragraph.startswith("A study of 1 configuration with 3 runs, 3 of each, from 2026-03-04 05:06 to ")
    assert "; 1 more of the plan have no result. A sentinel was run beside them, to tell what changed with time (2 "\
        "runs); it is in no figure here." in paragraph  # fmt: skip
    assert "of one window, of 2 s." in paragraph
    assert "with the model loaded 17.5 W." in paragraph
    # As without it: (19 x 20 x 21)^(1/3), see above.
    of = f"- a run ({runs[0].measurement_config_hash}), 3 runs: 19.98 J per output token (mean of 3 runs, 95 % interval"
    assert line.startswith(of)


def test_a_study_of_a_sentinel_alone_has_no_figures(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", of_a_sentinel(5.0, 0), of_a_sentinel(6.0, 1), n_failed=1)
    assert text_of(folder) == "A study of which only the sentinel has results: 2 runs."


def test_what_is_called_sentinel_and_is_of_no_blocks_is_a_configuration(tmp_path: Path) -> None:
    for order in ("sequential", None):
        key = None if order is None else RunKey(study_id="s", slot=0, block=0, repeat=0, order="sequential")
        text = text_of(study(tmp_path / str(order), of_joules(counted, 5.0, name="sentinel", run_key=key)))
        assert "1 configuration with 1 run" in text
        assert "beside them" not in text


def test_over_configurations_figures_of_one_kind_have_a_range(tmp_path: Path) -> None:
    runs = [of_joules(packages, 3.0), of_joules(packages, 5.0, measurement_config_hash="f" * 16)]
    paragraph = text_of(study(tmp_path / "s", *runs)).splitlines()[0]
    assert "Over all configurations, runs had 3 to 5 J per output token and 2 output tokens per second." in paragraph


@pytest.mark.parametrize(
    "other",
    [
        of_joules(packages, 21.0),
        of_joules(counted, 21.0, definitions={"energy_per_output_token_j": 99}),
        of_joules(counted, -21.0),
        of_joules(counted, 21.0, environment_snapshot=packages().environment_snapshot),
    ],
)
def test_runs_that_are_no_repeats_of_each_other_have_no_mean(tmp_path: Path, other: ExperimentResult) -> None:
    runs = [of_joules(counted, 19.0), of_joules(counted, 20.0), other]
    line = text_of(study(tmp_path / "s", *runs)).splitlines()[1]
    low, high = sorted((19.0, 20.0, other.energy_per_output_token_j or 0.0))[::2]
    assert f"3 runs: {low:g} to {high:g} J per output token, 2 output" in line


def test_a_number_beyond_all_sense_does_not_fill_the_paragraph() -> None:
    said = methods_of_one(counted().model_copy(update={"total_energy_j": 1.25e300, "energy_interval_j": None}))
    assert "It was 1.25e+300 J, 20 J per output token" in said


def test_what_else_ran_is_said_where_it_is_known() -> None:
    said = methods_of_one(counted().model_copy(update={"foreign_cpu_pct": 3.25}))
    assert "In the window other programs took 3.25 % of the time of all processors." in said
    assert "other programs" not in methods_of_one(counted())


def test_bibtex_has_an_entry_for_each_version_and_a_year_only_of_the_one_that_is_known() -> None:
    assert bibtex(["1.5", __version__, "1.5"]).split("\n\n") == [
        "@software{llenergymeasure-1.5,\n"
        "  author  = {{The LLenergyMeasure authors}},\n"
        "  title   = {{LLenergyMeasure: energy, throughput, latency and compute of LLM inference, so that the numbers "
        "can be cited}},\n"
        "  version = {1.5},\n"
        "  license = {MIT},\n"
        "}",
        "@software{llenergymeasure-2.0.0,\n"
        "  author  = {{The LLenergyMeasure authors}},\n"
        "  title   = {{LLenergyMeasure: energy, throughput, latency and compute of LLM inference, so that the numbers "
        "can be cited}},\n"
        "  version = {2.0.0},\n"
        "  year    = {2026},\n"
        "  license = {MIT},\n"
        "}",
    ]
    assert bibtex(["1}, note = {x"]) == bibtex([""])
    assert bibtex([""]).startswith("@software{llenergymeasure,\n")
    assert "version" not in bibtex([""])


def test_a_bundle_is_a_result_by_its_file_or_folder_or_a_study(tmp_path: Path) -> None:
    one = saved(packages(), tmp_path / "one")
    assert Bundle.of(one) == Bundle.of(one / "result.json")
    assert not Bundle.of(one).is_study
    of = Bundle.of(study(tmp_path / "s", packages(), packages()))
    assert (of.is_study, len(of.files), of.n_failed, of.n_planned, of.n_unfinished) == (True, 2, 0, None, 0)
    slot = Path(of.files[0].file).parents[1]
    assert [file.key for file in Bundle.of(slot).files] == [of.files[0].key]


def test_what_a_file_has_in_it_begins_no_line_of_its_own(tmp_path: Path) -> None:
    result = packages().model_copy(update={"effective_config": {"model": "a\n- model"}, "name": "x\ny"})
    assert "inference with a\\n- model under" in methods_of_one(result)
    assert len(text_of(study(tmp_path / "s", result)).splitlines()) == 2


@pytest.mark.parametrize("name", ["nothing", "empty", "study", "a\0b", "x" * 5000])
def test_where_there_is_no_result_that_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "study" / "runs" / "0000-0").mkdir(parents=True)
    with pytest.raises(ConfigError, match="result"), bundle_in(tmp_path / name):
        pass


def test_nothing_is_said_of_a_result_that_was_edited(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", packages(), packages())
    file = Path(Bundle.of(folder).files[1].file)
    file.write_text(file.read_text(encoding="utf-8").replace('"n_requests": 1', '"n_requests": 2'), encoding="utf-8")
    with pytest.raises(ConfigError, match="it is not the file that was written"):
        text_of(folder)


def test_an_experiment_that_failed_without_a_word_to_be_read_has_failed(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", packages(), n_failed=2, n_planned=4)
    torn = folder / "runs" / f"0001-{'0' * 16}" / "attempt-1" / "failure.json"
    torn.write_text("{", encoding="utf-8")
    of = Bundle.of(folder)
    assert (len(of.files), of.n_failed, of.n_unfinished) == (1, 2, 1)
