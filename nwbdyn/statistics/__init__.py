"""Surrogates, edge statistics, cell-type contrasts and measurement artefacts."""
