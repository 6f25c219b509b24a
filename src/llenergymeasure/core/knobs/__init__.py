"""Knobs of GPUs: set for one experiment, and set back on every way out."""
