"""Measurements: every performance claim of the documents comes from one of these, ratios from one run."""
