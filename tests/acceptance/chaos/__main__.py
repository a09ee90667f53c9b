"""``python -m acceptance.chaos``: says at once that it is there, then imports what it needs, which takes a second."""

from __future__ import annotations

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.stdout.write("chaos: starting, stop with Ctrl-C\n")
    sys.stdout.flush()
    sys.exit(import_module("acceptance.chaos.command").main(sys.argv[1:]))
