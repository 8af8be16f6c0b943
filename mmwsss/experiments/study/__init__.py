"""Studies: rows of settings, trained and tested over seeds, in one table."""
