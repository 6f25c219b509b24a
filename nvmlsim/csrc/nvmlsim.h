/* A simulated NVIDIA driver: what its parts share.
 *
 *   words.c, scenario.c   read the scenario file
 *   physics.c             power, sensors and counters in closed form
 *   call.c, driver.c      the nvml* functions
 *   truth.c               the nvmlsim_* functions
 *
 * Inside, time is a whole number of nanoseconds since the scenario's epoch. Sensor refreshes and counter ticks then
 * fall on exact instants, and the Python twin of physics.c (../_trace.py, ../_windows.py, ../_physics.py) gives the
 * same figures to the last digit.
 */
#ifndef NVMLSIM_H
#define NVMLSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_GPUS = 64, TEXT_SIZE = 96, ERROR_SIZE = 512 };
#define NO_CAP_W 1e6
#define NEVER_NS INT64_MAX

/* ---- Things that change in time ---- */

struct step {
    int64_t time_ns;
    double value;
    double integral; /* of the trace from its first step to this one, value x seconds */
};

/* A piecewise-constant function of time. Before its first step it has the first step's value. From repeat_ns on, the
 * steps of one period repeat until the next step after that period. */
struct trace {
    struct step *steps; /* in order of time */
    size_t n_steps;
    int64_t repeat_ns, period_ns; /* period_ns 0: does not repeat */
    size_t first, last;           /* steps[first .. last-1] are the repeated ones; steps[first] is at repeat_ns */
    double period_integral;
};

enum quantity {
    POWER_W,
    TEMPERATURE_C,
    SM_CLOCK_MHZ,
    MEMORY_CLOCK_MHZ,
    THROTTLE_BITS,
    MEMORY_USED_MB,
    GPU_UTILISATION_PCT,
    MEMORY_UTILISATION_PCT,
    POWER_CAP_W,     /* what setters have written; from here on nothing holds before its first step */
    SM_LOCK_MHZ,     /* 0: not locked */
    MEMORY_LOCK_MHZ, /* likewise */
    N_QUANTITIES
};

/* ---- Instruments ---- */

/* Shows the mean power of the last window_ns before each refresh; refreshes are at phase_ns + k x update_ns. */
struct sensor {
    int64_t update_ns; /* 0: the card has no such sensor */
    int64_t window_ns, phase_ns;
    double gain;
};

struct span {
    int64_t from_ns, until_ns;
};

struct jump {
    int64_t time_ns;
    double energy_j;
};

/* Changes only at its ticks, phase_ns + k x tick_ns. */
struct counter {
    int64_t tick_ns; /* 0: the card has no counter */
    int64_t phase_ns;
    double gain;
    double offset_mj;       /* what it shows at time 0 */
    struct sensor fed_by;   /* update_ns 0: fed by the truth */
    int64_t *resets_ns;
    struct span *stuck;
    struct jump *jumps;
    size_t n_resets, n_stuck, n_jumps;
    int64_t memo_tick_ns; /* the last tick evaluated, and its energy: many reads fall on one tick */
    double memo_j;
    bool memo;
};

/* ---- Devices ---- */

enum support { OFF, ON, UNSUPPORTED };
enum power_field { FIELD_NONE, FIELD_INSTANT, FIELD_AVERAGE };
enum process_kind { COMPUTE, GRAPHICS };

struct process {
    double pid;
    double memory_mb; /* negative: the driver does not know */
    enum process_kind kind;
    struct span running;
};

struct gpu {
    char name[TEXT_SIZE], uuid[TEXT_SIZE];
    double memory_total_mb, compute_mode, compute_capability[2], max_clocks_mhz[2];
    double limit_w, limit_default_w, limit_min_w, limit_max_w;
    int architecture; /* 0: Kepler, and so on */
    int persistence, mig, c2c; /* enum support */
    double module_gain;        /* what the module of a C2C card draws over what its GPU draws */
    int power_usage;           /* enum power_field: which of the two sensors nvmlDeviceGetPowerUsage gives */
    int64_t lost_ns;
    struct sensor instant, average;
    struct counter counter;
    struct trace traces[N_QUANTITIES];
    struct process *processes;
    size_t n_processes;
};

/* ---- Faults ---- */

