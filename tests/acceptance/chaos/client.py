"""The load client: sends wishes over HTTP, repeats what got no answer, and keeps a ledger of all it said and heard.

The ledger is an append-only file; what is checked in the end is checked against it, never against what the service
says of itself.

    sent, answered    a submission: status 0 means that no answer came
    seen              a task in a state in which it was not seen before
    cancelled         the answer to a cancel
    fetched           a picture's bytes, as their hash
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

from acceptance.chaos.journal import Journal
from acceptance.chaos.letterbox import Letterbox
from acceptance.chaos.orders import KEYS
from acceptance.chaos.wire import Wire
from acceptance.chaos.wishes import Kind, Wish

SUBMIT = "/api/v3/wavespeed-ai/uno"
RESULT = "/api/v3/predictions/{id}/result"
CANCEL = "/api/v3/predictions/{id}"
#: States that a task never leaves, in WaveSpeed's words.
ENDED = frozenset({"completed", "failed", "cancelled"})
#: Answers that repeating does not change.
REFUSED = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 422})
#: Bounds of the pause before a call is made again, in seconds.
MIN_PAUSE_S, MAX_PAUSE_S = 0.05, 1.0
#: Bounds of the pause between two looks at a task, in seconds.
MIN_POLL_S, MAX_POLL_S = 0.1, 1.0


class Client:
    """Sends wishes to any of several gateways."""

    def __init__(self, wire: Wire, *, letterbox: Letterbox, ledger: Journal, random: Random, max_calls: int) -> None:
        """Take the way to the gateways, where webhooks go, the ledger, what draws pauses, and the most calls."""
        self._wire = wire
        self._letterbox = letterbox
        self._ledger = ledger
        self._random = random
        self._max_calls = max_calls
        #: What happened so far, for people who watch.
        self.counts: Counter[str] = Counter()

    async def submit(self, wish: Wish) -> str | None:
        """Send a wish, and its copies beside it; return its task's id, or None when it was refused."""
        copies = [self._submit(wish, wish.body(), copy=copy) for copy in range(wish.copies)]
        ids = set(await asyncio.gather(*copies)) - {None}
        if wish.kind is Kind.REUSE and ids:
            await self._submit(wish, wish.other_body(), copy=-1)
        self.counts["settled"] += 1
        self.counts["accepted" if ids else "refused"] += 1
        return min((each for each in ids if each), default=None)

    async def follow(self, wish: Wish, task_id: str) -> None:
        """Cancel a task if its wish is to be cancelled, wait for its end, and fetch its pictures."""
        if wish.kind is Kind.CANCEL:
            await asyncio.sleep(self._random.uniform(0, 0.4))
            await self._cancel(wish, task_id)
        task = await self._wait(wish, task_id)
        pictures = [self._fetch(task_id, index, url) for index, url in enumerate(task["outputs"])]
        await asyncio.gather(*pictures)
        self.counts["ended"] += 1

    async def _submit(self, wish: Wish, body: bytes, *, copy: int) -> str | None:
        for calls in range(self._max_calls):
            note = {"key": wish.key, "tenant": wish.tenant, "copy": copy}
            self._ledger.write("sent", **note)
            began = time.monotonic()
            status, answer = await self._call("POST", self._submit_path(wish), wish, body)
            took_s = time.monotonic() - began
            task_id = answer.get("id") if status == 200 else None
            self._ledger.write("answered", **note, status=status, id=task_id, took_s=round(took_s, 4))
            self.counts[f"answer {status}"] += 1
            if status == 200 or status in REFUSED or (status == 429 and wish.kind is Kind.SHY):
                return task_id
            await self._pause(calls)
        return None

    def _submit_path(self, wish: Wish) -> str:
        if wish.welcome is None:
            return SUBMIT
        address = self._letterbox.address(wish.tenant, wish.key, wish.welcome)
        return f"{SUBMIT}?webhook={quote(address, safe='')}"

    async def _cancel(self, wish: Wish, task_id: str) -> None:
        for calls in range(self._max_calls):
            status, answer = await self._call("DELETE", CANCEL.format(id=task_id), wish)
            self._ledger.write("cancelled", id=task_id, status=status, state=answer.get("status"))
            if status == 200 or status in REFUSED:
                return
            await self._pause(calls)

    async def _wait(self, wish: Wish, task_id: str) -> dict[str, Any]:
        last, pause_s = "", MIN_POLL_S
        while True:
            status, answer = await self._call("GET", RESULT.format(id=task_id), wish)
            state = answer.get("status", "unknown") if status in {200, 404} else last
            if state != last:
                last = state
                self._ledger.write("seen", id=task_id, state=state, outputs=answer.get("outputs", []))
            if state in ENDED:
                return answer
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, MAX_POLL_S)

    async def _fetch(self, task_id: str, index: int, url: str) -> None:
        for calls in range(self._max_calls):
            answer = await self._wire.call("GET", urlsplit(url).path, {})
            if answer.status:
                found = hashlib.sha256(answer.body).hexdigest()
                self._ledger.write("fetched", id=task_id, index=index, status=answer.status, sha256=found)
                return
            await self._pause(calls)

    async def _call(self, method: str, path: str, wish: Wish, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Make one call; returns its status, 0 when no whole answer came, and the task in the answer."""
        headers = {"Authorization": f"Bearer {KEYS[wish.tenant]}"}
        if method == "POST":
            headers |= {"Idempotency-Key": wish.key, "Content-Type": "application/json"}
        answer = await self._wire.call(method, path, headers, body)
        return answer.status, json.loads(answer.body).get("data", {}) if answer.status else {}

    async def _pause(self, calls: int) -> None:
        longest_s = min(MIN_PAUSE_S * 2**calls, MAX_PAUSE_S)
        await asyncio.sleep(self._random.uniform(longest_s / 2, longest_s))
