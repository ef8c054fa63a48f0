"""The stages that a fit may run after training, one file each."""
