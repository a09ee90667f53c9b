"""The comparison: the same fake model behind other model servers and ours, under the same open-loop load."""
