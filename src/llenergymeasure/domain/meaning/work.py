"""What the fields about tokens, time, operations and warm-up mean."""

from llenergymeasure.domain.meaning.base import Meanings, derived, read

_PERCENTILES = "mean and percentiles (linear interpolation) over requests that succeeded and ended in the window"

RESULT: Meanings = {
    "n_requests": read("Requests that ended by themselves in the window.", "requests"),
    "n_requests_failed": read("Those that failed.", "requests"),
    "requests_in_flight": read(
        "Where an edge of the window cut through requests, how many; `null` where it cut through none. Tokens then "
        "count where their own times lie, a prompt by that of its first token."
    ),
    "n_cut_short": read(
        "Requests of the window that ended at `max_output_tokens` instead of an end token.", "requests"
    ),
    "input_tokens": read("Tokens read; see [methodology](methodology.md#tokens).", "tokens"),
    "output_tokens": read("Tokens produced; see [methodology](methodology.md#tokens).", "tokens"),
    "total_tokens": derived("Tokens read and produced.", "tokens", "`input_tokens` + `output_tokens`"),
    "duration_sec": derived(
        "Length of the window.", "s", "from the start of the first process's window to the end of the last one's"
    ),
    "tokens_per_second": derived("**Output** tokens over the window.", "tokens/s", "`output_tokens` / `duration_sec`"),
    "total_tokens_per_second": derived("All tokens over the window.", "tokens/s", "`total_tokens` / `duration_sec`"),
    "requests_per_second": derived("Requests over the window.", "requests/s", "`n_requests` / `duration_sec`"),
    "latency_stats": read("Latencies of requests."),
    "flops_result": read(
        "Floating-point operations. In Python `total_flops` is its `value`, and `model_flops` "
        "all terms of its `prefill` and `decode`: what the model did."
    ),
    "phases": read(
        "Prefill and decode apart, where `phases: true` asks for it; see "
        "[methodology](methodology.md#prefill-and-decode)."
    ),
    "quality": read(
        "How well the model predicts a text, where `quality` asks for it; see "
        "[methodology](methodology.md#quality-of-the-output)."
    ),
    "load": read(
        "How requests arrived, where `load` asks for it, and what of `slo` was kept; see "
        "[methodology](methodology.md#under-load). `null` of several data-parallel processes, each of which has "
        "arrivals of its own."
    ),
    "joules_per_tflop": derived(
        "Energy over what the model did; `null` where a term is.",
        "J/TFLOP",
        "`total_energy_j` / (all terms of `flops_result.prefill` and `flops_result.decode` / 10^12)",
    ),
    "mfu": derived(
        "What the model did over what its GPUs could have done; see [below](#flops).",
        "fraction",
        "all terms of `flops_result.prefill` and `flops_result.decode` / (`duration_sec` * sum over the model's GPUs "
        "of their dense peak in `flops_result.number_format`)",
    ),
    "peak_memory_mb": derived(
        "Since loading: most memory allocated on the GPUs; on a CPU the process's largest resident set, pages that "
        "several share included in each. 1 MB is 10^6 bytes.",
        "MB",
        "sum over processes",
    ),
    "instrument_cpu_s": derived(
        "Processor time that reading the GPUs took, edges of the window included; `null` without GPUs.",
        "s",
        "sum over processes",
    ),
    "foreign_cpu_pct": derived(
        "Processor time that programs beside this measurement took in the window, and a hypervisor gave to others, of "
        "all CPUs; `null` for less than a second.",
        "%",
        "the largest of any process",
    ),
    "thermal_throttle": read("Whether and why GPUs slowed down in the window."),
    "warmup_result": read("How warm-up went."),
    "warmup_excluded_samples": read("Warm-up runs, none of which is in any figure."),
    "measurement_methodology": read(
        "Which part of the run the window is: `total`, `windowed` or `steady_state`; see "
        "[methodology](methodology.md#a-part-of-the-run)."
    ),
    "steady_state_window": read("Beginning and end of a part, from the beginning of the run; `null` for `total`.", "s"),
    "n_requests_excluded": read("Requests before and after the part, which are in no figure.", "requests"),
    "process_results": read("A row per process."),
    "aggregation": read("How several processes were put together; `null` for one."),
}

LATENCY_STATISTICS: Meanings = {
    "ttft_s": derived("Time to the first token.", "s", f"first token - beginning (`counted_from`); {_PERCENTILES}"),
    "tpot_s": derived(
        "Time per output token after the first; `null` for a beam search.",
        "s",
        f"(`e2e_s` - `ttft_s`) / (tokens - 1), of each answer of more than one token; {_PERCENTILES}",
    ),
    "itl_s": derived(
        "Gaps between the tokens of a request, or between the parts of its answer where only these have times "
        "(`load.n_tokens_per_chunk`); `null` where an engine does not tell times.",
        "s",
        f"differences of neighbouring times of tokens, once for each answer that is so long; {_PERCENTILES}",
    ),
    "e2e_s": derived("Time to the last token.", "s", f"last token - beginning (`counted_from`); {_PERCENTILES}"),
    "counted_from": read(
        "Where TTFT and E2E run from: the `request`'s own beginning (when it was due, or else sent), or that of the "
        "`batch` it ran in with others."
    ),
}

