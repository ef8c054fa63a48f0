"""Outputs of a trained model: predictions, connectivity, influence, roll-outs."""
