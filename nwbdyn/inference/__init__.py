"""What a trained model computes: predictions, connectivity, influence, roll-outs."""
