"""Finding out what a card's readings are: a load that is switched on and off, and what the readings made of it."""
