"""Tests of the grammar of studies."""
