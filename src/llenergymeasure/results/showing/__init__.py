"""Tables and lines as people read them on a terminal: the same for a run, a study, a comparison."""
