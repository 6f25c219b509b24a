"""Full disks, streams that take nothing, and engines that end the process: what was measured is kept, and said."""

import shlex
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.showing.lines import LABEL
from tests.fakes.distributions import TOY
from tests.fakes.faulty import LLEM, arguments, environment, finished, study
from tests.fakes.model import write_description
from tests.fakes.small_disk import own_mounts

# Room enough for a run to be begun; the engine takes what is left of it.
DISK_MB = 80
FILLS = TOY.replace(
    "    def run(self, requests, load, on_done):\n",
    """    def run(self, requests, load, on_done):
        import os
        for place in os.environ["TO_FILL"].split(":"):
            with open(os.path.join(place, "filler"), "wb") as file:
                try:
                    while True:
                        file.write(bytes(1_000_000))
                        file.flush()
                except OSError:
                    pass
            try:
                with open(os.path.join(place, "filler2"), "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(512))
            except OSError:
                pass
""",
)


def ends_with(code: str) -> str:
    """An engine that runs this instead of a request."""
    return TOY.replace("        for request in requests:\n", f"        {code}\n        for request in requests:\n", 1)


# The second experiment of a study measures as if nothing had been.
ENDS = {
    "os._exit": ends_with("import os; os.environ.get('GOES_ON') or os._exit(0)"),
    "sys.exit": ends_with("import sys; sys.exit(0)"),
    "abort": ends_with("import os; os.abort()"),
    "BaseException": ends_with("raise type('PanicException', (BaseException,), {})('called unwrap on None')"),
    "a wrong exit in loading": TOY.replace(
        "        yield ToyModel", "        import os; os._exit(0)\n        yield ToyModel"
    ),
}


# Those that end it when everything is measured.
ENDS_LATE = {
    "aborts at its exit": TOY.replace(
        "        yield ToyModel", "        import atexit, os; atexit.register(os.abort)\n        yield ToyModel"
    ),
    "exits while unloading": TOY.replace(
        ".n_tokens)\n\n    def native", ".n_tokens)\n        import os; os._exit(3)\n\n    def native"
    ),
}


@dataclass(frozen=True)
class Ran:
    """How a run ended, what it said, and where."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def results(self) -> list[ExperimentResult]:
        """What lies below its folder for results."""
        return finished(self.folder / "out")


Shell = Callable[[list[str]], str]


def plain(command: list[str]) -> str:
    return shlex.join(command)


def on_a_small_disk(*places: str) -> Shell:
    """Each of these folders is a small disk of its own."""
    mounts = "; ".join(f"mkdir -p {p} && mount -t tmpfs -o size={DISK_MB}m none {p} || exit 77" for p in places)
    # What is on the disk goes with it, so it is copied off it while it is there.
    copy = "; ".join(f"rm -f {p}/filler*; cp -a {p} {p}.seen" for p in places)

    def line(command: list[str]) -> str:
        script = f"{mounts}; {shlex.join(command)}; code=$?; {copy}; exit $code"
        return shlex.join([*(own_mounts() or []), "sh", "-c", script])

    return line


def redirected(how: str) -> Shell:
    return lambda command: f"{shlex.join(command)} {how}"


def into_a_full_pipe(command: list[str]) -> str:
    """Its stderr is a pipe that is full, and that the shell holds open and does not read."""
    return f"mkfifo pipe; exec 3<>pipe; head -c 65536 /dev/zero >&3; {shlex.join(command)} 2>&3"


def while_it_runs(this: str) -> Shell:
    begun = "until ls out/.*partial >/dev/null 2>&1; do sleep 0.01; done"
    return lambda command: f"({begun}; {this}) & {shlex.join(command)}; code=$?; wait; exit $code"


def run(folder: Path, shell: Shell, engine: str = TOY, table: str = "table.csv", **variables: str) -> Ran:
    """Run a shell line with an experiment, or with a study where no table is wanted, in a new folder."""
    folder.mkdir()
    env = environment(folder, engine, **variables)
    out = folder / "out"
    single = arguments(out, "--export-csv", str(folder / table))
    line = shell(single if table else [*LLEM, "run", str(study(folder)), "-o", str(out)])
    ran = subprocess.run(["bash", "-c", line], env=env, cwd=folder, capture_output=True, text=True, check=False)
    return Ran(ran.returncode, ran.stdout, ran.stderr, folder)


@pytest.fixture(scope="module")
def may_mount() -> None:
    """Skip where nobody may mount a small disk."""
    if own_mounts() is None:
        pytest.skip("nobody may mount a small disk here")


Runs = dict[str, "Future[Ran]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every disturbed run, two beside each other."""
    root = tmp_path_factory.mktemp("disturbed")
    pool = ThreadPoolExecutor(2)

    def begin(name: str, shell: Shell, engine: str = TOY, table: str = "table.csv", **variables: str) -> "Future[Ran]":
        return pool.submit(run, root / name, shell, engine, table, **variables)

    out, temporary = str(root / "full" / "out"), str(root / "all full" / "temporary")
    both = (str(root / "all full" / "out"), temporary)
    of_study, of_table = str(root / "study" / "out"), str(root / "csv" / "tables")
    found = {
        "full": begin("full", on_a_small_disk(shlex.quote(out)), engine=FILLS, TO_FILL=out),
        "all full": begin("all full", on_a_small_disk(*map(shlex.quote, both)), engine=FILLS, TO_FILL=":".join(both)),
        "study": begin("study", on_a_small_disk(of_study), FILLS, "", TO_FILL=of_study),
        "csv": begin("csv", on_a_small_disk(of_table), FILLS, "tables/table.csv", TO_FILL=of_table),
        "full stdout": begin("full stdout", redirected("> /dev/full")),
        "closed stdout": begin("closed stdout", redirected(">&-")),
        "closed stderr": begin("closed stderr", redirected("2>&-")),
        "full stderr": begin("full stderr", redirected("2> /dev/full")),
        "stderr nobody reads": begin("stderr nobody reads", into_a_full_pipe),
        "nobody reads": begin("nobody reads", redirected("| true; exit ${PIPESTATUS[0]}")),
        "no streams": begin("no streams", redirected("<&- >&- 2>&-")),
        "csv came": begin("csv came", while_it_runs("touch table.csv")),
    }
    for name, engine in {**ENDS, **ENDS_LATE}.items():
        found[name] = begin(name, plain, engine)
    pool.shutdown(wait=False)
    return found


