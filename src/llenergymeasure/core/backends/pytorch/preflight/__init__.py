"""What is known of a model and its settings before anything is loaded."""
