/* One call into the library: lock, scenario, time, faults. */
#ifndef CALL_H
#define CALL_H

#include "nvml_abi.h"
#include "nvmlsim.h"

#define EXPORT __attribute__((visibility("default")))

extern struct scenario *scenario; /* as of the last look at the file; NULL while it cannot be used. Under the lock. */

/* Takes the lock and looks whether the file has changed. */
void lock_scenario(void);
void unlock_scenario(void);

enum { NO_DEVICE = -1, BAD_DEVICE = -2 };

int index_of(nvmlDevice_t device);
nvmlDevice_t handle_of(int index);

struct call {
    struct gpu *gpu; /* NULL if the call is not about one */
    int index;
    int64_t now_ns;
};

/* Starts a call: counts it, sleeps if it is to be slow, and says whether it may go on. The lock is held afterwards,
 * whatever the answer, until leave(). */
nvmlReturn_t enter(enum symbol symbol, int index, struct call *call);
nvmlReturn_t leave(nvmlReturn_t result); /* returns what it was given */

/* Counts one query of a field, and gives the error the scenario has for it. */
nvmlReturn_t field_fault(enum symbol symbol, const struct call *call);

bool append_line(const char *line, size_t size); /* to the scenario file, in one write */

void count_init(int change); /* of open nvmlInit calls */

#endif
