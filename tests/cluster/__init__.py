"""Studies on a real SLURM of two virtual nodes, which a test starts and ends."""
