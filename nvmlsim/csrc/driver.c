/* The nvml* functions. Each enters a call, asks physics.c, and leaves. */
#include "call.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NVML EXPORT nvmlReturn_t

static double now_value(const struct call *call, enum quantity quantity)
{
    return trace_value(&call->gpu->traces[quantity], call->now_ns);
}

static unsigned mw(double watts) { return (unsigned)fmin(watts * 1000, UINT32_MAX); }

static unsigned long long bytes(double mb) { return (unsigned long long)(mb * 1e6); }

static nvmlReturn_t copy_text(const char *text, char *destination, unsigned length)
{
    if (!destination)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(destination, text);
    return NVML_SUCCESS;
}

/* ---- Start, end, system ---- */

static nvmlReturn_t init(void)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlInit, NO_DEVICE, &call);
    if (result == NVML_SUCCESS)
        count_init(1);
    return leave(result);
}

NVML nvmlInit(void) { return init(); }

NVML nvmlInit_v2(void) { return init(); }

NVML nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    return init();
}

NVML nvmlShutdown(void)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlShutdown, NO_DEVICE, &call);
    if (result == NVML_SUCCESS)
        count_init(-1);
    return leave(result);
}

EXPORT const char *nvmlErrorString(nvmlReturn_t result)
{
    static const char *const texts[] = {
        "Success",
        "Uninitialized",
        "Invalid Argument",
        "Not Supported",
        "Insufficient Permissions",
        "Already Initialized",
        "Not Found",
        "Insufficient Size",
        "Insufficient External Power",
        "Driver Not Loaded",
        "Timeout",
        "Interrupt Request Issue",
        "NVML Shared Library Not Found",
        "Function Not Found",
        "Corrupted infoROM",
        "GPU is lost",
        "GPU requires restart",
        "The operating system has blocked the request.",
        "RM has detected an NVML/RM version mismatch.",
    };
    return (size_t)result < sizeof texts / sizeof *texts ? texts[result] : "Unknown Error";
}

NVML nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlSystemGetDriverVersion, NO_DEVICE, &call);
    return leave(result ? result : copy_text(scenario->driver, version, length));
}

NVML nvmlSystemGetNVMLVersion(char *version, unsigned length)
{
    struct call call;
    char text[TEXT_SIZE + 16];
    nvmlReturn_t result = enter(SYMBOL_nvmlSystemGetNVMLVersion, NO_DEVICE, &call);
    if (result)
        return leave(result);
    snprintf(text, sizeof text, "%d.%s", (int)scenario->cuda / 1000, scenario->driver); /* as in 12.570.86.15 */
    return leave(copy_text(text, version, length));
}

static nvmlReturn_t cuda_version(int *version)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlSystemGetCudaDriverVersion, NO_DEVICE, &call);
    if (!result && version)
        *version = (int)scenario->cuda;
    return leave(result || version ? result : NVML_ERROR_INVALID_ARGUMENT);
}

NVML nvmlSystemGetCudaDriverVersion(int *version) { return cuda_version(version); }

NVML nvmlSystemGetCudaDriverVersion_v2(int *version) { return cuda_version(version); }

NVML nvmlDeviceGetCount_v2(unsigned *count)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetCount, NO_DEVICE, &call);
    if (!result && count)
        *count = scenario->n_gpus;
    return leave(result || count ? result : NVML_ERROR_INVALID_ARGUMENT);
}

/* ---- Handles ---- */

NVML nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetHandleByIndex, index < MAX_GPUS ? (int)index : BAD_DEVICE, &call);
    if (!result && device)
        *device = handle_of((int)index);
    return leave(result || device ? result : NVML_ERROR_INVALID_ARGUMENT);
}

static int index_of_uuid(const char *uuid)
{
    int index = NO_DEVICE;
    lock_scenario();
    for (unsigned i = 0; uuid && scenario && i < scenario->n_gpus; i++)
        if (strcmp(uuid, scenario->gpus[i].uuid) == 0)
            index = (int)i;
    unlock_scenario();
    return index;
}

