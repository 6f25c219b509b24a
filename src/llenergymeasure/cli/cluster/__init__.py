"""Commands for studies on a cluster."""
