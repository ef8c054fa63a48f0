"""Objects of every type with small contents, for tests."""
