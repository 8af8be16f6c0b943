"""Generated scenes with known masks."""
