"""Commands and options in a shell, as they are typed."""
