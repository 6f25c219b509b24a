"""What memory is free, and what a plan will take."""