NVML nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    struct call call;
    int index = index_of_uuid(uuid);
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetHandleByUUID, index, &call);
    if (!result && (!uuid || !device))
        result = NVML_ERROR_INVALID_ARGUMENT;
    else if (!result && index == NO_DEVICE)
        result = NVML_ERROR_NOT_FOUND;
    else if (!result)
        *device = handle_of(index);
    return leave(result);
}

NVML nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetName, index_of(device), &call);
    return leave(result ? result : copy_text(call.gpu->name, name, length));
}

NVML nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetUUID, index_of(device), &call);
    return leave(result ? result : copy_text(call.gpu->uuid, uuid, length));
}

NVML nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *info)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetPciInfo, index_of(device), &call);
    if (result || !info)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    *info = (nvmlPciInfo_t){.bus = 1 + (unsigned)call.index};
    snprintf(info->busIdLegacy, sizeof info->busIdLegacy, "0000:%02X:00.0", info->bus & 0xff);
    snprintf(info->busId, sizeof info->busId, "00000000:%02X:00.0", info->bus & 0xff);
    return leave(NVML_SUCCESS);
}

/* ---- Functions that give one number ---- */

#define DEVICE_NUMBER(name, type, supported, number)                            \
    NVML name(nvmlDevice_t device, type *out)                                   \
    {                                                                           \
        struct call call;                                                       \
        nvmlReturn_t result = enter(SYMBOL_##name, index_of(device), &call);    \
        if (result || !out)                                                     \
            return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);        \
        if (!(supported))                                                       \
            return leave(NVML_ERROR_NOT_SUPPORTED);                             \
        *out = (type)(number);                                                  \
        return leave(NVML_SUCCESS);                                             \
    }

static const struct sensor *power_usage(const struct gpu *gpu)
{
    return gpu->power_usage == FIELD_AVERAGE ? &gpu->average : &gpu->instant;
}

static unsigned sensor_now_mw(const struct call *call, const struct sensor *sensor)
{
    return sensor_mw(&call->gpu->traces[POWER_W], sensor, call->now_ns);
}

static unsigned long long counter_now_mj(const struct call *call)
{
    return counter_mj(&call->gpu->traces[POWER_W], &call->gpu->counter, call->now_ns);
}

/* As it was set, or as the card had it before. */
static double limit_now_w(const struct call *call)
{
    double cap_w = now_value(call, POWER_CAP_W);
    return cap_w < NO_CAP_W ? cap_w : call->gpu->limit_w;
}

DEVICE_NUMBER(nvmlDeviceGetIndex, unsigned, true, call.index)
DEVICE_NUMBER(nvmlDeviceGetMinorNumber, unsigned, true, call.index)
DEVICE_NUMBER(nvmlDeviceGetArchitecture, unsigned, true, NVML_DEVICE_ARCH_KEPLER + call.gpu->architecture)
DEVICE_NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, call.gpu->counter.tick_ns, counter_now_mj(&call))
DEVICE_NUMBER(nvmlDeviceGetPowerUsage, unsigned,
              call.gpu->power_usage != FIELD_NONE && power_usage(call.gpu)->update_ns,
              sensor_now_mw(&call, power_usage(call.gpu)))
DEVICE_NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, true, now_value(&call, THROTTLE_BITS))
DEVICE_NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, true, now_value(&call, THROTTLE_BITS))
DEVICE_NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, true, mw(limit_now_w(&call)))
DEVICE_NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, true, mw(limit_now_w(&call)))
DEVICE_NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, true, mw(call.gpu->limit_default_w))
DEVICE_NUMBER(nvmlDeviceGetPersistenceMode, unsigned, true, call.gpu->persistence)
DEVICE_NUMBER(nvmlDeviceGetComputeMode, unsigned, true, call.gpu->compute_mode)

NVML nvmlDeviceGetC2cModeInfoV(nvmlDevice_t device, nvmlC2cModeInfo_v1_t *info)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetC2cModeInfoV, index_of(device), &call);
    if (!result && call.gpu->c2c == UNSUPPORTED)
        result = NVML_ERROR_NOT_SUPPORTED;
    if (!result && info)
        info->isC2cEnabled = call.gpu->c2c == ON;
    return leave(result || info ? result : NVML_ERROR_INVALID_ARGUMENT);
}