DISTRIBUTION: Meanings = {
    "n": read("Values."),
    "mean": read("Their mean, in the unit of the field that holds it."),
    "p50": read("Median."),
    "p90": read("90th percentile."),
    "p95": read("95th percentile."),
    "p99": read("99th percentile."),
    "n_independent": read(
        "How many of the values came about apart from each other, on which depends [which percentiles they "
        "support](methodology.md#time)."
    ),
}

QUALITY_RESULT: Meanings = {
    "text": read("Name of the text: `built-in sample`, or a file."),
    "text_digest": read("SHA-256 of the text."),
    "tokens_digest": read("SHA-256 of the tokens that the model read of it; [how](#digests-of-tokens)."),
    "perplexity": derived(
        "As if each token were one of so many that are equally probable; of one tokenizer only.",
        "",
        "exp(`nll_nats` / `n_scored_tokens`)",
        6,
    ),
    "bits_per_byte": derived(
        "The same without the tokenizer: what a byte of the text would take.",
        "bits/byte",
        "`nll_nats` / (ln 2 * `n_bytes`)",
        6,
    ),
    "nll_nats": derived(
        "Minus the logarithm of the probability of the text.",
        "nats",
        "- sum over the scored tokens of ln p(token after those before it in its window); windows begin "
        "`n_stride_tokens` after each other, each with the tokens that the tokenizer puts before any text, and a token "
        "is scored in the first one that has it",
        6,
    ),
    "n_scored_tokens": read("Tokens that were scored, all but those with nothing before them.", "tokens"),
    "n_bytes": read(
        "Bytes of the text, in UTF-8, that they stand for; `null` where the tokenizer does not tell.", "bytes"
    ),
    "n_context_tokens": read("Most tokens that the model was given at a time.", "tokens"),
    "n_stride_tokens": read("From the beginning of one window to that of the next.", "tokens"),
    "why_not": read("Why the figures are `null`."),
}

FLOPS_RESULT: Meanings = {
    "value": derived(
        "Operations by the rule; see [below](#flops).",
        "FLOP",
        "2 * `n_parameters` * (tokens read + tokens produced), summed over processes under data parallelism",
        1,
        4,
    ),
    "method": read("How `value` was worked out."),
    "confidence": read("`high`, `medium` or `low`: how the parameters and the uses of each part were found."),
    "n_parameters": read("N of the rule: active parameters without embeddings, from 4 on each as often as it is used."),
    "prefill": derived(
        "What the model did to read the prompts, term by term; `null` where a part is not known.",
        "FLOP",
        "[terms](#flops) of one pass over each prompt, once for each beam and answer; from 4 on each part as often as "
        "it runs",
        1,
        4,
    ),
    "decode": derived(
        "The same for the tokens after the first.",
        "FLOP",
        "[terms](#flops) of a pass over each output token but the last, once for each beam and answer; from 4 on each "
        "part as often as it runs",
        1,
        4,
    ),
    "number_format": read("What matrices were multiplied in; `null` for several, or where it is not known."),
}

FLOPS_TERMS: Meanings = {
    "linear": read("Matrices of the layers.", "FLOP"),
    "attention": read("Products of queries, keys and values; `null` for a kind that is not known.", "FLOP"),
    "head": read("Output head.", "FLOP"),
}

IN_FLIGHT: Meanings = {
    "n_at_start": read("Requests at work at the start of the window.", "requests"),
    "n_at_end": read("Requests at work at its end.", "requests"),
}

AGGREGATION: Meanings = {
    "n_processes": read("Processes of the experiment."),
    "parallelism": read("`data`: tokens are summed. `tensor`: all have the same requests, which count once."),
    "method": read("How energies were put together: over devices, each once."),
}

WARMUP_RESULT: Meanings = {
    "converged": read(
        "Whether latencies were steady. It says something only with `warmup.convergence_detection`; without it nobody "
        "looked, and it is true."
    ),
    "final_cv": derived(
        "Variation of the last latencies; `null` for too few.",
        "fraction",
        "population standard deviation / mean over the last `warmup.window_size` runs, of the first "
        "process that was not steady, or else of the first",
    ),
    "iterations_completed": read("Runs of one unit of the load, of all processes: a batch, or what runs at a time."),
    "target_cv": read("What `final_cv` had to be under.", "fraction"),
    "max_prompts": read("Most runs."),
    "latencies_ms": read("Of each run, of the process that `final_cv` is of.", "ms"),
    "n_failed": read("Runs that failed."),
    "thermal_floor_wait_s": read("Seconds of thermal floor that were waited.", "s"),
    "thermal_floor_ended_early": read("Whether the floor ended before its time."),
    "thermal_settled": read("Whether every GPU's temperature had settled by then; `null` where nobody looked."),
}

THERMAL_THROTTLE: Meanings = {
    "detected": read("Whether any of the following was."),
    "thermal": read("By heat, whoever saw to it."),
    "power": read("By power: the cap, or the brake."),
    "sw_thermal": read("By the driver, for heat."),
    "hw_thermal": read("By the card, for heat."),
    "hw_power": read("By the card, for power (brake)."),
    "throttle_duration_sec": derived(
        "How long; a reading's state is taken to last until the next one.", "s", "the largest of any GPU and process"
    ),
    "max_temperature_c": derived("Highest temperature of any GPU.", "C", "the largest of any process"),
}
