/* The scenario file: one statement a line, in any order. README.md has the words. */
#include "words.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for one more entry, and for two to spare; running out of memory ends the process. */
static void *grown(void *array, size_t n, size_t size)
{
    if (n & (n - 1))
        return array; /* it doubles when n is a power of two */
    void *larger = realloc(array, (2 * n + 3) * size);
    if (!larger)
        abort();
    return larger;
}

/* Before anything that a scenario may say. */
static const int64_t LONGEST_NS = 100000000ll * 1000000000ll;

#define APPEND(array, n, entry) (array = grown(array, n, sizeof *array), array[n++] = entry)

/* ---- Statements about one GPU ---- */

static const char *const QUANTITIES[] = {
    [POWER_W] = "power_w",
    [TEMPERATURE_C] = "temperature_c",
    [SM_CLOCK_MHZ] = "sm_clock_mhz",
    [MEMORY_CLOCK_MHZ] = "memory_clock_mhz",
    [THROTTLE_BITS] = "throttle_bits",
    [MEMORY_USED_MB] = "memory_used_mb",
    [GPU_UTILISATION_PCT] = "gpu_utilisation_pct",
    [MEMORY_UTILISATION_PCT] = "memory_utilisation_pct",
    [POWER_CAP_W] = "power_cap_w",
    [SM_LOCK_MHZ] = "sm_lock_mhz",
    [MEMORY_LOCK_MHZ] = "memory_lock_mhz",
    [N_QUANTITIES] = NULL,
};

static bool parse_step(struct words *words, struct trace *trace)
{
    struct step step = {0};
    const struct field fields[] = {{"time", TIME, &step.time_ns}, {"value", NUMBER, &step.value}};
    if (!words_values(words, fields, LENGTH(fields)))
        return false;
    if (step.value < 0 || step.value > 1e6)
        return words_fail(words, "%g is not between 0 and a million", step.value);
    APPEND(trace->steps, trace->n_steps, step);
    return true;
}

static bool parse_repeat(struct words *words, struct gpu *gpu)
{
    int quantity = words_choose(words, QUANTITIES);
    if (quantity < 0)
        return false;
    if (quantity >= POWER_CAP_W)
        return words_fail(words, "%s cannot repeat", QUANTITIES[quantity]);
    struct trace *trace = &gpu->traces[quantity];
    const struct field fields[] = {{"start", TIME, &trace->repeat_ns}, {"period", PERIOD, &trace->period_ns}};
    return words_values(words, fields, LENGTH(fields));
}

static bool parse_sensor(struct words *words, struct gpu *gpu)
{
    static const char *const which[] = {"instant", "average", NULL};
    int field = words_choose(words, which);
    if (field < 0)
        return false;
    struct sensor *sensor = field == 0 ? &gpu->instant : &gpu->average;
    *sensor = (struct sensor){.gain = 1};
    const struct field fields[] = {
        {"update_s", PERIOD, &sensor->update_ns},
        {"window_s", PERIOD, &sensor->window_ns},
        {"phase_s", TIME, &sensor->phase_ns},
        {"gain", NUMBER, &sensor->gain},
    };
    return words_options(words, fields, LENGTH(fields)) &&
           ((sensor->update_ns && sensor->window_ns) || words_fail(words, "a sensor needs update_s and window_s"));
}

static bool parse_counter(struct words *words, struct gpu *gpu)
{
    struct counter *counter = &gpu->counter;
    struct sensor *fed_by = &counter->fed_by;
    const struct field fields[] = {
        {"tick_s", PERIOD, &counter->tick_ns},         {"phase_s", TIME, &counter->phase_ns},
        {"gain", NUMBER, &counter->gain},              {"offset_mj", NUMBER, &counter->offset_mj},
        {"fed_update_s", PERIOD, &fed_by->update_ns},  {"fed_window_s", PERIOD, &fed_by->window_ns},
        {"fed_phase_s", TIME, &fed_by->phase_ns},      {"fed_gain", NUMBER, &fed_by->gain},
    };
    if (!words_options(words, fields, LENGTH(fields)))
        return false;
    if (!counter->tick_ns || !fed_by->update_ns != !fed_by->window_ns)
        return words_fail(words, "a counter needs tick_s, and fed_update_s together with fed_window_s or neither");
    return (counter->offset_mj >= 0 && counter->offset_mj <= 9e15) || words_fail(words, "offset_mj is from 0 to 9e15");
}

static bool parse_reset(struct words *words, struct gpu *gpu)
{
    int64_t time_ns;
    const struct field fields[] = {{"time", TIME, &time_ns}};
    if (!words_values(words, fields, LENGTH(fields)))
        return false;
    APPEND(gpu->counter.resets_ns, gpu->counter.n_resets, time_ns);
    return true;
}

