"""What a configuration names instead of writing it out: the home directory, and secrets by their variables."""
