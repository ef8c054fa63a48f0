"""Training: the loop, checkpoints, several processes, several models at once."""