static bool parse_stuck(struct words *words, struct gpu *gpu)
{
    struct span stuck;
    const struct field fields[] = {{"from", TIME, &stuck.from_ns}, {"until", TIME, &stuck.until_ns}};
    if (!words_values(words, fields, LENGTH(fields)))
        return false;
    APPEND(gpu->counter.stuck, gpu->counter.n_stuck, stuck);
    return true;
}

static bool parse_jump(struct words *words, struct gpu *gpu)
{
    struct jump jump;
    const struct field fields[] = {{"time", TIME, &jump.time_ns}, {"joules", NUMBER, &jump.energy_j}};
    if (!words_values(words, fields, LENGTH(fields)))
        return false;
    APPEND(gpu->counter.jumps, gpu->counter.n_jumps, jump);
    return true;
}

static bool parse_module(struct words *words, struct gpu *gpu)
{
    const struct field fields[] = {{"gain", NUMBER, &gpu->module_gain}};
    return words_values(words, fields, LENGTH(fields));
}

static bool parse_process(struct words *words, struct gpu *gpu)
{
    static const char *const kinds[] = {[COMPUTE] = "compute", [GRAPHICS] = "graphics", NULL};
    struct process process = {.pid = -1, .memory_mb = -1, .running = {INT64_MIN, NEVER_NS}};
    const struct field fields[] = {
        {"pid", COUNT, &process.pid},
        {"memory_mb", COUNT, &process.memory_mb},
        {"from_s", TIME, &process.running.from_ns},
        {"until_s", TIME, &process.running.until_ns},
    };
    int kind = words_choose(words, kinds);
    if (kind < 0 || !words_options(words, fields, LENGTH(fields)))
        return false;
    process.kind = (enum process_kind)kind;
    if (process.pid < 0)
        return words_fail(words, "a process needs pid");
    APPEND(gpu->processes, gpu->n_processes, process);
    return true;
}

static const struct {
    const char *word;
    bool (*parse)(struct words *, struct gpu *);
} STATEMENTS[] = {
    {"sensor", parse_sensor},       {"counter", parse_counter},   {"counter_reset", parse_reset},
    {"counter_stuck", parse_stuck}, {"counter_jump", parse_jump}, {"repeat", parse_repeat},
    {"process", parse_process},     {"module_gain", parse_module},
};

/* What a card has for good: a word, then one of a list of words. Kept as the index in the list. */
static const char *const SWITCH[] = {"off", "on", NULL};
static const char *const SUPPORT[] = {[OFF] = "off", [ON] = "on", [UNSUPPORTED] = "unsupported", NULL};
static const char *const FIELDS[] = {
    [FIELD_NONE] = "unsupported", [FIELD_INSTANT] = "instant", [FIELD_AVERAGE] = "average", NULL};
static const char *const ARCHITECTURES[] = {"kepler", "maxwell", "pascal", "volta",     "turing",
                                            "ampere", "ada",     "hopper", "blackwell", NULL};

static const struct {
    const char *word;
    const char *const *list;
    size_t offset;
} CHOICES[] = {
    {"persistence", SWITCH, offsetof(struct gpu, persistence)},
    {"mig", SUPPORT, offsetof(struct gpu, mig)},
    {"c2c", SUPPORT, offsetof(struct gpu, c2c)},
    {"power_usage", FIELDS, offsetof(struct gpu, power_usage)},
    {"architecture", ARCHITECTURES, offsetof(struct gpu, architecture)},
};

/* ... or counts. */
static const struct {
    const char *word;
    size_t n, offset;
} COUNTS[] = {
    {"memory_total_mb", 1, offsetof(struct gpu, memory_total_mb)},
    {"compute_mode", 1, offsetof(struct gpu, compute_mode)},
    {"compute_capability", 2, offsetof(struct gpu, compute_capability)},
    {"max_clocks_mhz", 2, offsetof(struct gpu, max_clocks_mhz)},
};

static bool parse_gpu_word(struct words *words, struct gpu *gpu, const char *word)
{
    for (size_t i = 0; i < LENGTH(STATEMENTS); i++)
        if (strcmp(word, STATEMENTS[i].word) == 0)
            return STATEMENTS[i].parse(words, gpu);
    for (size_t i = 0; i < LENGTH(CHOICES); i++) {
        if (strcmp(word, CHOICES[i].word) == 0) {
            int index = words_choose(words, CHOICES[i].list);
            *(int *)((char *)gpu + CHOICES[i].offset) = index;
            return index >= 0 && words_end(words);
        }
    }
    for (size_t i = 0; i < LENGTH(COUNTS); i++) {
        if (strcmp(word, COUNTS[i].word) == 0) {
            double *first = (double *)((char *)gpu + COUNTS[i].offset);
            const struct field fields[] = {{word, COUNT, first}, {word, COUNT, first + COUNTS[i].n - 1}};
            return words_values(words, fields, COUNTS[i].n);
        }
    }
    for (int quantity = 0; quantity < N_QUANTITIES; quantity++)
        if (strcmp(word, QUANTITIES[quantity]) == 0)
            return parse_step(words, &gpu->traces[quantity]);
    return words_fail(words, "unknown word '%s'", word);
}

