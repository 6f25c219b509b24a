"""The machine that a number comes from, and what of it the work was given."""
