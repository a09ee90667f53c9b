"""Does one bad request harm another, and does any stay in memory? ``python -m loadtest.isolation``."""
