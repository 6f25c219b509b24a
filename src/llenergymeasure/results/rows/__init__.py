"""Results as rows: what columns there are, and tables of them in memory, as frames and in files."""
