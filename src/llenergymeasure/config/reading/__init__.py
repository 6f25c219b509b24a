"""From files, flags and variables to models: each place read, one put over the other, the whole validated."""
