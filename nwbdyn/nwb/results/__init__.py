"""Results of a fit as NWB objects and files, written and opened again."""
