"""How much of a test is done by default, and how long is waited for a machine that is busy."""

import os

# Set where the number of threads is the tests' choice and not that of whoever runs them.
THREADS_OF_TESTS = "TESTS_CHOSE_THE_THREADS"
# For a process or a thread that ought to end: a watchdog, not a limit.
PATIENCE_S = 900.0

# Whether all is done that takes long: `make test-all`.
EVERYTHING = os.environ.get("TEST_ALL") == "1"


def examples(n: int, by_default: int | None = None) -> int:
    """Examples of a property: all ``n`` in ``make test-all``; by default a fifth, or as many as are given."""
    if EVERYTHING:
        return n
    return max(10, n // 5) if by_default is None else by_default
