"""Runs of several steps: pipelines, studies of several settings, and comparisons of what they leave."""
