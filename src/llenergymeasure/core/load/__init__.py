"""A load that comes as it comes: when requests arrive, which they are, and the window in which they are measured."""
