"""Where prompts come from: rows, files, the hub, random numbers."""
