"""The folder of a study, and what is summed up of it."""
