"""How well, how fast, side by side."""