static bool parse_gpu(struct words *words, struct scenario *scenario)
{
    const char *index_text = words_take(words), *word = index_text ? words_take(words) : NULL;
    if (!word)
        return false;
    char *end;
    unsigned long index = strtoul(index_text, &end, 10);
    if (*end || index >= MAX_GPUS)
        return words_fail(words, "a GPU's index is from 0 to %d", MAX_GPUS - 1);
    struct gpu *gpu = &scenario->gpus[index];
    if (index >= scenario->n_gpus)
        scenario->n_gpus = (unsigned)index + 1;
    if (strcmp(word, "name") == 0)
        return words_rest(words, gpu->name);
    if (strcmp(word, "uuid") == 0)
        return words_rest(words, gpu->uuid);
    if (strcmp(word, "lost") == 0) {
        const struct field fields[] = {{"time", TIME, &gpu->lost_ns}};
        return words_values(words, fields, LENGTH(fields));
    }
    if (strcmp(word, "power_limits_w") == 0) {
        const struct field fields[] = {
            {"limit", COUNT, &gpu->limit_w},
            {"default", COUNT, &gpu->limit_default_w},
            {"lowest", COUNT, &gpu->limit_min_w},
            {"highest", COUNT, &gpu->limit_max_w},
        };
        return words_values(words, fields, LENGTH(fields));
    }
    return parse_gpu_word(words, gpu, word);
}

/* ---- Statements about the whole machine ---- */

static int parse_symbol(struct words *words)
{
#define SYMBOL_NAME(name) #name,
    static const char *const names[] = {SYMBOLS(SYMBOL_NAME) "field.83", "field.185", "field.186", "*", NULL};
    if (words->next < words->n) {
        char *word = words->list[words->next], *suffix = strrchr(word, '_');
        if (suffix && suffix[1] == 'v') /* nvmlDeviceGetCount_v2 */
            *suffix = 0;
        if (strcmp(word, "nvmlInitWithFlags") == 0)
            word[strlen("nvmlInit")] = 0;
    }
    return words_choose(words, names);
}

static bool parse_fault(struct words *words, struct scenario *scenario)
{
    struct fault fault = {.gpu = ANY_GPU, .from_call = 1, .to_call = INFINITY, .during = {INT64_MIN, NEVER_NS}};
    const struct field fields[] = {
        {"error", COUNT, &fault.error},         {"slow_s", NUMBER, &fault.slow_s},
        {"from_call", COUNT, &fault.from_call}, {"to_call", COUNT, &fault.to_call},
        {"from_s", TIME, &fault.during.from_ns}, {"until_s", TIME, &fault.during.until_ns},
        {"gpu", COUNT, &fault.gpu},
    };
    int symbol = parse_symbol(words);
    if (symbol < 0 || !words_options(words, fields, LENGTH(fields)))
        return false;
    if (fault.slow_s < 0 || fault.slow_s > 1e6)
        return words_fail(words, "slow_s is from 0 to a million");
    if (fault.error == 0 && fault.slow_s == 0)
        return words_fail(words, "a fault needs error or slow_s");
    if (fault.slow_s > 0 && symbol >= SYMBOL_FIELD_ENERGY && symbol != SYMBOL_ANY)
        return words_fail(words, "one field cannot be slow, only nvmlDeviceGetFieldValues");
    fault.symbol = (enum symbol)symbol;
    APPEND(scenario->faults, scenario->n_faults, fault);
    return true;
}

static bool parse_unloaded(struct words *words, struct scenario *scenario)
{
    const struct field fields[] = {{"time", TIME, &scenario->unloaded_ns}, {"error", COUNT, &scenario->unloaded_error}};
    return words_values(words, fields, LENGTH(fields));
}

static bool parse_line(struct words *words, struct scenario *scenario)
{
    const char *word = words_take(words);
    if (strcmp(word, "gpu") == 0)
        return parse_gpu(words, scenario);
    if (strcmp(word, "fault") == 0)
        return parse_fault(words, scenario);
    if (strcmp(word, "driver") == 0)
        return words_rest(words, scenario->driver);
    if (strcmp(word, "unloaded") == 0)
        return parse_unloaded(words, scenario);
    const struct field epoch[] = {{"epoch_s", CLOCK, &scenario->epoch_ns}};
    const struct field cuda[] = {{"cuda", COUNT, &scenario->cuda}};
    if (strcmp(word, "epoch_s") == 0)
        return words_values(words, epoch, LENGTH(epoch));
    if (strcmp(word, "cuda") == 0)
        return words_values(words, cuda, LENGTH(cuda));
    return words_fail(words, "unknown word '%s'", word);
}

