"""One folder per compression method: its settings, its code and its card."""
