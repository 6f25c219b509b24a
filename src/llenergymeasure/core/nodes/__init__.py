"""One experiment over several nodes: the first runs the engine, the others attend."""
