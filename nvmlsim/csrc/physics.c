/* Power, sensors and counters: closed forms of a piecewise-constant power trace. The same in Python: ../_trace.py,
 * ../_windows.py and ../_physics.py. */
#include "nvmlsim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over millions of refreshes and periods need more than 64 bits, and some more than 128. Those are modular: they
 * may wrap around, and their difference, which is small, is exact all the same. */
__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 modular;

static const double S_PER_NS = 1e-9;

static wide floor_div(wide a, wide b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static wide ceil_div(wide a, wide b) { return -floor_div(-a, b); }

static wide least(wide a, wide b) { return a < b ? a : b; }

static wide greatest(wide a, wide b) { return a > b ? a : b; }

/* ---- Traces ---- */

static int by_time(const void *left, const void *right)
{
    const struct step *a = left, *b = right;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return a->integral < b->integral ? -1 : 1; /* trace_prepare put the order in the file there */
}

/* Index of the step in force at a time. */
static size_t step_at(const struct trace *trace, int64_t time_ns)
{
    size_t low = 0, high = trace->n_steps;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (trace->steps[middle].time_ns <= time_ns)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct reading {
    double value, integral;
};

static struct reading trace_at(const struct trace *trace, int64_t time_ns)
{
    double whole_periods = 0;
    size_t i = step_at(trace, time_ns);
    if (trace->period_ns && i >= trace->first && i < trace->last && time_ns >= trace->repeat_ns + trace->period_ns) {
        int64_t elapsed_ns = time_ns - trace->repeat_ns;
        whole_periods = (double)(elapsed_ns / trace->period_ns) * trace->period_integral;
        time_ns = trace->repeat_ns + elapsed_ns % trace->period_ns;
        i = step_at(trace, time_ns);
    }
    const struct step *step = &trace->steps[i];
    double since_step = step->value * (double)(time_ns - step->time_ns) * S_PER_NS;
    return (struct reading){step->value, whole_periods + (step->integral + since_step)};
}

static void insert_step(struct trace *trace, size_t at, int64_t time_ns, double value)
{
    memmove(&trace->steps[at + 1], &trace->steps[at], (trace->n_steps - at) * sizeof *trace->steps);
    trace->steps[at] = (struct step){time_ns, value, 0};
    trace->n_steps++;
}

/* Order, one step per instant (the later line of the file wins), a step where the repetition starts and one before. */
static void put_in_order(struct trace *trace)
{
    for (size_t i = 0; i < trace->n_steps; i++)
        trace->steps[i].integral = (double)i;
    qsort(trace->steps, trace->n_steps, sizeof *trace->steps, by_time);
    size_t n = 0;
    for (size_t i = 0; i < trace->n_steps; i++) {
        if (n && trace->steps[n - 1].time_ns == trace->steps[i].time_ns)
            n--;
        trace->steps[n++] = trace->steps[i];
    }
    trace->n_steps = n;
    if (!trace->period_ns)
        return;
    if (trace->steps[0].time_ns >= trace->repeat_ns)
        insert_step(trace, 0, trace->repeat_ns - trace->period_ns, trace->steps[0].value);
    size_t i = step_at(trace, trace->repeat_ns);
    if (trace->steps[i].time_ns != trace->repeat_ns)
        insert_step(trace, i + 1, trace->repeat_ns, trace->steps[i].value);
}

void trace_prepare(struct trace *trace)
{
    put_in_order(trace);
    size_t n = trace->n_steps;
    int64_t pattern_end_ns = trace->repeat_ns + trace->period_ns;
    trace->first = trace->last = n;
    if (trace->period_ns) {
        trace->first = step_at(trace, trace->repeat_ns);
        trace->last = step_at(trace, pattern_end_ns - 1) + 1;
    }
    trace->steps[0].integral = 0;
    for (size_t i = 1; i <= n; i++) {
        trace->n_steps = i; /* the integral up to step i is that of the trace that ends before it */
        if (trace->period_ns && i == trace->last) {
            const struct step *end = &trace->steps[i - 1];
            double since_step = end->value * (double)(pattern_end_ns - end->time_ns) * S_PER_NS;
            trace->period_integral = end->integral + since_step - trace->steps[trace->first].integral;
        }
        if (i < n)
            trace->steps[i].integral = trace_at(trace, trace->steps[i].time_ns).integral;
    }
}

/* Power becomes the lower of what is asked for and the cap, and throttle bits say where that is the cap. */
void apply_power_cap(struct trace traces[N_QUANTITIES])
{
    static const double sw_power_cap = 4; /* nvmlClocksEventReasonSwPowerCap, nvml.h */
    struct trace *power = &traces[POWER_W], *cap = &traces[POWER_CAP_W], *bits = &traces[THROTTLE_BITS];
    const struct trace *parts[] = {power, cap, bits};
    size_t n = power->n_steps + cap->n_steps + bits->n_steps, at = 0;
    /* One to spare, as trace_prepare may need. */
    struct step *capped = malloc((n + 2) * sizeof *capped), *told = malloc((n + 2) * sizeof *told);
    if (!capped || !told)
        abort();
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++) {
        for (size_t i = 0; i < parts[part]->n_steps; i++, at++) {
            int64_t time_ns = parts[part]->steps[i].time_ns;
            double asked_w = trace_value(power, time_ns), most_w = trace_value(cap, time_ns);
            bool is_capped = asked_w > most_w, was_told = fmod(floor(trace_value(bits, time_ns) / sw_power_cap), 2) != 0;
            capped[at] = (struct step){time_ns, fmin(asked_w, most_w), 0};
            told[at] = (struct step){
                time_ns, trace_value(bits, time_ns) + (is_capped && !was_told ? sw_power_cap : 0), 0};
        }
    }
    free(power->steps);
    free(bits->steps);
    *power = (struct trace){.steps = capped, .n_steps = n};
    *bits = (struct trace){.steps = told, .n_steps = n};
    trace_prepare(power);
    trace_prepare(bits);
}

double trace_value(const struct trace *trace, int64_t time_ns) { return trace_at(trace, time_ns).value; }

double trace_energy(const struct trace *trace, int64_t from_ns, int64_t to_ns)
{
    return trace_at(trace, to_ns).integral - trace_at(trace, from_ns).integral;
}

unsigned sensor_mw(const struct trace *power, const struct sensor *sensor, int64_t time_ns)
{
    int64_t refresh_ns =
        sensor->phase_ns + (int64_t)floor_div(time_ns - sensor->phase_ns, sensor->update_ns) * sensor->update_ns;
    double energy_j = trace_energy(power, refresh_ns - sensor->window_ns, refresh_ns);
    double mean_w = sensor->gain * (energy_j / ((double)sensor->window_ns * S_PER_NS));
    return (unsigned)fmin(fmax(0, floor(mean_w * 1000 + 0.5)), UINT32_MAX);
}

/* ---- What a sensor has seen in total ----
 *
 * The sum of all readings of a part-time sensor would be a loop over refreshes. It is turned inside out: each stretch
 * of constant power counts with the time that windows spent inside it. The window time before an instant is a sum of
 * ramps; its sum over the repetitions of a period is a sum of floors, which Euclid's algorithm gives. */

/* n_windows windows; the first ends at first_end_ns, and each update_ns after the one before. */
struct windows {
    int64_t first_end_ns, update_ns, window_ns, n_windows;
};

struct floor_sums {
    wide f, kf, ff;
};

/* Sums over k = 0 .. last of f, k f and f^2, where f = floor((a k + b) / m); a, b >= 0, m > 0. Steps like Euclid's. */
static struct floor_sums floor_sums(wide last, wide a, wide b, wide m)
{
    wide n = last + 1, linear = last * n / 2, square = last * n * (2 * last + 1) / 6;
    wide qa = a / m, qb = b / m;
    if (a == 0)
        return (struct floor_sums){n * qb, linear * qb, n * qb * qb};
    if (qa || qb) {
        struct floor_sums rest = floor_sums(last, a % m, b % m, m);
        return (struct floor_sums){
            rest.f + linear * qa + n * qb,
            rest.kf + square * qa + linear * qb,
            rest.ff + qa * qa * square + qb * qb * n + 2 * qa * qb * linear + 2 * qb * rest.f + 2 * qa * rest.kf,
        };
    }
    wide top = (a * last + b) / m;
    if (top == 0)
        return (struct floor_sums){0, 0, 0};
    struct floor_sums turned = floor_sums(top - 1, m, m - b - 1, a); /* rows and columns exchanged */
    wide f = last * top - turned.f;
    return (struct floor_sums){
        f,
        (top * last * n - turned.ff - turned.f) / 2,
        last * top * (top + 1) - 2 * turned.kf - 2 * turned.f - f,
    };
}

/* The sum over j < n_windows of max(0, x - j update): window edges passed, weighted by the time since. */
static modular ramps(const struct windows *windows, wide x)
{
    if (x < 0)
        return 0;
    wide n = least(windows->n_windows, x / windows->update_ns + 1);
    return (modular)n * (modular)x - (modular)windows->update_ns * (modular)(n * (n - 1) / 2);
}

/* The sum of x + k period over k < n. */
static modular arithmetic_series(wide x, wide period, wide n)
{
    return (modular)n * (modular)x + (modular)period * (modular)(n * (n - 1) / 2);
}

/* The sum of ramps(x + k period) over k < n. */
static modular repeated_ramps(const struct windows *windows, wide x, wide period, wide n)
{
    wide update = windows->update_ns, all = windows->n_windows;
    wide before = x < 0 ? least(n, ceil_div(-x, period)) : 0; /* no window edge passed yet */
    x += before * period;
    n -= before;
    wide partly = least(n, greatest(0, ceil_div(all * update - x, period))); /* some edges still ahead */
    modular sum = 0;
    if (partly > 0) {
        struct floor_sums s = floor_sums(partly - 1, period, x, update);
        sum += arithmetic_series(x, period, partly) + (modular)s.f * (modular)x + (modular)s.kf * (modular)period;
        sum -= (modular)update * (modular)((s.ff + s.f) / 2);
        x += partly * period;
        n -= partly;
    }
    sum += (modular)all * arithmetic_series(x, period, n);
    return sum - (modular)n * (modular)update * (modular)(all * (all - 1) / 2);
}

/* Window time before the instants t + k period, k < n, in total. */
static modular window_time(const struct windows *windows, int64_t t_ns, int64_t period_ns, wide n)
{
    wide since_end = (wide)t_ns - windows->first_end_ns, since_begin = since_end + windows->window_ns;
    if (n == 1)
        return ramps(windows, since_begin) - ramps(windows, since_end);
    return repeated_ramps(windows, since_begin, period_ns, n) - repeated_ramps(windows, since_end, period_ns, n);
}

static double seen_between(const struct windows *windows, int64_t from_ns, int64_t to_ns, int64_t period_ns, wide n)
{
    wide seen_ns = (wide)(window_time(windows, to_ns, period_ns, n) - window_time(windows, from_ns, period_ns, n));
    return (double)seen_ns * S_PER_NS;
}

/* Power x window time of steps [i, last), each shifted by shift_ns; the last of them lasts until end_ns. */
static double seen_steps(const struct trace *power, const struct windows *windows, size_t i, size_t last,
                         int64_t shift_ns, int64_t end_ns)
{
    double sum = 0;
    for (; i < last; i++) {
        int64_t from_ns = power->steps[i].time_ns + shift_ns, to_ns = end_ns;
        if (i == 0) /* the first step's value also holds before it */
            from_ns = (int64_t)least(from_ns, windows->first_end_ns - windows->window_ns);
        if (i + 1 < last)
            to_ns = (int64_t)least(to_ns, power->steps[i + 1].time_ns + shift_ns);
        if (from_ns < to_ns)
            sum += power->steps[i].value * seen_between(windows, from_ns, to_ns, 1, 1);
    }
    return sum;
}

/* The sum of the sensor's readings at its refreshes in (since_ns, until_ns], times the refresh period. */
static double sensed_energy(const struct trace *power, const struct sensor *sensor, int64_t since_ns, int64_t until_ns)
{
    int64_t skipped = (int64_t)floor_div(since_ns - sensor->phase_ns, sensor->update_ns) + 1;
    struct windows windows = {
        .first_end_ns = sensor->phase_ns + skipped * sensor->update_ns,
        .update_ns = sensor->update_ns,
        .window_ns = sensor->window_ns,
        .n_windows = (int64_t)floor_div(until_ns - sensor->phase_ns, sensor->update_ns) + 1 - skipped,
    };
    if (windows.n_windows <= 0)
        return 0;
    const struct step *steps = power->steps;
    size_t n = power->n_steps, first = power->first, last = power->last;
    int64_t end_ns = windows.first_end_ns + (windows.n_windows - 1) * windows.update_ns; /* nothing is seen after it */
    int64_t repeat_end_ns = last < n ? (int64_t)least(end_ns, steps[last].time_ns) : end_ns;
    int64_t n_periods = 0;

    int64_t before_repeat_ns = first < n ? (int64_t)least(end_ns, power->repeat_ns) : end_ns;
    double sum = seen_steps(power, &windows, 0, first, 0, before_repeat_ns);
    if (first < n)
        n_periods = (int64_t)greatest(0, floor_div(repeat_end_ns - power->repeat_ns, power->period_ns));
    for (size_t i = first; i < last && n_periods > 0; i++) {
        int64_t to_ns = i + 1 < last ? steps[i + 1].time_ns : power->repeat_ns + power->period_ns;
        sum += steps[i].value * seen_between(&windows, steps[i].time_ns, to_ns, power->period_ns, n_periods);
    }
    sum += seen_steps(power, &windows, first, last, n_periods * power->period_ns, repeat_end_ns);
    sum += seen_steps(power, &windows, last, n, 0, end_ns);
    return sensor->gain * sum * ((double)sensor->update_ns / (double)sensor->window_ns);
}

/* ---- The energy counter ---- */

/* The tick that set what the counter shows: ticks while it is stuck do not happen. */
static int64_t last_tick(const struct counter *counter, int64_t time_ns)
{
    int64_t tick = (int64_t)floor_div(time_ns - counter->phase_ns, counter->tick_ns);
    bool moved = true;
    while (moved) {
        moved = false;
        int64_t tick_time_ns = counter->phase_ns + tick * counter->tick_ns;
        for (size_t i = 0; i < counter->n_stuck && !moved; i++) {
            const struct span *stuck = &counter->stuck[i];
            if (stuck->from_ns <= tick_time_ns && tick_time_ns < stuck->until_ns) {
                tick = (int64_t)ceil_div(stuck->from_ns - counter->phase_ns, counter->tick_ns) - 1;
                moved = true;
            }
        }
    }
    return counter->phase_ns + tick * counter->tick_ns;
}

static double counted_j(const struct trace *power, const struct counter *counter, int64_t since_ns, int64_t tick_ns)
{
    if (counter->fed_by.update_ns)
        return counter->gain * sensed_energy(power, &counter->fed_by, since_ns, tick_ns);
    return counter->gain * trace_energy(power, since_ns, tick_ns);
}

unsigned long long counter_mj(const struct trace *power, struct counter *counter, int64_t time_ns)
{
    int64_t tick_ns = last_tick(counter, time_ns), since_ns = 0;
    double base_mj = counter->offset_mj;
    bool was_reset = false;
    if (tick_ns < 0)
        tick_ns = 0;
    for (size_t i = 0; i < counter->n_resets; i++) {
        if (counter->resets_ns[i] <= tick_ns && counter->resets_ns[i] >= since_ns) {
            since_ns = counter->resets_ns[i];
            was_reset = true;
            base_mj = 0;
        }
    }
    if (!counter->memo || counter->memo_tick_ns != tick_ns) {
        counter->memo_j = counted_j(power, counter, since_ns, tick_ns);
        counter->memo_tick_ns = tick_ns;
        counter->memo = true;
    }
    double energy_j = counter->memo_j;
    for (size_t i = 0; i < counter->n_jumps; i++) {
        int64_t jump_ns = counter->jumps[i].time_ns;
        if (jump_ns <= tick_ns && (!was_reset || jump_ns > since_ns))
            energy_j += counter->jumps[i].energy_j;
    }
    double shown_mj = base_mj + floor(energy_j * 1000 + 0.5);
    return (unsigned long long)fmin(fmax(0, shown_mj), 1e19);
}
