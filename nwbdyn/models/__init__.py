"""The models, one file each. Listing this folder is the registry; see `nwbdyn.models.base`."""
