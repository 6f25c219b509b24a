"""What a model is, without an engine: where it lies, its files, digests and architecture."""
