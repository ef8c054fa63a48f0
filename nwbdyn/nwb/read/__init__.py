"""An NWB file -> Recording or Fit, object by object."""