@pytest.mark.usefixtures("may_mount")
def test_a_result_that_the_disk_does_not_take_is_printed_and_kept_in_the_temporary_folder(runs: Runs) -> None:
    ran = runs["full"].result()
    (there,) = (ran.folder / "temporary").iterdir()
    assert f"cannot be written to {ran.folder / 'out'}" in ran.err
    assert f"it is in {there}" in ran.err
    assert (ran.code, len(finished(there))) == (1, 1)
    assert f"{'result':<{LABEL}}{there}" in ran.out
    assert {"requests.parquet", "outputs.parquet", ".state"} <= {path.name for path in there.iterdir()}
    assert list((ran.folder / "out.seen").iterdir()) == []


@pytest.mark.usefixtures("may_mount")
def test_with_a_full_temporary_folder_too_the_next_one_takes_it(runs: Runs) -> None:
    ran = runs["all full"].result()
    assert ran.code == 1
    assert "throughput" in ran.out
    there = Path(ran.err.rsplit("it is in ", 1)[1].strip())
    try:
        assert len(finished(there)) == 1
        assert not there.is_relative_to(ran.folder)
    finally:
        shutil.rmtree(there)


@pytest.mark.usefixtures("may_mount")
def test_a_study_whose_disk_is_full_ends_with_its_table_and_what_it_has(runs: Runs) -> None:
    ran = runs["study"].result()
    kept = {finished(there)[0].name: there for there in (ran.folder / "temporary").iterdir()}
    assert ran.code == 1
    assert "slot 0" in kept
    # What comes later may have no place to begin in; that is a failure, and said.
    failed = {f"slot {slot}" for slot in range(3)} - kept.keys()
    # What nobody can take any more is not run, and that is said too.
    told = {name for name in failed if f"failed: {name}: OSError: " in ran.out}
    n_left = len(failed - told)
    assert f"{3 - n_left} experiments, {len(told)} failed{f', {n_left} of 3 not run' if n_left else ''}" in ran.out
    assert ("stopped: nothing can be written for the study any more: No space left" in ran.out) is (n_left > 0)
    assert all(f"it is in {there}" in ran.err for there in kept.values())
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("may_mount")
def test_a_csv_that_does_not_fit_costs_no_result(runs: Runs) -> None:
    ran = runs["csv"].result()
    assert (ran.code, len(ran.results)) == (1, 1)
    assert "throughput" in ran.out
    assert "table.csv: No space left on device; the result is in " in ran.err
    assert list((ran.folder / "tables.seen").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("full stdout", "the table could not be written to stdout (No space left on device); the result is in "),
        ("closed stdout", "the table could not be written to stdout (it is closed); the result is in "),
        ("nobody reads", "the table could not be written to stdout (Broken pipe); the result is in "),
    ],
)
def test_a_table_that_cannot_be_printed_costs_no_result_and_is_said(runs: Runs, name: str, said: str) -> None:
    ran = runs[name].result()
    assert (ran.code, ran.out, len(ran.results)) == (1, "", 1)
    assert said in ran.err
    assert ran.err.rstrip().endswith(str(next((ran.folder / "out").iterdir())))
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err
    assert (ran.folder / "table.csv").exists()


