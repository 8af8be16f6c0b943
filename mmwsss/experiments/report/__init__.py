"""A page on what pipelines have made: tables, curves, and a gallery with a slider for the background threshold."""
