"""Tests of cards as a factor."""
