"""Keep and read."""
