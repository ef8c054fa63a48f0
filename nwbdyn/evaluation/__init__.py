"""Scores, intervals, baselines and the verdict of a fit."""
