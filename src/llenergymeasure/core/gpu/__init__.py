"""GPUs of whatever vendor: what is recorded of them, their counters and energy, and what a reader has to know."""
