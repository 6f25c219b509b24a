"""Memory of this process."""

import resource


def resident_peak_mb() -> float:
    """Largest resident set of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
