"""What the fields of a result mean, written once: ``fields`` has all of it."""
