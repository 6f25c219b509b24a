"""Whatever is wrong with a folder, a dry run tells it in words, ends with 0, 1 or 2, and runs none of its code.

What it calls whole is measured.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.command import Ran
from tests.fakes.effort import examples
from tests.integration.checkpoints.broken_folders import TRACE, Break, adapter_breaks, broken, model_breaks

# What is left on costs nothing, and where a whole folder would do, so does a broken one that runs.
QUICK = (
    "--precision", "fp32", "-n", "2", "--set", "max_output_tokens=2", "--set", "max_input_tokens=16",
    "--set", "energy.backend=null", "--set", "warmup.enabled=false", "--set", "baseline.enabled=false",
)  # fmt: skip
# Of the folders that a dry run calls whole, one in so many is really run.
RUN_ONE_IN = 8
HARSH = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
Command = Callable[..., Ran]
pytestmark = [pytest.mark.pytorch, pytest.mark.filterwarnings("default")]


def check_words(ran: Ran, *folders: Path) -> None:
    assert ran.code in (0, 1, 2)
    assert (ran.out if ran.code == 0 else ran.err).strip()
    for word in ("Traceback", "unforeseen", "failed when it was asked"):
        assert word not in ran.out + ran.err
    assert [line for line in ran.err.splitlines() if len(line) > 2000] == []
    assert [path for folder in folders for path in folder.rglob(TRACE)] == []


def check_run(ran: Ran, folder: Path) -> None:
    """What a dry run found nothing in is measured."""
    check_words(ran, folder)
    assert ran.code == 0, ran.err


@pytest.mark.timeout(7200)
@settings(HARSH, max_examples=examples(2_000, by_default=25))
@given(data=st.data())
def test_a_broken_model_is_words_and_never_code(
    tiny_llama: Path, tmp_path: Path, llem: Command, data: st.DataObject
) -> None:
    done: list[Break] = data.draw(st.lists(model_breaks(tiny_llama), min_size=1, max_size=2))
    model = broken(tiny_llama, tmp_path / "model", done)
    dry = llem("run", "--dry-run", "--model", model, *QUICK)
    check_words(dry, model)
    if dry.code == 0 and data.draw(st.integers(1, RUN_ONE_IN)) == 1:
        check_run(llem("run", "--model", model, "--quiet", *QUICK), model)


@pytest.mark.timeout(7200)
@settings(HARSH, max_examples=examples(400, by_default=15))
@given(data=st.data())
def test_a_broken_adapter_is_words_and_never_code(
    tiny_llama: Path, adapter: Path, tmp_path: Path, llem: Command, data: st.DataObject
) -> None:
    done: list[Break] = data.draw(st.lists(adapter_breaks(adapter), min_size=1, max_size=2))
    broken_one = broken(adapter, tmp_path / "adapter", done)
    arguments = ("--model", tiny_llama, "--set", f"lora.path={broken_one}", *QUICK)
    dry = llem("run", "--dry-run", *arguments)
    check_words(dry, broken_one)
    if dry.code == 0 and data.draw(st.integers(1, RUN_ONE_IN)) == 1:
        check_run(llem("run", "--quiet", *arguments), broken_one)
