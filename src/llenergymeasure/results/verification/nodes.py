"""Processes of several nodes, each laid over the window of the first: joules of the rest are taken off again."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_OF_THE_FIRST = (
    "start_time", "end_time", "window_start_s", "window_end_s", "requests", "in_flight", "load", "warmup_result",
    "flops_result", "n_requests_excluded", "n_requests_failed",
)  # fmt: skip


def laid_over(raws: Sequence[Row]) -> list[Row]:
    """The raw results; those of nodes that attend as they stand in a result."""
    return [_of_the_first(raw, raws[0]) if raw.get("node") and raw["process_index"] else raw for raw in raws]


def _of_the_first(raw: Row, first: Row) -> Row:
    window_s = first["window_end_s"] - first["window_start_s"]
    beyond_s = raw["window_end_s"] - raw["window_start_s"] - window_s
    energy: Any = raw["energy"]
    if energy is not None:
        rows = [_without(row, beyond_s / (window_s + beyond_s), beyond_s, raw["idle_by_device_w"])
                for row in energy["devices"]]  # fmt: skip
        rows = [{**row, "duration_sec": window_s} for row in rows]
        joules = [row["energy_j"] for row in _counted(rows)]
        none = energy["total_j"] is None or not rows or None in joules or _covered(raw) != _covered(first)
        total_j = None if none else sum(joules)
        named = [row if row["kind"] == "gpu" or _is_one_machine(raw, first) else
                 {**row, "device": f"{raw['node']}/{row['device']}"} for row in rows]  # fmt: skip
        energy = {**energy, "duration_sec": window_s, "devices": named, "total_j": total_j, "trace": []}
    return {**raw, **{name: first[name] for name in _OF_THE_FIRST}, "energy": energy, "samples": []}


def _counted(rows: Sequence[Row]) -> Sequence[Row]:
    """Those that make the total: the GPUs if there are any, else the packages, else chips, else the machine."""
    for kind in ("gpu", "cpu", "soc", "host"):
        if found := [row for row in rows if row["kind"] == kind and row["headline"] is not False]:
            return found
    return ()


def _is_one_machine(raw: Row, first: Row) -> bool:
    boots = [each["environment_snapshot"].get("boot_id") for each in (raw, first)]
    return bool(raw["node"] == first["node"] if None in boots else boots[0] == boots[1])


def _covered(raw: Row) -> set[str]:
    """What the counted joules of a process are of."""
    rows = [] if raw["energy"] is None else raw["energy"]["devices"]
    kinds = {"cpu": "package"}
    return {str(row["scope"] or kinds.get(row["kind"], row["kind"])) for row in _counted(rows)}


def _without(row: Row, share: float, beyond_s: float, idle_w: Mapping[str, Sequence[float | None]]) -> Row:
    """A row less what the device idled away beyond the window, or half of what it may have taken then."""
    if row["energy_j"] is None:
        return row
    power_w, bound_w = idle_w.get(row["device"], (None, None))
    beyond_j = row["energy_j"] * share / 2 if power_w is None else power_w * beyond_s
    bound_j = beyond_j if power_w is None else None if bound_w is None else bound_w * beyond_s
    known = row["uncertainty_j"] is not None and bound_j is not None
    parts = row["uncertainty_parts_j"]
    return {
        **row,
        "energy_j": row["energy_j"] - beyond_j,
        "uncertainty_j": row["uncertainty_j"] + bound_j if known else None,
        "uncertainty_parts_j": None if parts is None or bound_j is None else {**parts, "beyond": bound_j},
        "witness_j": None,
    }
