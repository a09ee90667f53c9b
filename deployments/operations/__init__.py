"""What a caller can do, the same in every dialect, and what comes of it."""