/* What a fault can be tied to: a function's name without its version suffix, or one field. */
#define SYMBOLS(X) \
    X(nvmlInit) X(nvmlShutdown) X(nvmlSystemGetDriverVersion) X(nvmlSystemGetNVMLVersion) \
    X(nvmlSystemGetCudaDriverVersion) X(nvmlDeviceGetCount) X(nvmlDeviceGetHandleByIndex) \
    X(nvmlDeviceGetHandleByUUID) X(nvmlDeviceGetIndex) X(nvmlDeviceGetMinorNumber) X(nvmlDeviceGetName) \
    X(nvmlDeviceGetUUID) X(nvmlDeviceGetPciInfo) X(nvmlDeviceGetArchitecture) \
    X(nvmlDeviceGetCudaComputeCapability) X(nvmlDeviceGetTotalEnergyConsumption) X(nvmlDeviceGetPowerUsage) \
    X(nvmlDeviceGetFieldValues) X(nvmlDeviceGetMemoryInfo) X(nvmlDeviceGetTemperature) \
    X(nvmlDeviceGetTemperatureV) X(nvmlDeviceGetUtilizationRates) X(nvmlDeviceGetClockInfo) \
    X(nvmlDeviceGetMaxClockInfo) X(nvmlDeviceGetCurrentClocksThrottleReasons) \
    X(nvmlDeviceGetCurrentClocksEventReasons) X(nvmlDeviceGetEnforcedPowerLimit) \
    X(nvmlDeviceGetPowerManagementLimit) X(nvmlDeviceGetPowerManagementDefaultLimit) \
    X(nvmlDeviceGetPowerManagementLimitConstraints) X(nvmlDeviceGetPersistenceMode) \
    X(nvmlDeviceGetComputeMode) X(nvmlDeviceGetMigMode) X(nvmlDeviceGetC2cModeInfoV) \
    X(nvmlDeviceGetComputeRunningProcesses) X(nvmlDeviceGetGraphicsRunningProcesses) \
    X(nvmlDeviceGetSupportedMemoryClocks) X(nvmlDeviceGetSupportedGraphicsClocks) \
    X(nvmlDeviceSetPowerManagementLimit) X(nvmlDeviceSetGpuLockedClocks) X(nvmlDeviceResetGpuLockedClocks) \
    X(nvmlDeviceSetMemoryLockedClocks) X(nvmlDeviceResetMemoryLockedClocks)

#define SYMBOL_ENUM(name) SYMBOL_##name,
enum symbol {
    SYMBOLS(SYMBOL_ENUM)
    SYMBOL_FIELD_ENERGY,  /* field.83 */
    SYMBOL_FIELD_AVERAGE, /* field.185 */
    SYMBOL_FIELD_INSTANT, /* field.186 */
    SYMBOL_ANY,           /* any function */
    N_SYMBOLS
};

enum { ANY_GPU = -1 };

struct fault {
    enum symbol symbol;
    double gpu;                /* or ANY_GPU */
    double error;              /* 0: none, the call is only slow */
    double slow_s;
    double from_call, to_call; /* counted from 1 in each process */
    struct span during;
};

struct scenario {
    int64_t epoch_ns; /* CLOCK_MONOTONIC at scenario time 0 */
    char driver[TEXT_SIZE];
    double cuda;
    int64_t unloaded_ns;
    double unloaded_error;
    struct gpu gpus[MAX_GPUS];
    unsigned n_gpus;
    struct fault *faults;
    size_t n_faults;
};

/* words.c */
int64_t to_ns(double seconds);

/* scenario.c */
struct scenario *scenario_load(const char *path, int fd, char error[ERROR_SIZE]); /* NULL and a message */
void scenario_free(struct scenario *scenario);

/* physics.c */
void trace_prepare(struct trace *trace); /* sorts the steps and fills in what is derived from them */
void apply_power_cap(struct trace traces[N_QUANTITIES]); /* of traces that are prepared and do not repeat */
double trace_value(const struct trace *trace, int64_t time_ns);
double trace_energy(const struct trace *trace, int64_t from_ns, int64_t to_ns);
unsigned sensor_mw(const struct trace *power, const struct sensor *sensor, int64_t time_ns);
unsigned long long counter_mj(const struct trace *power, struct counter *counter, int64_t time_ns);

#endif
