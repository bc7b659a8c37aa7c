"""Worked solutions, one file for each exercise. Spoilers: `check_....solution()` shows them."""
