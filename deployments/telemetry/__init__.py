"""What the service tells of itself: logs, metrics and traces, without a secret in them."""
