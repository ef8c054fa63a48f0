"""ROI response series -> traces and a table of neurons."""
