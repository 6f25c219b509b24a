"""The measured window: the work that is run, the part of it that is measured, and what is read at its edges."""
