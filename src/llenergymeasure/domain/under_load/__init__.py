"""What a result says of how requests arrived: each figure a pure function of what was recorded."""
