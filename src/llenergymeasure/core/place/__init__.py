"""Where on a cluster this process runs: host, job, and what of the host it may use."""
