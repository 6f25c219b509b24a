"""The processes of a plan: how they are started, tied to who started them, watched, ended, and what they hand over."""
