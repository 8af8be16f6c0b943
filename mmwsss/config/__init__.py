"""Configs: loading, overriding, fitting them to a data set."""
