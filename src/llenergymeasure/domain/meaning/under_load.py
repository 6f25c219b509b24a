"""What the fields about how requests arrived mean."""

from llenergymeasure.domain.meaning.base import Meanings, derived, read

LOAD_RESULT: Meanings = {
    "kind": read("What was asked for: `concurrency`, `rate`, `trace` or `max`."),
    "asked_requests_per_second": read("Requests per second that were asked for, on average.", "requests/s"),
    "n_asked_in_flight": read("Requests that were to be in flight at any moment.", "requests"),
    "began_by": read(
        "Why the window began: what was in flight had `settled`; `ramp` seconds that were asked for were over; or it "
        "had `not_settled` when half of the time was over."
    ),
    "ended_by": read(
        "Why arrivals, and with them the window, ended: `duration` was over, all `requests` had come, or joules per "
        "token were `steady`."
    ),
    "arrivals_digest": read(
        "SHA-256 of the times at which requests were to come, in whole microseconds after the first could: of drawn "
        "ones and of those of a trace; null where answers decide, or all come at once."
    ),
    "n_arrived": read("Requests that came from the beginning until the end of the window.", "requests"),
    "n_arrived_in_window": read(
        "Those that came in the window: that were due in it, or else sent, whether or not the engine had room for "
        "them.",
        "requests",
    ),
    "arrived_requests_per_second": derived(
        "Requests per second that came in the window.", "requests/s", "`load.n_arrived_in_window` / `duration_sec`", 7
    ),
    "in_flight": read("Requests that had come and not ended."),
    "sending": read(
        "How late our own sending was; `null` where requests have no times of their own. Those that the engine had "
        "no room for waited for it and not for us, and are left out."
    ),
    "overload": read(
        "Whether more came than was served; [the rule](methodology.md#overload). `null` of closed loops, whose "
        "requests wait for answers, and for less than 20 requests."
    ),
    "sub_windows": read("Equal parts of the window."),
    "token_energy_cv": derived(
        "How much joules per output token vary from one part of the window to the next.",
        "fraction",
        "standard deviation (n - 1) / mean of `load.sub_windows.energy_per_output_token_j`; `null` for less than 3 "
        "parts, or where a part has none",
        7,
    ),
    "why_no_cv": read("Why `token_energy_cv` is `null`."),
    "slo": read("What of the promises in `slo` was kept; `null` where nothing was promised."),
    "request_energy": read(
        "Energy of a request by its class; [how](methodology.md#energy-of-a-class-of-requests). `null` where no "
        "joules of parts of the window are known."
    ),
    "failures": read(
        "Requests that failed in the window by kind: `timeout`, `refused` (429, 503), `status` (another one of HTTP), "
        "`closed`, `unreadable`, `server` (an error in an answer), `unreachable`, `engine`.",
        "requests",
    ),
    "counted_by": read(
        "By whom tokens of how many requests were counted, where it was not the engine one by one: `usage` is what a "
        "server told, `retokenised` a count of its text.",
        "requests",
    ),
    "n_cached_input_tokens": read(
        "Of `input_tokens` those that were in the engine's cache; `null` where it does not tell.", "tokens"
    ),
    "n_tokens_per_chunk": derived(
        "Output tokens in a part of an answer, where only parts have times: ITL is then the time between parts.",
        "tokens",
        "output tokens / parts, over requests that succeeded and ended in the window",
        7,
    ),
    "ttft_from_sending_s": derived(
        "Time to the first token from when the engine was given a request, beside `latency_stats.ttft_s`, which runs "
        "from when it was due.",
        "s",
        "first token - sent; mean and percentiles (linear interpolation) over requests that succeeded and ended in the "
        "window",
        7,
    ),
    "generator_cpu_s": read(
        "Processor time of the thread that sends and receives, from the last request that ended before the window to "
        "the last in it; `null` where the engine computes in the same process.",
        "s",
    ),
}

FLIGHT_RESULT: Meanings = {
    "n_mean": derived(
        "Mean over the window.",
        "requests",
        "sum over requests of the seconds of the window from when each was due, or else sent, to its end / "
        "`duration_sec`",
        7,
    ),
    "n_max": read("Most at the same time.", "requests"),
    "n_at_start": read("At the start of the window.", "requests"),
    "n_at_end": read("At its end.", "requests"),
}

SENDING_RESULT: Meanings = {
    "late_s": derived(
        "How late requests were sent.",
        "s",
        "sent - due, not below 0; mean and percentiles (linear interpolation) over requests that were due in the "
        "window when the engine had room",
        7,
    ),
    "late_max_s": read("The latest.", "s"),
    "share_of_gap": derived(
        "The mean of that in terms of the mean time between arrivals; above 0.01 is a warning.",
        "fraction",
        "mean of `load.sending.late_s` * `load.n_arrived_in_window` / `duration_sec`",
        7,
    ),
}

