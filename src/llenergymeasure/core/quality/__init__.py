"""How well the model that was measured predicts a text: what a cheaper configuration may have paid with."""
