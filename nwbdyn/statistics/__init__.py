"""What may be believed of a coupling: nulls, halves, states, groups."""
