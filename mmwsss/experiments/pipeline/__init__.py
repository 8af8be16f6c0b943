"""Pipelines: stages that meet in files."""
