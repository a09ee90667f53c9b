"""What the scripts that play an SDK's user share: what they are given, and how they say what came of it.

They run in an environment that holds one SDK and nothing of this project, so this knows the standard library alone, and
a server of these tests that knows no more.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import urllib.request  # noqa: TID251 -- for what this test itself has started
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver import receiving, status

#: A case of a script: what a user does, with an answer for JSON; asynchronous where the SDK is.
Case = Callable[[], Any]


@dataclass(frozen=True)
class Given:
    """What a script works with."""

    #: Where the service is, without a trailing slash.
    base_url: str
    #: A key of one tenant.
    alice: str
    #: A key of another.
    bob: str
    #: Pictures on the web.
    references: list[str]
    #: A picture as a file.
    picture: Path
    #: Where the server is that takes webhooks, without a trailing slash.
    receiver: str
    #: Where pictures go that are to be looked at.
    folder: Path

    @classmethod
    def read(cls) -> Given:
        """Read it from standard input."""
        told = json.load(sys.stdin)
        return cls(**told | {"picture": Path(told["picture"]), "folder": Path(told["folder"])})

    def keep(self, *contents: bytes) -> list[str]:
        """Keep pictures to be looked at, and return their names."""
        names = [f"{len(list(self.folder.iterdir())) + n}.picture" for n in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            (self.folder / name).write_bytes(content)
        return names

    def fetch(self, *urls: str) -> list[str]:
        """Fetch pictures as a browser would, keep them, and return their names."""
        return self.keep(*(content_of(url) for url in urls))

    async def leave_once_begun(self, call: Callable[[str], Coroutine[Any, Any, object]]) -> bool:
        """Make a call that names a picture here, leave when the service fetches it, and return whether we were in time.

        Earlier there may be nothing yet that the service could stop.
        """
        async with receiving() as server:
            server.says("/", status(200, "Content-Type: image/png", body=self.picture.read_bytes()))
            calling = asyncio.create_task(call(server.url()))
            await server.until(1)
            calling.cancel()
            await asyncio.wait([calling])
        return calling.cancelled()


def content_of(url: str) -> bytes:
    """Return what is at an address, also when it is a data URI."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310, TID251 -- the service's own addresses
        content: bytes = answer.read()
        return content


def play(cases: Mapping[str, Case]) -> None:
    """Play every case, and write one JSON with what came of each: an answer, or an error and what it says of itself.

    Cases that are named on the command line are the only ones then.
    """
    written = sys.stdout
    sys.stdout = sys.stderr  # what an SDK prints is no part of the JSON
    only = sys.argv[1:] or cases
    json.dump(asyncio.run(_play_all({name: cases[name] for name in only})), written)


async def _play_all(cases: Mapping[str, Case]) -> dict[str, Any]:
    return {name: await _play(name, case) for name, case in cases.items()}


async def _play(name: str, case: Case) -> dict[str, Any]:
    started = time.monotonic()
    try:
        answer = case()
        return {"answer": await answer if inspect.isawaitable(answer) else answer}
    except Exception as error:  # noqa: BLE001 -- what an SDK raises is what is looked at
        return {"error": type(error).__name__, "says": str(error), "has": _plain_attributes(error)}
    finally:
        print(f"{name:30} {time.monotonic() - started:6.2f} s", file=sys.stderr)  # noqa: T201 -- it is a script


def _plain_attributes(error: Exception) -> dict[str, Any]:
    """Return what an error says of itself besides its text, as far as JSON can hold it."""
    return {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
