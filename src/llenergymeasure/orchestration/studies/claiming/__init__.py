"""Who has which part of a study: what lies in its folder of claims, and who makes it and keeps it fresh."""
