"""What goes into and comes out of a network: clips, masks, data sets, metrics."""
