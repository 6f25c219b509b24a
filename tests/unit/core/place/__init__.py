"""Tests of where on a cluster a process runs."""
