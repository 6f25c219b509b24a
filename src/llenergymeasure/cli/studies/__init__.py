"""The commands of studies: running one, going on with it, where it stands."""
