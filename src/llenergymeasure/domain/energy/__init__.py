"""What is known of a figure in joules beside the figure: bounds, origin, what it covers."""
