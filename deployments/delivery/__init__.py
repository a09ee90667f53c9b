"""From finished pixels to bytes in the right place."""
