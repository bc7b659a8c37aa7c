"""What one does with a network: train, evaluate, plot, report."""
