"""Measurements of the package on simulated GPUs, whose true energy is known."""
