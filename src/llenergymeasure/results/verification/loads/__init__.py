"""What a result says of its load, worked out again by code that shares nothing with what made it."""
