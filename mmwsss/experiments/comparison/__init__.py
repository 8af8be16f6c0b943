"""Comparisons of the work folders of pipelines."""
