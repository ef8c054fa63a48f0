"""From a recording to the tensors a model is trained on."""