@pytest.mark.parametrize("name", ["closed stderr", "full stderr", "stderr nobody reads"])
def test_status_lines_that_cannot_be_printed_cost_nothing_at_all(runs: Runs, name: str) -> None:
    ran = runs[name].result()
    assert (ran.code, ran.err, len(ran.results)) == (0, "", 1)
    assert "throughput" in ran.out


def test_without_any_stream_the_result_is_kept_and_no_file_takes_the_place_of_a_stream(runs: Runs) -> None:
    ran = runs["no streams"].result()
    assert (ran.code, len(ran.results)) == (1, 1)
    (result,) = (ran.folder / "out").iterdir()
    assert not any(b"llem:" in file.read_bytes() for file in result.glob("*.parquet"))


def test_a_csv_that_came_meanwhile_is_not_overwritten_and_the_result_is_kept_and_printed(runs: Runs) -> None:
    ran = runs["csv came"].result()
    assert (ran.code, len(ran.results)) == (1, 1)
    assert "throughput" in ran.out
    assert f"--export-csv {ran.folder / 'table.csv'}: " in ran.err
    assert "the result is in " in ran.err
    assert (ran.folder / "table.csv").read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os._exit", "the measuring process ended with exit code 0 without a report"),
        ("a wrong exit in loading", "the measuring process ended with exit code 0 without a report"),
        ("abort", "the measuring process was killed by SIGABRT without a report"),
        ("sys.exit", "SystemExit: 0"),
        ("BaseException", "PanicException: called unwrap on None"),
    ],
)
def test_an_engine_that_ends_the_process_is_a_failed_experiment_with_a_reason(runs: Runs, name: str, said: str) -> None:
    ran = runs[name].result()
    assert (ran.code, ran.out, ran.results) == (1, "", [])
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    assert list((ran.folder / "out").iterdir()) == []


@pytest.mark.parametrize("name", ENDS_LATE)
def test_an_engine_that_ends_the_process_when_all_is_measured_costs_nothing(runs: Runs, name: str) -> None:
    ran = runs[name].result()
    assert ENDS_LATE[name] != TOY
    assert (ran.code, len(ran.results)) == (0, 1), ran.err
    assert "engine_unload_failed" in {warning.flag for warning in ran.results[0].warnings}


def test_a_study_goes_on_after_an_engine_that_ends_the_process(tmp_path: Path) -> None:
    engine = (
        ends_with("import os; request_seed.startswith('slot 1') and os._exit(0)")
        .replace("class ToyModel(LoadedModelBase):", "request_seed = ''\n\n\nclass ToyModel(LoadedModelBase):")
        .replace(
            "        yield ToyModel", "        globals()['request_seed'] = plan.config.name\n        yield ToyModel"
        )
    )
    folder = tmp_path / "study"
    folder.mkdir()
    command = [*LLEM, "run", str(study(folder)), "-o", str(folder / "out")]
    env = environment(folder, engine)
    ran = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "failed: slot 1: ExperimentError: the measuring process ended with exit code 0" in ran.stdout
    assert [result.name for result in finished(folder / "out")] == ["slot 0", "slot 2"]


def test_an_engine_that_ends_the_process_while_it_reads_a_text_costs_its_perplexity_only(tmp_path: Path) -> None:
    # It gives the ids and then no answer.
    engine = TOY.replace(
        "    def describe(self)",
        "    def token_log_probs(self, token_ids):\n        import os; os._exit(3)\n\n    def describe(self)",
    )
    model = write_description(tmp_path / "model")
    folder = tmp_path / "run"
    folder.mkdir()
    command = [*arguments(folder / "out"), "--model", str(model), "--set", "quality=true"]
    env = environment(folder, engine)
    ran = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    (result,) = finished(folder / "out")
    assert ran.returncode == 0, ran.stderr
    assert result.output_tokens > 0
    assert result.quality is not None
    assert (result.quality.perplexity, result.quality.why_not) == (None, "the process ended before it was known")
    assert {"quality_unavailable", "engine_unload_failed"} <= {warning.flag for warning in result.warnings}
