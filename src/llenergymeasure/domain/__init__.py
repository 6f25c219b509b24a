"""Words: frozen data and arithmetic, no input or output."""
