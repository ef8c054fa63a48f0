"""Units tables -> spike times and a table of neurons."""
