"""Many recordings and many settings: one after the other, as one model, over a cluster."""
