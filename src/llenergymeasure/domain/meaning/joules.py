"""What the fields about energy mean."""

from llenergymeasure.domain.meaning.base import Meanings, derived, read

_PARTS = "`edges`, `integration`, `unseen`, `lag`, `averaging`, `resolution`, `witness`"

RESULT: Meanings = {
    "total_energy_j": derived(
        "Energy of the window: the GPUs', else the CPU packages', else the systems' on a chip, else the machine's. In "
        "Python also `energy_total_j`.",
        "J",
        "sum of `energy_j` over the rows of `energy_devices` that make the total; `null` when one is unknown, or some "
        "are sensed and some modelled",
    ),
    "energy_adjusted_j": derived(
        "The same less the idle baseline's share; negative values are kept and warned about.",
        "J",
        "`energy_breakdown.adjusted_j`",
    ),
    "energy_per_output_token_j": derived(
        "The primary figure.", "J/token", "`total_energy_j` / `output_tokens`; `null` without output tokens"
    ),
    "avg_energy_per_token_j": derived(
        "Energy over tokens read and produced.", "J/token", "`total_energy_j` / `total_tokens`"
    ),
    "energy_per_request_j": derived("Energy over requests.", "J/request", "`total_energy_j` / `n_requests`"),
    "energy_net_of_loaded_idle_j": derived(
        "The total less what the machine takes with the model loaded and nothing asked.",
        "J",
        "`total_energy_j` - loaded idle energy, which is the sum over sets of devices, each as its longest-reading "
        "process has it, of `process_results.idle_loaded_power_w` * `process_results.energy_window_s`",
    ),
    "energy_net_of_loaded_idle_uncertainty_j": derived(
        "Its bound; `null` where one of the two has none.",
        "J",
        "`energy_uncertainty_j` + the sum of `process_results.idle_loaded_power_uncertainty_w` * "
        "`process_results.energy_window_s` over the same processes",
        5,
    ),
    "idle_loaded_power_w": derived(
        "Power of idling with the model loaded, of all counted devices.",
        "W",
        "sum of `process_results.idle_loaded_power_w` over sets of devices, each as its longest-reading process has it",
    ),
    "idle_loaded_power_uncertainty_w": derived(
        "Its bound; `null` where the sensor states none, nor how often it is new; see "
        "[methodology](methodology.md#idle).",
        "W",
        "sum of `process_results.idle_loaded_power_uncertainty_w` over the same processes",
        5,
    ),
    "baseline_power_w": derived(
        "Power of idling before loading, of all counted devices.", "W", "`energy_breakdown.baseline_power_w`"
    ),
    "energy_breakdown": read("Energy as sensed and without the idle machine's share."),
    "energy_uncertainty_j": derived(
        "Bound of the total from edges, ticks and integration, and from 5 on what a sensor does not see; `null` where "
        "the sensor gives none.",
        "J",
        "sum of `uncertainty_j` over the rows that make the total, else what the only process's sensor states of the "
        "whole",
        1,
        5,
    ),
    "sensor_accuracy_pct": read("Systematic accuracy of on-board GPU sensors; `null` for everything else.", "%"),
    "energy_aliasing_pct": derived(
        "What tokens in step with a part-time power sensor may have hidden from it, of the total, beside "
        "`energy_uncertainty_j`; `null` where nothing of the kind was found.",
        "%",
        "the largest of any process; [how it is worked out](methodology.md#part-time-sensors)",
    ),
    "energy_host_j": derived(
        "What the machine took as far as it was sensed, beside the total and never in its place: GPUs, CPU packages "
        "and memory together; or modules; or a system on a chip, the machine as it measures itself, or at the wall, "
        "alone. `null` where no processor was sensed, or a part is modelled, unknown or of another time than the "
        "window.",
        "J",
        "sum of `energy_j` over the rows of `energy_devices` that `energy_host_scope` names",
        5,
    ),
    "energy_host_uncertainty_j": derived("Its bound.", "J", "sum of `uncertainty_j` over the same rows", 5),
    "energy_host_scope": read(
        "What is in `energy_host_j` and what it leaves out, such as `GPU + CPU + memory, without fans, disks, network, "
        "power supply`."
    ),
    "dither_pause_s": derived(
        "Random pauses between batches within the window (`measurement.dither_s`), which are in all figures; `null` "
        "without pauses.",
        "s",
        "that of the process that paused for longest",
        5,
    ),
    "dither_energy_j": derived(
        "An estimate of the share of those pauses.",
        "J",
        "sum over processes of their loaded idle power * their pauses; `null` where two have a device in common",
        5,
    ),
    "energy_interval_j": derived(
        "[low, high]: the one interval of the energy, without the sensor's own error. `null` without a bound, or where "
        "a model stands behind the energy.",
        "J",
        "`total_energy_j` -+ (`energy_uncertainty_j` + `total_energy_j` * `energy_aliasing_pct` / 100), not below 0",
        5,
    ),
    "energy_interval_parts_j": derived(
        "Its half width by what leaves it open; [what they are](methodology.md#a-gpus-joules).",
        "J",
        "`uncertainty_parts_j` summed by name over the rows that make the total, `stated` where a sensor gives its "
        "bound as a whole, and `aliasing`; they add up to the half width",
        5,
    ),
    "energy_devices": read("A row per device that was read."),
    "energy_backend": read("The sensor of energy, or what models it."),
}

