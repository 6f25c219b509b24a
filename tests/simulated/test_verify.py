"""What was measured on simulated GPUs, worked out again from the files alone, whole and damaged."""

import random
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import nvmlsim
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.verify import in_lines, verify
from nvmlsim import Counter, Gpu, Trace
from tests.fakes.bundles import bundle_of
from tests.fakes.damages import Damage, damage, sums_written
from tests.fakes.effort import examples
from tests.simulated.conftest import Measuring, Outcome

# By the number of damages of each kind: a thousand in all.
DAMAGES = examples(500, by_default=50)
# What a raw result alone has, and no figure is made of.
SAID_ONCE = ("as_given", "energy.samples")


@dataclass(frozen=True)
class Measured:
    """A folder and what a process left for it."""

    folder: Path
    raw: RawProcessResult
    outcome: Outcome


def measured(process: Measuring, folder: Path, *gpus: Gpu, **request: Any) -> Measured:
    outcome = process.run(*gpus, **request)
    raw = RawProcessResult.model_validate({name: value for name, value in outcome.raw.items() if name != "took_s"})
    bundle_of(folder, [raw])
    return Measured(folder, raw, outcome)


@pytest.fixture(scope="module")
def counted(measuring: Measuring, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Two cards whose counters and powers are read."""
    folder = tmp_path_factory.mktemp("counted") / "bundle"
    cards = [Gpu(power_w=Trace.constant(watts), sensors=nvmlsim.RTX40, counter=Counter()) for watts in (250.0, 180.0)]
    return measured(measuring, folder, *cards, n_gpus=2, batch_s=0.3, n_batches=4)


@pytest.fixture(scope="module")
def sampled(measuring: Measuring, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A card without a counter."""
    folder = tmp_path_factory.mktemp("sampled") / "bundle"
    card = Gpu(power_w=Trace.constant(250.0), sensors=nvmlsim.A100, counter=None)
    return measured(measuring, folder, card, batch_s=0.3, n_batches=4)


def wrong(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings if finding.kind != "not verifiable"]


@pytest.mark.parametrize("name", ["counted", "sampled"])
def test_energy_and_all_that_follows_comes_out_the_same_again(name: str, request: pytest.FixtureRequest) -> None:
    bundle: Measured = request.getfixturevalue(name)
    report = verify(bundle.folder)
    assert wrong(report) == []
    # The fake engine counts FLOPs by a rule of its own.
    assert {finding.name for finding in report.findings} == {"reproducibility_notes", "flops_result.value"}
    assert report.n_agreed > 300


def test_the_readings_that_are_kept_have_both_edges_of_the_window_in_them(counted: Measured) -> None:
    table = pq.read_table(counted.folder / "trace.parquet").to_pylist()
    raw = counted.raw
    for uuid in counted.outcome.uuids:
        reads = [row for row in table if (row["device"], row["what"]) == (uuid, "counter")]
        for edge_s in (raw.window_start_s, raw.window_end_s):
            near = [row for row in reads if abs(row["time_s"] - edge_s) < 0.2]
            # Read closely there: twice a millisecond until two ticks are seen.
            assert len({row["value"] for row in near}) >= 2
            assert all(row["began_s"] <= row["time_s"] <= row["ended_s"] for row in near)
        assert {row["what"] for row in table if row["device"] == uuid} >= {"power", "average", "counter"}


def scaled(raw: RawProcessResult, by: float) -> RawProcessResult:
    """What a process left, with every joule of it multiplied, and every bound."""
    energy = raw.energy
    assert energy is not None

    def times(value: float | None) -> float | None:
        return None if value is None else value * by

    rows = tuple(
        replace(
            row,
            energy_j=times(row.energy_j),
            uncertainty_j=times(row.uncertainty_j),
            uncertainty_parts_j={name: part * by for name, part in (row.uncertainty_parts_j or {}).items()},
        )
        for row in energy.devices
    )
    changed: EnergyMeasurement = replace(
        energy,
        devices=rows,
        total_j=times(energy.total_j),
        uncertainty_j=times(energy.uncertainty_j),
        per_gpu_j={row.device: row.energy_j for row in rows if row.energy_j is not None},
    )
    return raw.model_copy(update={"energy": changed})


@pytest.mark.parametrize(("name", "by"), [("counted", 0.8), ("counted", 1.3), ("sampled", 0.99), ("sampled", 1.01)])
def test_joules_that_are_rewritten_everywhere_are_not_those_of_the_readings(
    name: str, by: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Everything is worked out anew from other joules, by our own code, with sums: nothing contradicts itself.
    bundle_of(tmp_path / "bundle", [scaled(request.getfixturevalue(name).raw, by)])
    found = wrong(verify(tmp_path / "bundle"))
    assert any("energy_devices[0].energy_j: the file says" in line for line in found), found


def test_a_counter_that_is_not_to_be_believed_makes_no_figure(counted: Measured, tmp_path: Path) -> None:
    energy = counted.raw.energy
    assert energy is not None
    first = energy.trace[0]
    middle_s = (first.start_s + first.end_s) / 2
    reset = tuple(
        replace(
            kind,
            reads=tuple(r._replace(value=(r.value or 0.0) * 0.5) if r.time_s > middle_s else r for r in kind.reads),
        )
        if kind.kind == "counter"
        else kind
        for kind in first.readings
    )
    traces = (replace(first, readings=reset), *energy.trace[1:])
    raw = counted.raw.model_copy(update={"energy": replace(energy, trace=traces)})
    bundle_of(tmp_path / "bundle", [raw])
    said = "energy_devices[0].source: the counter made the figure, and it is not to be believed: it went back"
    assert f"differs: {said}" in wrong(verify(tmp_path / "bundle"))


def damaged(bundle: Path, seed: int, folder: Path) -> tuple[Damage, Path]:
    copy = folder / f"bundle-{seed}"
    shutil.copytree(bundle, copy)
    return damage(copy, random.Random(seed)), copy


def cleared(folder: Path) -> None:
    shutil.rmtree(folder)
    for outside in folder.parent.glob(f"{folder.name}-outside"):
        outside.unlink()


def names(report: Report) -> set[str]:
    return {finding.name for finding in report.findings}


def test_every_damage_is_found_by_the_sums(sampled: Measured, tmp_path: Path) -> None:
    for seed in range(DAMAGES):
        done, folder = damaged(sampled.folder, seed, tmp_path)
        report = verify(folder)
        assert wrong(report), f"damage {seed}: {done}"
        assert all(line.isprintable() for line in in_lines(report)), f"damage {seed}: {done}"
        cleared(folder)


def test_damages_are_found_though_sums_were_written_anew(sampled: Measured, tmp_path: Path) -> None:
    before = names(verify(sampled.folder))
    n_found = 0
    for seed in range(10_000, 10_000 + DAMAGES):
        done, folder = damaged(sampled.folder, seed, tmp_path)
        sums_written(folder)
        report = verify(folder)
        if wrong(report) or names(report) - before:
            n_found += 1
        else:
            assert cannot_be_found(done, sampled.folder, folder), f"damage {seed}: {done}"
        cleared(folder)
    assert n_found >= 0.85 * DAMAGES


def cannot_be_found(done: Damage, before: Path, after: Path) -> bool:
    """Whether a damage left nothing: a marker written anew, a table of the same rows, a sentence for people."""
    if done.file.endswith(".done") or (done.file, done.place) == ("result.json", "reproducibility_notes"):
        return True
    if done.file.endswith(".parquet") and stat.S_ISREG((after / done.file).lstat().st_mode):
        tables = [pq.read_table(folder / done.file) for folder in (before, after)]
        return bool(tables[0].equals(tables[1]))
    return done.file == ".state/process_0.json" and done.place in SAID_ONCE
