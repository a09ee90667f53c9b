"""One file per server of the comparison. Those of other projects run in environments of their own."""