DEVICE_ENERGY: Meanings = {
    "device": read("UUID of a GPU, else the sensor's own name of it."),
    "kind": read("`gpu`, `cpu`, `dram`, `soc` or `host`."),
    "energy_j": derived(
        "What the device took in the window; `null` where that is unknown.",
        "J",
        "of `counter`: last tick - first tick, brought to the window's edges; of `integrated`: power over time by the "
        "trapezoidal rule, from 5 on with each reading at the moments that it is of; of `modelled`: see `basis`",
        1,
        5,
    ),
    "source": read("`counter`, `integrated` or `modelled`."),
    "uncertainty_j": derived(
        "Bound of what edges, ticks and integration leave open, and from 5 on of what the sensor does not see; not the "
        "sensor's own error.",
        "J",
        "sum of `uncertainty_parts_j`, or as the sensor states it",
        1,
        5,
    ),
    "uncertainty_parts_j": read(f"Parts of the bound, which add up to it: {_PARTS}.", "J"),
    "update_period_s": read("How often the sensor has something new, as it was found.", "s"),
    "field": read("Which reading of the device it is, in its driver's words."),
    "basis": read("What a modelled figure is worked out from."),
    "witness_j": read("What a second reading of the same device gave for the same window.", "J"),
    "sensor": read("The sensor that gave the row; `null` before 2."),
    "scope": read(
        "What the figure covers: `gpu`, `module` (GPU, CPU and memory), `package`, `dram`, `soc`, `host`, `wall`; "
        "`null` before 2."
    ),
    "headline": read("Whether it is part of the total; `null` before 2."),
    "duration_sec": read("The time that the figure is of: the window's, whatever stands beside it.", "s"),
}

ENERGY_BREAKDOWN: Meanings = {
    "raw_j": derived("Energy as sensed.", "J", "`total_energy_j`"),
    "adjusted_j": derived(
        "Energy beyond idling without the model.",
        "J",
        "`raw_j` - the sum over sets of devices, each as its longest-reading process has it, of "
        "`process_results.baseline_power_w` * `process_results.energy_window_s`",
    ),
    "baseline_power_w": derived(
        "Idle power before loading.",
        "W",
        "sum of `process_results.baseline_power_w` over the same processes",
    ),
    "baseline_method": read("`fresh`, `cached` or `unavailable`."),
    "baseline_timestamp": read("When it was measured, in Unix time.", "s"),
    "baseline_cache_age_sec": read("How old a cached one was.", "s"),
    "baseline_power_uncertainty_w": derived(
        "Bound of idle power; `null` where the sensor states none, nor how often it is new.",
        "W",
        "sum of `process_results.baseline_power_uncertainty_w` over the same processes",
        5,
    ),
    "adjusted_uncertainty_j": derived(
        "Bound of adjusted energy; `null` where a part has none.",
        "J",
        "`energy_uncertainty_j` + the sum of `process_results.baseline_power_uncertainty_w` * "
        "`process_results.energy_window_s` over the same processes",
        5,
    ),
}

