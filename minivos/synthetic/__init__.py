"""Video made here, with exact masks and exact point correspondence."""
