"""What the machine takes while nothing is asked of it, before a window and after it."""