/* ---- The file ---- */

static void set_defaults(struct scenario *scenario)
{
    strcpy(scenario->driver, "570.86.15");
    scenario->cuda = 12080;
    scenario->unloaded_ns = NEVER_NS;
    for (unsigned i = 0; i < MAX_GPUS; i++) {
        struct gpu *gpu = &scenario->gpus[i];
        *gpu = (struct gpu){
            .name = "NVIDIA Simulated GPU",
            .architecture = 7, /* hopper */
            .compute_capability = {9, 0},
            .memory_total_mb = 80000,
            .limit_w = 700,
            .limit_default_w = 700,
            .limit_min_w = 200,
            .limit_max_w = 700,
            .max_clocks_mhz = {1980, 2619},
            .persistence = ON,
            .c2c = UNSUPPORTED,
            .module_gain = 1,
            .lost_ns = NEVER_NS,
            .counter = {.gain = 1, .fed_by = {.gain = 1}},
        };
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-00000000-0000-4000-8000-%012x", i);
    }
}

/* Every GPU up to the highest has power; other quantities start with what an idle card shows. */
static bool finish(struct words *words, struct scenario *scenario)
{
    static const double idle[N_QUANTITIES] = {[TEMPERATURE_C] = 30, [SM_CLOCK_MHZ] = 345, [MEMORY_CLOCK_MHZ] = 2619,
                                               [POWER_CAP_W] = NO_CAP_W};
    if (!scenario->n_gpus)
        return words_fail(words, "no gpu");
    for (unsigned i = 0; i < scenario->n_gpus; i++) {
        struct gpu *gpu = &scenario->gpus[i];
        if (!gpu->traces[POWER_W].n_steps)
            return words_fail(words, "gpu %u has no power_w", i);
        for (int quantity = 0; quantity < N_QUANTITIES; quantity++) {
            struct trace *trace = &gpu->traces[quantity];
            const struct step step = {quantity < POWER_CAP_W ? 0 : -LONGEST_NS, idle[quantity], 0};
            if (!trace->n_steps || quantity >= POWER_CAP_W)
                APPEND(trace->steps, trace->n_steps, step);
            trace_prepare(trace);
        }
        if (gpu->traces[POWER_CAP_W].n_steps > 1) {
            if (gpu->traces[POWER_W].period_ns || gpu->traces[THROTTLE_BITS].period_ns)
                return words_fail(words, "gpu %u: power_cap_w cannot go with a repeating power_w or throttle_bits", i);
            apply_power_cap(gpu->traces);
        }
    }
    return true;
}

static char *read_all(int fd)
{
    size_t size = 0, room = 1 << 16;
    char *content = malloc(room);
    ssize_t n = 1;
    while (content && n > 0) {
        n = read(fd, content + size, room - size - 1);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            size += (size_t)n;
        if (size + 1 == room) {
            char *larger = realloc(content, room *= 2);
            if (!larger)
                free(content);
            content = larger;
        }
    }
    if (content && n == 0) {
        content[size] = 0;
        return content;
    }
    free(content);
    return NULL;
}

struct scenario *scenario_load(const char *path, int fd, char error[ERROR_SIZE])
{
    struct words words = {.path = path, .error = error};
    struct scenario *scenario = calloc(1, sizeof *scenario);
    char *content = read_all(fd), *as_written = content ? strdup(content) : NULL;
    bool good = scenario && as_written;
    if (good)
        set_defaults(scenario);
    else
        words_fail(&words, "cannot be read: %s", strerror(errno));
    char *line = content;
    for (char *end; good && (end = strchr(line, '\n')); line = end + 1) {
        /* What follows the last '\n' is still being written. */
        char *copy = as_written + (line - content);
        *end = copy[end - line] = 0;
        words.line++;
        good = words_cut(&words, line, copy) && (words.n == 0 || parse_line(&words, scenario));
    }
    good = good && finish(&words, scenario);
    free(content);
    free(as_written);
    if (good)
        return scenario;
    scenario_free(scenario);
    return NULL;
}

void scenario_free(struct scenario *scenario)
{
    if (!scenario)
        return;
    for (unsigned i = 0; i < MAX_GPUS; i++) {
        struct gpu *gpu = &scenario->gpus[i];
        for (int quantity = 0; quantity < N_QUANTITIES; quantity++)
            free(gpu->traces[quantity].steps);
        free(gpu->counter.resets_ns);
        free(gpu->counter.stuck);
        free(gpu->counter.jumps);
        free(gpu->processes);
    }
    free(scenario->faults);
    free(scenario);
}