/* Temperature as both functions give it. */
static nvmlReturn_t temperature(enum symbol symbol, nvmlDevice_t device, unsigned sensor, int *celsius)
{
    struct call call;
    nvmlReturn_t result = enter(symbol, index_of(device), &call);
    if (result || sensor != NVML_TEMPERATURE_GPU)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    *celsius = (int)now_value(&call, TEMPERATURE_C);
    return leave(NVML_SUCCESS);
}

NVML nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned sensor, unsigned *celsius)
{
    return celsius ? temperature(SYMBOL_nvmlDeviceGetTemperature, device, sensor, (int *)celsius)
                   : NVML_ERROR_INVALID_ARGUMENT;
}

NVML nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *request)
{
    if (!request)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (request->version != NVML_TEMPERATURE_V1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return temperature(SYMBOL_nvmlDeviceGetTemperatureV, device, request->sensorType, &request->temperature);
}

/* ---- Functions that give two or more numbers ---- */

static nvmlReturn_t give(unsigned *a, double value_a, unsigned *b, double value_b)
{
    if (!a || !b)
        return NVML_ERROR_INVALID_ARGUMENT;
    *a = (unsigned)value_a;
    *b = (unsigned)value_b;
    return NVML_SUCCESS;
}

NVML nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetCudaComputeCapability, index_of(device), &call);
    if (!result)
        result = give((unsigned *)major, call.gpu->compute_capability[0], (unsigned *)minor,
                      call.gpu->compute_capability[1]);
    return leave(result);
}

NVML nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned *least_mw, unsigned *most_mw)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetPowerManagementLimitConstraints, index_of(device), &call);
    if (!result)
        result = give(least_mw, mw(call.gpu->limit_min_w), most_mw, mw(call.gpu->limit_max_w));
    return leave(result);
}

NVML nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetMigMode, index_of(device), &call);
    if (!result && call.gpu->mig == UNSUPPORTED)
        result = NVML_ERROR_NOT_SUPPORTED;
    if (!result)
        result = give(current, call.gpu->mig, pending, call.gpu->mig);
    return leave(result);
}

NVML nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetUtilizationRates, index_of(device), &call);
    if (result || !rates)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    rates->gpu = (unsigned)now_value(&call, GPU_UTILISATION_PCT);
    rates->memory = (unsigned)now_value(&call, MEMORY_UTILISATION_PCT);
    return leave(NVML_SUCCESS);
}

static nvmlReturn_t clock_mhz(enum symbol symbol, nvmlDevice_t device, unsigned type, unsigned *mhz)
{
    struct call call;
    nvmlReturn_t result = enter(symbol, index_of(device), &call);
    if (result || !mhz || type > NVML_CLOCK_VIDEO)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    if (type == NVML_CLOCK_VIDEO)
        return leave(NVML_ERROR_NOT_SUPPORTED);
    bool memory = type == NVML_CLOCK_MEM;
    double locked_mhz = now_value(&call, memory ? MEMORY_LOCK_MHZ : SM_LOCK_MHZ);
    if (symbol == SYMBOL_nvmlDeviceGetMaxClockInfo)
        *mhz = (unsigned)call.gpu->max_clocks_mhz[memory];
    else if (locked_mhz > 0)
        *mhz = (unsigned)locked_mhz;
    else
        *mhz = (unsigned)now_value(&call, memory ? MEMORY_CLOCK_MHZ : SM_CLOCK_MHZ);
    return leave(NVML_SUCCESS);
}

NVML nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned type, unsigned *mhz)
{
    return clock_mhz(SYMBOL_nvmlDeviceGetClockInfo, device, type, mhz);
}

NVML nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned type, unsigned *mhz)
{
    return clock_mhz(SYMBOL_nvmlDeviceGetMaxClockInfo, device, type, mhz);
}

static nvmlReturn_t memory_now(nvmlDevice_t device, nvmlMemory_t *memory)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetMemoryInfo, index_of(device), &call);
    if (result || !memory)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    memory->total = bytes(call.gpu->memory_total_mb);
    memory->used = bytes(fmin(now_value(&call, MEMORY_USED_MB), call.gpu->memory_total_mb));
    memory->free = memory->total - memory->used;
    return leave(NVML_SUCCESS);
}

