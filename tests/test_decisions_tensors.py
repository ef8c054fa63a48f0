"""Decisions: placeholder."""
