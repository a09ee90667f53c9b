"""The HTTP side, the only place that knows a web framework."""
