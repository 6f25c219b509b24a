"""Measure one process."""
