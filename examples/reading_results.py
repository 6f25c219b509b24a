"""Read the Parquet files of a study: print a small table, and draw it where matplotlib is installed.

    python examples/reading_results.py results/STUDY [figure.png]

Of this package nothing is needed, only pyarrow; pandas and polars read the same files.
"""

import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq

ENERGY, SPEED = "energy_per_output_token_j", "tokens_per_second"
Row = dict[str, Any]


def settings_that_differ(rows: list[Row]) -> list[str]:
    """Columns of settings, which have a dot in their names or are one of these, where rows differ."""
    names = [name for name in rows[0] if "." in name or name in ("model", "backend", "precision", "n")]
    return [name for name in names if len({str(row[name]) for row in rows}) > 1]


def label(row: Row, settings: list[str]) -> str:
    """What tells a row from the others."""
    return ", ".join(f"{name.rpartition('.')[2]} {row[name]}" for name in settings) or str(row["name"])


def mean_with_interval(row: Row, metric: str) -> str:
    """The mean over runs and, where there are three runs or more, its 95 % interval."""
    if row[metric] is None:
        return "-"
    if row[f"{metric}_low"] is None:
        return f"{row[metric]:.3g}"
    return f"{row[metric]:.3g} ({row[f'{metric}_low']:.3g} to {row[f'{metric}_high']:.3g})"


def print_configurations(rows: list[Row], settings: list[str]) -> None:
    """A line for each configuration: the means of the study's summary."""
    print(f"{'configuration':<24}  {'runs':>4}  {'J per output token (95 %)':<28}  {'output tokens/s (95 %)':<28}")
    print(f"{'-' * 24}  {'-' * 4}  {'-' * 28}  {'-' * 28}")
    for row in rows:
        energy, speed = mean_with_interval(row, ENERGY), mean_with_interval(row, SPEED)
        print(f"{label(row, settings):<24}  {row['n_finished']:>4}  {energy:<28}  {speed:<28}")
    for origin in sorted({f"{row['energy_origin']}; the energy is {row['validity']}" for row in rows}):
        print(f"energy: {origin.replace('_', ' ')}")


def print_requests(study: Path) -> None:
    """A line for each run: what its table of requests says. Requests of one run are no repeats of each other."""
    print(f"\n{'run':<40}  {'requests':>8}  {'median TTFT, s':>14}  {'longest, s':>10}")
    print(f"{'-' * 40}  {'-' * 8}  {'-' * 14}  {'-' * 10}")
    for path in sorted(study.glob("runs/*/attempt-*/requests.parquet")):
        columns = pq.read_table(path, columns=["ttft_s", "e2e_s"]).to_pydict()
        first = [seconds for seconds in columns["ttft_s"] if seconds is not None]
        whole = [seconds for seconds in columns["e2e_s"] if seconds is not None]
        middle, longest = (median(first), max(whole)) if first and whole else (math.nan, math.nan)
        run = path.parent.relative_to(study / "runs").as_posix()
        print(f"{run:<40}  {len(columns['e2e_s']):>8}  {middle:>14.3g}  {longest:>10.3g}")


def draw(rows: list[Row], settings: list[str], path: Path) -> None:
    """Joules per token against throughput, with the intervals of both."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for row in rows:
        if row[ENERGY] is None or row[SPEED] is None:
            continue
        reach = [
            None if row[f"{m}_low"] is None else [[row[m] - row[f"{m}_low"]], [row[f"{m}_high"] - row[m]]]
            for m in (SPEED, ENERGY)
        ]
        axes.errorbar(row[SPEED], row[ENERGY], xerr=reach[0], yerr=reach[1], fmt="o", label=label(row, settings))
    axes.set(xlabel="output tokens/s", ylabel="J per output token", xlim=(0, None), ylim=(0, None))
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
    print(f"\ndrawn: {path}")


def main(study: Path, figure: Path) -> None:
    """Print the tables, and draw the figure."""
    rows = pq.read_table(study / "summary.parquet").to_pylist()
    settings = settings_that_differ(rows)
    print_configurations(rows, settings)
    print_requests(study)
    try:
        draw(rows, settings, figure)
    except ImportError:
        print("\nnot drawn: pip install matplotlib")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "figure.png"))  # noqa: PLR2004
