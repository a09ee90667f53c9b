"""Load and benchmarks: asks the running service over HTTP as callers do; nothing in the service knows of it."""
