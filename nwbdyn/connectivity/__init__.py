"""Time-resolved connectivity, evaluated in NumPy from the cheapest exact form."""