ATTACHED_LOG: Meanings = {
    "device": read("The row in `energy_devices`."),
    "file": read("Name of the log."),
    "sha256": read("Its SHA-256, in hex."),
    "offset_s": read("How far the meter's clock was ahead of the machine's, as whoever attached it said.", "s"),
    "time_zone": read("Zone of times in the log that name none."),
    "n_readings": read("Readings over the window."),
}

PROCESS_SUMMARY: Meanings = {
    "process_index": read("Which process, from 0."),
    "input_tokens": read("Tokens it read in its window.", "tokens"),
    "output_tokens": read("Tokens it produced in its window.", "tokens"),
    "duration_sec": read("Length of its window.", "s"),
    "energy_j": read("What its sensor has as the total.", "J"),
    "devices": read("Devices that its sensor has rows of."),
    "energy_window_s": read("How long its sensor was on.", "s"),
    "counted_devices": read("Those of its devices that make its energy."),
    "baseline_power_w": read("Their power idling before loading.", "W"),
    "idle_loaded_power_w": read("Their power idling with the model loaded.", "W"),
    "baseline_power_uncertainty_w": read("Bound of the former.", "W"),
    "idle_loaded_power_uncertainty_w": read("Bound of the latter.", "W"),
    "host": read("The node that it measured, where an experiment has several; null where it has one."),
}

PHASES_RESULT: Meanings = {
    "n_pairs": read("Pairs of windows: one with a single token per answer, one with all of them."),
    "n_requests": read("Requests of each window."),
    "prefill": derived(
        "Reading the prompts, and the first token of each answer.",
        "",
        "means over `pairs.prefill` with 95 % t intervals; from 5 on the mean of the windows' bounds is added to the "
        "half width in full, and unresolved is what they leave half open",
        1,
        5,
    ),
    "decode": derived(
        "The tokens after the first.",
        "",
        "means over the differences `pairs.full` - `pairs.prefill` with intervals as of `prefill`, in which the bounds "
        "of both windows are added",
        1,
        5,
    ),
    "pairs": read("What was measured of each pair, in the order they were run in."),
}

PHASE_RESULT: Meanings = {
    "status": read("`resolved`, or `unresolved`: it may be nothing. Of its energy, or of its time without one."),
    "n_tokens": read("Tokens read in prefill, produced in decode.", "tokens"),
    "duration_sec": read("Its time.", "s"),
    "energy_j": read("Its energy.", "J"),
    "power_w": read("Its power, the mean of that of each pair.", "W"),
    "tokens_per_second": read("`n_tokens` over `duration_sec`.", "tokens/s"),
    "energy_per_token_j": read("`energy_j` over `n_tokens`.", "J/token"),
}

ESTIMATE: Meanings = {
    "value": read("The mean, in the unit of the field that holds it."),
    "low": read("Lower end of its interval; `null` is no interval."),
    "high": read("Upper end."),
}

PHASE_PAIR: Meanings = {
    "prefill": read("The window with a single token per answer."),
    "full": read("The window with all tokens."),
}

PHASE_READING: Meanings = {
    "duration_sec": read("Length of the window.", "s"),
    "energy_j": read("Its energy.", "J"),
    "uncertainty_j": read("Bound of that; `null` where the sensor has none.", "J"),
    "update_period_s": read("How often the slowest sensor behind it has something new.", "s"),
}
