"""Studies on a cluster: which jobs are submitted, what runs in one, and what is seen of them from outside."""
