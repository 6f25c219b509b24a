"""Plan and launch."""
