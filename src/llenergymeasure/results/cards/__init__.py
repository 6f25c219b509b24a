"""Card is a factor: on which card a run was, comparisons within cards, and how much cards of one kind differ."""
