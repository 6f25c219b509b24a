"""Everything that would keep a plan from running, found at once and before a GPU is touched."""
