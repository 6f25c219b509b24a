"""Studies run from their directory, so that one worker or several, today or after a crash, do the same thing."""
