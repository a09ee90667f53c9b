"""The durable record of what was accepted and what came of it."""