NVML nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) { return memory_now(device, memory); }

NVML nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    nvmlMemory_t now;
    if (memory && memory->version != NVML_MEMORY_V2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result = memory_now(device, memory ? &now : NULL);
    if (!result)
        *memory = (nvmlMemory_v2_t){.version = memory->version, .total = now.total, .free = now.free, .used = now.used};
    return result;
}

static nvmlReturn_t processes(enum symbol symbol, enum process_kind kind, nvmlDevice_t device, unsigned *count,
                              nvmlProcessInfo_t *list)
{
    struct call call;
    nvmlReturn_t result = enter(symbol, index_of(device), &call);
    if (result || !count || (*count && !list))
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    unsigned room = *count;
    *count = 0;
    for (size_t i = 0; i < call.gpu->n_processes; i++) {
        const struct process *process = &call.gpu->processes[i];
        if (process->kind != kind || call.now_ns < process->running.from_ns || call.now_ns >= process->running.until_ns)
            continue;
        if (*count < room)
            list[*count] = (nvmlProcessInfo_t){
                .pid = (unsigned)process->pid,
                .usedGpuMemory = process->memory_mb < 0 ? NVML_VALUE_NOT_AVAILABLE : bytes(process->memory_mb),
                .gpuInstanceId = NVML_NO_INSTANCE,
                .computeInstanceId = NVML_NO_INSTANCE,
            };
        ++*count;
    }
    return leave(*count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS);
}

NVML nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list)
{
    return processes(SYMBOL_nvmlDeviceGetComputeRunningProcesses, COMPUTE, device, count, list);
}

NVML nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list)
{
    return processes(SYMBOL_nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS, device, count, list);
}

/* ---- Field values ---- */

static nvmlReturn_t power_field(const struct call *call, const struct sensor *sensor, nvmlFieldValue_t *field)
{
    /* Only a superchip has a module of its own. */
    bool module = field->scopeId == NVML_POWER_SCOPE_MODULE && call->gpu->c2c == ON;
    if (!sensor->update_ns || (field->scopeId != NVML_POWER_SCOPE_GPU && !module))
        return NVML_ERROR_NOT_SUPPORTED;
    field->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
    field->value.uiVal = (unsigned)(sensor_now_mw(call, sensor) * (module ? call->gpu->module_gain : 1) + 0.5);
    return NVML_SUCCESS;
}

static nvmlReturn_t energy_field(const struct call *call, nvmlFieldValue_t *field)
{
    if (!call->gpu->counter.tick_ns)
        return NVML_ERROR_NOT_SUPPORTED;
    field->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    field->value.ullVal = counter_now_mj(call);
    return NVML_SUCCESS;
}

static nvmlReturn_t field_value(const struct call *call, nvmlFieldValue_t *field)
{
    enum symbol symbol;
    switch (field->fieldId) {
    case NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
        symbol = SYMBOL_FIELD_ENERGY;
        break;
    case NVML_FI_DEV_POWER_AVERAGE:
        symbol = SYMBOL_FIELD_AVERAGE;
        break;
    case NVML_FI_DEV_POWER_INSTANT:
        symbol = SYMBOL_FIELD_INSTANT;
        break;
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
    nvmlReturn_t fault = field_fault(symbol, call);
    if (fault)
        return fault;
    if (symbol == SYMBOL_FIELD_ENERGY)
        return energy_field(call, field);
    return power_field(call, symbol == SYMBOL_FIELD_AVERAGE ? &call->gpu->average : &call->gpu->instant, field);
}

NVML nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetFieldValues, index_of(device), &call);
    if (result || count <= 0 || !values)
        return leave(result ? result : NVML_ERROR_INVALID_ARGUMENT);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        values[i].timestamp = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        values[i].latencyUsec = 0;
        values[i].nvmlReturn = field_value(&call, &values[i]);
    }
    return leave(NVML_SUCCESS);
}

/* ---- Setters: each writes a line into the scenario, so that all processes see what was set ---- */

