"""Experiments over several nodes: who leads one, who attends, and how they find each other in the study's folder."""
