"""What the page of servers says of other tools is what was recorded."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
NAMES = {
    "TTFT, median": "ttft_p50_s", "TTFT, p95": "ttft_p95_s", "TPOT, median": "tpot_p50_s", "TPOT, p95": "tpot_p95_s",
    "E2E, median": "e2e_p50_s", "E2E, p95": "e2e_p95_s",
}  # fmt: skip


def record_of(name: str) -> dict[str, object]:
    """The newest record of a bench."""
    found: dict[str, object] = json.loads(
        max((ROOT / "bench" / "results").glob(f"{name}-*.json")).read_text(encoding="utf-8")
    )
    return found


@pytest.mark.parametrize(("column", "tool"), [(1, "vllm"), (2, "aiperf")])
def test_ratios_of_latencies_are_the_recorded_ones(column: int, tool: str) -> None:
    ratios = record_of("load-figures-llamacpp")["ours_over_theirs"]
    assert isinstance(ratios, dict)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
    told = {row[0]: row[column] for row in rows if row[0] in NAMES}
    assert set(told) == set(NAMES)
    for name, text in told.items():
        found = ratios[tool][NAMES[name]]
        low, high = found["interval_95"]
        assert text == f"{found['mean']:.2f} ({low:.2f} to {high:.2f})"


def test_what_our_generator_takes_is_what_was_recorded() -> None:
    found = record_of("load-generator")["theirs_over_ours"]
    assert isinstance(found, dict)
    for name, words in (("cpu_s_per_1000_chunks", "processor time per chunk"), ("p99_late_ms", "of vLLM's")):
        ratio, (low, high) = found[name]["median_ratio"], found[name]["median_ratio_95_interval"]
        said = f"{1 / ratio:.2f} {'of its ' if 'time' in words else ''}{words} (95 % {1 / high:.2f} to {1 / low:.2f}"
        assert said in " ".join(PAGE.split())