static nvmlReturn_t set_now(const struct call *call, const char *quantity, double value)
{
    char line[TEXT_SIZE];
    /* Whole numbers only: a decimal point is what the host's locale says. */
    int64_t us = call->now_ns / 1000;
    int n = snprintf(line, sizeof line, "gpu %d %s %s%lld.%06lld %lld.%03lld\n", call->index, quantity,
                     us < 0 ? "-" : "", llabs(us) / 1000000, llabs(us) % 1000000, (long long)value,
                     (long long)((value - floor(value)) * 1000 + 0.5));
    return append_line(line, (size_t)n) ? NVML_SUCCESS : NVML_ERROR_UNKNOWN;
}

NVML nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned limit_mw)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceSetPowerManagementLimit, index_of(device), &call);
    if (!result && (limit_mw < mw(call.gpu->limit_min_w) || limit_mw > mw(call.gpu->limit_max_w)))
        result = NVML_ERROR_INVALID_ARGUMENT;
    if (!result && (call.gpu->traces[POWER_W].period_ns || call.gpu->traces[THROTTLE_BITS].period_ns))
        result = NVML_ERROR_NOT_SUPPORTED;
    return leave(result ? result : set_now(&call, "power_cap_w", limit_mw / 1000.0));
}

static nvmlReturn_t lock_clock(enum symbol symbol, nvmlDevice_t device, bool memory, unsigned least, unsigned most)
{
    struct call call;
    nvmlReturn_t result = enter(symbol, index_of(device), &call);
    if (!result && (least != most || most > call.gpu->max_clocks_mhz[memory]))
        result = NVML_ERROR_INVALID_ARGUMENT;
    return leave(result ? result : set_now(&call, memory ? "memory_lock_mhz" : "sm_lock_mhz", most));
}

NVML nvmlDeviceSetGpuLockedClocks(nvmlDevice_t device, unsigned least_mhz, unsigned most_mhz)
{
    return lock_clock(SYMBOL_nvmlDeviceSetGpuLockedClocks, device, false, least_mhz, most_mhz);
}

NVML nvmlDeviceResetGpuLockedClocks(nvmlDevice_t device)
{
    return lock_clock(SYMBOL_nvmlDeviceResetGpuLockedClocks, device, false, 0, 0);
}

NVML nvmlDeviceSetMemoryLockedClocks(nvmlDevice_t device, unsigned least_mhz, unsigned most_mhz)
{
    return lock_clock(SYMBOL_nvmlDeviceSetMemoryLockedClocks, device, true, least_mhz, most_mhz);
}

NVML nvmlDeviceResetMemoryLockedClocks(nvmlDevice_t device)
{
    return lock_clock(SYMBOL_nvmlDeviceResetMemoryLockedClocks, device, true, 0, 0);
}

/* n clocks, the highest first, each step_mhz under the one before. */
static nvmlReturn_t clocks(unsigned *count, unsigned *list, double most_mhz, unsigned n, double step_mhz)
{
    if (!count || (*count && !list))
        return NVML_ERROR_INVALID_ARGUMENT;
    unsigned room = *count;
    *count = n;
    for (unsigned i = 0; i < n && i < room; i++)
        list[i] = (unsigned)(most_mhz - i * step_mhz);
    return n > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

NVML nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned *count, unsigned *list)
{
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetSupportedMemoryClocks, index_of(device), &call);
    if (!result)
        result = clocks(count, list, call.gpu->max_clocks_mhz[1], 2, floor(call.gpu->max_clocks_mhz[1] / 2));
    return leave(result);
}

NVML nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned memory_mhz, unsigned *count, unsigned *list)
{
    enum { STEP_MHZ = 15, LEAST_MHZ = 210 };
    struct call call;
    nvmlReturn_t result = enter(SYMBOL_nvmlDeviceGetSupportedGraphicsClocks, index_of(device), &call);
    double most_mhz = result ? 0 : call.gpu->max_clocks_mhz[0];
    if (!result && memory_mhz > call.gpu->max_clocks_mhz[1])
        result = NVML_ERROR_NOT_FOUND;
    if (!result)
        result = clocks(count, list, most_mhz, 1 + (unsigned)(fmax(most_mhz - LEAST_MHZ, 0) / STEP_MHZ), STEP_MHZ);
    return leave(result);
}
