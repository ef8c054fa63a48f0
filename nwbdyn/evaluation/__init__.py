"""What a fit is worth: scores, intervals, baselines and the sentence about them."""
