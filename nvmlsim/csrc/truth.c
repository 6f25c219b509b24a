/* What the nvml* functions are compared with. Times are CLOCK_MONOTONIC in seconds; NAN, or -1 from the counter,
 * stands for no such GPU, no such sensor or no readable scenario. None of these counts as a call, and no fault of the
 * driver touches them. */
#include "call.h"

#include <math.h>

static struct gpu *gpu_for_truth(unsigned index)
{
    lock_scenario();
    return scenario && index < scenario->n_gpus ? &scenario->gpus[index] : NULL;
}

EXPORT double nvmlsim_true_energy_j(unsigned gpu_index, double t0, double t1)
{
    const struct gpu *gpu = gpu_for_truth(gpu_index);
    double energy_j = NAN;
    if (gpu)
        energy_j = trace_energy(&gpu->traces[POWER_W], to_ns(t0) - scenario->epoch_ns, to_ns(t1) - scenario->epoch_ns);
    unlock_scenario();
    return energy_j;
}

EXPORT double nvmlsim_true_power_w(unsigned gpu_index, double t)
{
    const struct gpu *gpu = gpu_for_truth(gpu_index);
    double power_w = gpu ? trace_value(&gpu->traces[POWER_W], to_ns(t) - scenario->epoch_ns) : NAN;
    unlock_scenario();
    return power_w;
}

/* What field 185 (average) or 186 (instant) shows. */
EXPORT double nvmlsim_sensor_mw(unsigned gpu_index, unsigned field, double t)
{
    const struct gpu *gpu = gpu_for_truth(gpu_index);
    double power_mw = NAN;
    if (gpu) {
        const struct sensor *sensor = field == NVML_FI_DEV_POWER_AVERAGE ? &gpu->average : &gpu->instant;
        if (sensor->update_ns)
            power_mw = sensor_mw(&gpu->traces[POWER_W], sensor, to_ns(t) - scenario->epoch_ns);
    }
    unlock_scenario();
    return power_mw;
}

EXPORT long long nvmlsim_counter_mj(unsigned gpu_index, double t)
{
    struct gpu *gpu = gpu_for_truth(gpu_index);
    long long energy_mj = -1;
    if (gpu && gpu->counter.tick_ns)
        energy_mj = (long long)counter_mj(&gpu->traces[POWER_W], &gpu->counter, to_ns(t) - scenario->epoch_ns);
    unlock_scenario();
    return energy_mj;
}
