"""Training: the mini-batch loop, and what a run leaves on disk."""
