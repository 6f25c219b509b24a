"""The table of a study as people read it."""

import re
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.results.showing.lines import WIDTH
from llenergymeasure.results.study.rows import rows
from llenergymeasure.results.study.shown import markdown, text
from llenergymeasure.results.study.summary import Summing
from tests.fakes.studies import Study, of_batches

SPREAD = (0.99, 1.0, 1.01, 0.995, 1.004)


@pytest.fixture
def swept(tmp_path: Path) -> Study:
    """Two precisions by two batch sizes, five times each; the last one failed once."""
    study = Study.of(tmp_path / "s", [*of_batches(1, 4, precision="fp32"), *of_batches(1, 4)], 5)
    for slot in study.plan.slots:
        place, factor = slot.configuration, SPREAD[slot.repeat]
        if place == 3 and slot.repeat == 2:
            study.fail(slot)
            continue
        study.finish(
            slot,
            (80, 60, 50, 31)[place] * factor,
            duration_s=(4.0, 3.0, 2.5, 2.0)[place] * factor,
            ttft_s=(0.5, 0.6, 0.4, 0.45)[place],
            measurement_warnings=() if place else ("short_measurement_duration: 4 s",),
        )
    return study


# ln of the spread: -0.01005, 0, 0.00995, -0.005013, 0.003992, with standard deviation 0.00776; t(.975, 4) = 2.776, so
# the half of the interval is 0.00964. Of the last one without 1.01: 0.00606, t(.975, 3) = 3.182, 0.00964 as well.
GOLDEN = """\
#  precision  batch_size       J/out tok  n        out tok/s  TTFT p50 s  notes
-  ---------  ----------  --------------  -  ---------------  ----------  -----
1  fp32       1           20.00 +- 0.20   5  1.000 +- 0.010       0.500   1 2
2  fp32       4           15.00 +- 0.15   5  1.334 +- 0.013       0.600
3  bf16       1           12.50 +- 0.13   5  1.600 +- 0.016       0.400*  L
4  bf16       4            7.73 +- 0.08*  4  2.006 +- 0.020*      0.450   T L 3
*: the best mean of its column
T: no row is better in both J/out tok and out tok/s (Pareto front)
L: no row is better in both J/out tok and TTFT p50 (Pareto front)
1: the energy is questionable (short_measurement_duration)
2: short_measurement_duration: the window is under 10 s
3: 1 of 5 runs failed
energy: sensed: energy counter of the GPU (nvml); +-5 % (sensor), up to +-0 %
        (readings) stand beside all figures; repeats take nothing of it away
output: every run gave equal tokens for the same input
each run: 1 requests, 4 output tokens
+-: 95 % interval of the mean over n runs, by Student's t on logarithms
against 1: times its mean (95 %), paired by block, Holm over 3; different:
        beyond 1 % and no chance; equivalent: within 1 %
     2: J/out tok x0.750 (0.750 to 0.750) different; out tok/s x1.333 (1.333 to
        1.333) different; TTFT p50 x1.200 (1.200 to 1.200) different
     3: J/out tok x0.625 (0.625 to 0.625) different; out tok/s x1.600 (1.600 to
        1.600) different; TTFT p50 x0.800 (0.800 to 0.800) different
     4: J/out tok x0.388 (0.388 to 0.388) different; out tok/s x2.000 (2.000 to
        2.000) different; TTFT p50 x0.900 (0.900 to 0.900) different; runs
        without a partner in their block, which are not in the ratio: 1
not shown: energy J; summary.csv has all
failed: run 3: BackendError: no such weights
        log: out/s/runs/{failed}/attempt-1/log.txt
20 experiments, 1 failed"""


def test_the_table_of_a_study(swept: Study) -> None:
    summary = Summing(swept.plan).of(rows(swept.directory, swept.plan))
    said = text(summary, "out/s")
    assert said == GOLDEN.replace("{failed}", swept.plan.folder_of(swept.slot(3, 2)))
    assert all(len(line) <= WIDTH for line in said.splitlines())


def test_markdown_says_the_same(swept: Study) -> None:
    summary = Summing(swept.plan).of(rows(swept.directory, swept.plan))
    said = markdown(summary)
    assert said.startswith("# a study\n\n|")
    assert " 20.00 ± 0.20 | " in said
    assert "- 3: 1 of 5 runs failed\n" in said
    assert f"- log: runs/{swept.plan.folder_of(swept.slot(3, 2))}/attempt-1/log.txt\n" in said
    (last,) = [line for line in said.splitlines() if line.startswith("|   4 |")]
    assert last.count("|") == 10


