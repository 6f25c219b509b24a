"""The folder of a study: its plan, what lies in it, and the table of it."""
