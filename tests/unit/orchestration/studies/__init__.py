"""Tests of studies: their folder, who works on what, and going on."""
