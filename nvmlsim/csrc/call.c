#include "call.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char PATH_VARIABLE[] = "NVMLSIM_SCENARIO";

/* ---- State of this process, all under one lock ---- */

struct scenario *scenario;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen; /* the file as it was when last read; st_ino 0: none */
static char problem[ERROR_SIZE];
static bool problem_is_new;
static int n_inits;
static double n_calls[N_SYMBOLS][1 + MAX_GPUS]; /* [...][0]: in all, [...][1 + gpu]: on one GPU */

/* A handle points here; it stays valid when the scenario is read again. */
static char handles[MAX_GPUS];

static void take_lock(void) { pthread_mutex_lock(&lock); }

void unlock_scenario(void) { pthread_mutex_unlock(&lock); }

/* A child forked while another thread is in a call must not inherit a lock that nobody will release. */
__attribute__((constructor)) static void survive_fork(void)
{
    pthread_atfork(take_lock, unlock_scenario, unlock_scenario);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void no_scenario(const char *what, const char *why)
{
    char message[ERROR_SIZE];
    scenario_free(scenario);
    scenario = NULL;
    seen = (struct stat){0};
    snprintf(message, sizeof message, "%s: %s", what, why);
    problem_is_new = problem_is_new || strcmp(message, problem) != 0;
    strcpy(problem, message);
}

static void read_scenario(const char *path)
{
    struct stat now;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &now) != 0) {
        no_scenario(path, strerror(errno));
    } else {
        scenario_free(scenario);
        problem[0] = 0;
        scenario = scenario_load(path, fd, problem);
        problem_is_new = !scenario;
        seen = now; /* taken before reading: what is appended meanwhile shows as a change at the next call */
    }
    if (fd >= 0)
        close(fd);
}

void lock_scenario(void)
{
    take_lock();
    const char *path = getenv(PATH_VARIABLE);
    struct stat now;
    if (!path)
        no_scenario(PATH_VARIABLE, "the environment variable is not set");
    else if (!seen.st_ino || stat(path, &now) != 0 || !same_file(&now, &seen))
        read_scenario(path);
}

/* ---- One call ---- */

nvmlDevice_t handle_of(int index) { return (nvmlDevice_t)(void *)&handles[index]; }

int index_of(nvmlDevice_t device)
{
    uintptr_t index = (uintptr_t)device - (uintptr_t)handles;
    return index < MAX_GPUS ? (int)index : BAD_DEVICE;
}

static int64_t scenario_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - scenario->epoch_ns;
}

static void count_call(enum symbol symbol, int gpu)
{
    n_calls[symbol][0]++;
    if (gpu >= 0)
        n_calls[symbol][1 + gpu]++;
}

/* Whether a fault is tied to this symbol or its group, and meets this call. */
static bool meets(const struct fault *fault, enum symbol symbol, int gpu, int64_t now_ns)
{
    if (fault->symbol != symbol || (fault->gpu >= 0 && fault->gpu != gpu))
        return false;
    double n = n_calls[symbol][fault->gpu >= 0 ? 1 + gpu : 0];
    return n >= fault->from_call && n <= fault->to_call && now_ns >= fault->during.from_ns &&
           now_ns < fault->during.until_ns;
}

static nvmlReturn_t first_error(enum symbol symbol, enum symbol group, int gpu, int64_t now_ns, double *slow_s)
{
    nvmlReturn_t error = NVML_SUCCESS;
    for (size_t i = 0; i < scenario->n_faults; i++) {
        const struct fault *fault = &scenario->faults[i];
        if (!meets(fault, symbol, gpu, now_ns) && !meets(fault, group, gpu, now_ns))
            continue;
        *slow_s += fault->slow_s;
        if (!error)
            error = (nvmlReturn_t)fault->error;
    }
    return error;
}

nvmlReturn_t field_fault(enum symbol symbol, const struct call *call)
{
    double slow_s = 0; /* stays 0: the parser lets no field be slow */
    count_call(symbol, call->index);
    return first_error(symbol, symbol, call->index, call->now_ns, &slow_s);
}

static void sleep_s(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static nvmlReturn_t without_scenario(enum symbol symbol)
{
    if (symbol == SYMBOL_nvmlInit || problem_is_new)
        fprintf(stderr, "nvmlsim: %s\n", problem);
    problem_is_new = false;
    return NVML_ERROR_UNKNOWN;
}

nvmlReturn_t enter(enum symbol symbol, int index, struct call *call)
{
    double slow_s = 0;
    nvmlReturn_t fault = NVML_SUCCESS;
    lock_scenario();
    count_call(symbol, index);
    count_call(SYMBOL_ANY, index);
    if (scenario)
        fault = first_error(symbol, SYMBOL_ANY, index, scenario_now_ns(), &slow_s);
    if (slow_s > 0) {
        unlock_scenario();
        sleep_s(slow_s);
        lock_scenario();
    }
    *call = (struct call){.index = index};
    if (!scenario)
        return without_scenario(symbol);
    call->now_ns = scenario_now_ns();
    if (call->now_ns >= scenario->unloaded_ns)
        return symbol == SYMBOL_nvmlInit ? NVML_ERROR_DRIVER_NOT_LOADED : (nvmlReturn_t)scenario->unloaded_error;
    if (!n_inits && symbol != SYMBOL_nvmlInit)
        return NVML_ERROR_UNINITIALIZED;
    if (index != NO_DEVICE) {
        if (index < 0 || index >= (int)scenario->n_gpus)
            return NVML_ERROR_INVALID_ARGUMENT;
        call->gpu = &scenario->gpus[index];
        if (call->now_ns >= call->gpu->lost_ns)
            return NVML_ERROR_GPU_IS_LOST;
    }
    return fault;
}

nvmlReturn_t leave(nvmlReturn_t result)
{
    unlock_scenario();
    return result;
}

bool append_line(const char *line, size_t size)
{
    const char *path = getenv(PATH_VARIABLE);
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    bool written = fd >= 0 && write(fd, line, size) == (ssize_t)size;
    if (fd >= 0)
        close(fd);
    return written;
}

void count_init(int change) { n_inits += change; }
