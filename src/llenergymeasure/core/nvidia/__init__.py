"""The NVIDIA driver: its devices, what CUDA shows of them, and what is known of their power sensors."""
