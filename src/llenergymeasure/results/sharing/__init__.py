"""What leaves for papers and archives: words about a result, and a folder of results as one file."""
