"""What to run: models, engine sections, loader, introspection."""