OVERLOAD_RESULT: Meanings = {
    "overloaded": derived(
        "Whether the window has no steady state.",
        "",
        "`load.overload.p_value` < 0.01, and `load.overload.n_grown` at least 5 % of "
        "`load.n_arrived_in_window` and twice the root of `load.in_flight.n_mean`",
        7,
    ),
    "n_grown": derived(
        "By how much what is in flight grew over the window; negative where it fell.",
        "requests",
        "10 * slope of the line of least squares through the means in ten equal parts of the window",
        7,
    ),
    "share_of_arrivals": derived(
        "The same of what came: so much more came than was served.",
        "fraction",
        "`load.overload.n_grown` / `load.n_arrived_in_window`",
        7,
    ),
    "p_value": derived(
        "How probable a line that rises so is where there is no growth.",
        "",
        "one-sided, of Student's t with 8 degrees of freedom, of that slope",
        7,
    ),
}

SUB_WINDOW: Meanings = {
    "start_s": read("From the start of the window.", "s"),
    "end_s": read("Likewise.", "s"),
    "part_energy_j": derived(
        "What the devices that make the total took; `null` where `why_no_cv` says why.",
        "J",
        "sum over devices, by the readings that their figure rests on: a counter between its ticks in a straight line, "
        "power by the trapezoidal rule",
        7,
    ),
    "output_tokens": read("Tokens whose own times lie in it.", "tokens"),
    "energy_per_output_token_j": derived(
        "The two over each other.",
        "J/token",
        "`load.sub_windows.part_energy_j` / `load.sub_windows.output_tokens`; `null` without output tokens",
        7,
    ),
}

PROMISES_RESULT: Meanings = {
    "promised": read("A row for each promise."),
    "met": read("Whether all were met; `null` where one was not broken, and it is not known whether it was met."),
    "n_ended": read("Requests that ended in the window, those that failed too.", "requests"),
    "n_good": derived(
        "Those of them that succeeded and met every promise.",
        "requests",
        "requests that ended in the window by themselves with TTFT, E2E and, beyond one token, TPOT (of several "
        "answers the slowest) not above what was promised",
        7,
    ),
    "good_share": derived(
        "Their share.", "fraction", "`load.slo.n_good` / `load.slo.n_ended`; `null` where none ended", 7
    ),
    "n_good_output_tokens": derived(
        "Output tokens of good requests in the window.",
        "tokens",
        "tokens whose own times lie in the window, of requests that met every promise whenever they ended",
        7,
    ),
    "good_requests_per_second": derived("Goodput.", "requests/s", "`load.slo.n_good` / `duration_sec`", 7),
    "good_tokens_per_second": derived(
        "Goodput in output tokens.", "tokens/s", "`load.slo.n_good_output_tokens` / `duration_sec`", 7
    ),
    "joules_per_good_token": derived(
        "What an output token takes that came as promised: all joules of the window over the good tokens.",
        "J/token",
        "`total_energy_j` / `load.slo.n_good_output_tokens`; `null` without any",
        7,
    ),
}

PROMISED_LATENCY: Meanings = {
    "latency": read("`ttft`, `tpot` or `e2e`."),
    "limit_s": read("What was promised of its 95th percentile.", "s"),
    "p95_s": derived(
        "What that was; `null` where it lies among requests that failed.",
        "s",
        "95th percentile (linear interpolation) over requests that ended in the window, of which one that failed is "
        "later than any other",
        7,
    ),
    "met": derived(
        "Whether it was met.",
        "",
        "`load.slo.promised.p95_s` not above `load.slo.promised.limit_s`; `null` for less than 20 requests",
        7,
    ),
}

CLASSES_RESULT: Meanings = {
    "n_most_tokens_of_short": read(
        "Most output tokens of a short answer: the median of those that succeeded.", "tokens"
    ),
    "n_sub_windows": read("Parts of the window that it rests on."),
    "classes": read("`short` and `long`."),
}

CLASS_ENERGY: Meanings = {
    "name": read("`short` or `long`."),
    "n_requests": read("Requests that were served in the window, a part of one by its share of tokens.", "requests"),
    "status": read("`resolved`, or `unresolved`: nothing parts the classes, or it may be nothing."),
    "per_request_j": derived(
        "Energy of a request beyond idling with the model loaded, with its 95 % interval.",
        "J/request",
        "least squares over parts of the window: `load.sub_windows.part_energy_j` - `idle_loaded_power_w` * seconds = "
        "sum over classes of the requests served * their energy; Student's t interval of what is left over",
        7,
    ),
    "why_not": read("Why it is unresolved."),
}
