"""The NVIDIA driver: devices, what is recorded of them, counters, energy, power sensors."""
