"""Runware's language: arrays of tasks over REST and WebSockets; ``runware.py`` is where to start reading."""
