"""Traces: what came in and when, without a prompt or a picture; made up from a seed, or recorded from a live system."""
