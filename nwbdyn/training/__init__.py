"""A fit, step by step: what is decided before, the loop, many at once, what the model says."""
