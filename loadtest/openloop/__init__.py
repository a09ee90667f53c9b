"""The open-loop load test: calls are sent when they are due, whatever becomes of those before them."""
