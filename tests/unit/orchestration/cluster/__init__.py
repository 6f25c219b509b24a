"""Tests of studies on a cluster, without one."""
