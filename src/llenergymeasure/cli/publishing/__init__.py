"""Commands about results that are to be published."""
