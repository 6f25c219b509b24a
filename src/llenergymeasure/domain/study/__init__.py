"""What a study is: its plan, the place of each run in it, its results and their summary."""