def test_single_runs_are_one_line_each_with_what_they_ran(tmp_path: Path) -> None:
    configs = [ExperimentConfig(model="a/model", name=name, n=n) for n, name in enumerate("abc", 1)]
    study = Study.of(tmp_path / "s", configs)
    for slot in study.plan.slots:
        if slot.configuration == 1:
            study.fail(slot, "no such weights\nlook there")
        elif slot.configuration == 0:
            study.finish(slot, None, measurement_warnings=("energy_unavailable: no sensor",))
    said = text(Summing(study.plan).of(rows(study.directory, study.plan)))
    lines = said.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["#", "experiment", "n", "out tok/s", "TTFT p50 s", "notes"]
    assert re.split(r"\s{2,}", lines[2]) == ["1", "a", "1", "2.00", "0.500"]
    assert re.split(r"\s{2,}", lines[3]) == ["2", "b", "2", "failed", "-", "1"]
    assert re.split(r"\s{2,}", lines[4]) == ["3", "c", "3", "not run", "-"]
    assert "1: 1 of 1 runs failed" in lines
    assert "energy: not measured" in lines
    assert "failed: run 1: BackendError: no such weights\n        look there\n" in said
    assert "n: 1 at most; intervals and comparisons take 3 runs (execution.cycles)" in lines
    assert "against" not in said
    assert lines[-1] == "2 experiments, 1 failed, 1 of 3 not run"


def test_joules_of_other_origins_say_so_in_their_row(tmp_path: Path) -> None:
    study = Study.of(tmp_path / "s", of_batches(1, 4))
    modelled = {"kind": "cpu", "source": "modelled", "device": "cpu", "sensor": "codecarbon"}
    for slot in study.plan.slots:
        study.finish(slot, 80.0, device=modelled if slot.configuration else {})
    lines = text(Summing(study.plan).of(rows(study.directory, study.plan))).splitlines()
    notes = dict(line.split(": ", 1) for line in lines if re.match(r"\d+: ", line))
    row = re.split(r"\s{2,}", next(line for line in lines if line.startswith("2  ")))
    told = [notes[mark] for mark in row[-1].split()]
    assert any(note.startswith("energy modelled from ") for note in told)
    assert any(note.startswith("the energy is not citable (energy_modelled)") for note in told)
    assert any(line.startswith("caution: energy_per_output_token_j: no row is called best") for line in lines)


def test_long_settings_stand_beneath(tmp_path: Path) -> None:
    configs = [ExperimentConfig(model=f"an-organisation/{'long-' * 10}{n}", max_output_tokens=n) for n in (1, 2)]
    study = Study.of(tmp_path / "s", configs)
    study.finish_all([80.0], [80.0])
    lines = text(Summing(study.plan).of(rows(study.directory, study.plan))).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "model" not in lines[0]
    assert any(line.startswith("1: model an-organisation/long-") for line in lines)


def test_of_engines_is_shown_what_tells_their_rows_apart(tmp_path: Path) -> None:
    """Every field of a section is in the rows of one engine; one that nobody set says nothing."""
    common = {"model": "a/model", "precision": "fp32"}
    ours = [{"backend": "pytorch", "pytorch": {"batch_size": n}} for n in (1, 4)]
    configs = [ExperimentConfig.model_validate({**common, **own}) for own in ours]
    theirs = {"backend": "vllm", "vllm": {"max_num_seqs": 4}}
    configs.append(ExperimentConfig.model_validate({**common, **theirs}))
    study = Study.of(tmp_path / "s", configs)
    study.finish_all([80.0], [70.0], [60.0])
    summary = Summing(study.plan).of(rows(study.directory, study.plan))
    lines = text(summary).splitlines()
    assert re.split(r"\s{2,}", lines[0])[:4] == ["#", "backend", "batch_size", "J/out tok"]
    assert [re.split(r"\s{2,}", line)[:3] for line in lines[2:5]] == [
        ["1", "pytorch", "1"], ["2", "pytorch", "4"], ["3", "vllm", "-"],
    ]  # fmt: skip
    # What is no default may be why rows differ from the others, also where it is alike in all of its engine.
    assert "vllm: max_num_seqs 4" in lines
    assert "- vllm: max_num_seqs 4\n" in markdown(summary)
    assert "random_weights" not in markdown(summary)
    # The files of the summary have them all.
    assert summary.rows[2].settings["vllm.max_num_seqs"] == 4


def test_a_name_can_neither_begin_a_line_nor_break_the_table(tmp_path: Path) -> None:
    configs = [ExperimentConfig(model="m", name=name, n=n) for n, name in ((1, "good\nresults: forged"), (2, "|bad"))]
    study = Study.of(tmp_path / "s", configs)
    study.finish_all([80.0], [80.0])
    summary = Summing(study.plan).of(rows(study.directory, study.plan))
    assert not any(line.startswith("results: ") for line in text(summary).splitlines())
    assert "good\\nresults: forged" in text(summary)
    assert "\\|bad" in markdown(summary)
