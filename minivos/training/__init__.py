"""One training loop, its recipes, and what it is fed."""
