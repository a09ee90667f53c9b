"""Looks at every tenant again and again while a run goes on: caps and budgets have to hold at every moment."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import suppress

import asyncpg
from acceptance.chaos.books import Books, Row, read_tenants
from acceptance.chaos.evidence import Samples

#: Seconds between two looks.
EVERY_S = 0.25
#: What the books raise while the database is away.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.OperationalError, TimeoutError)


class Sampler:
    """Keeps what was found against caps and budgets."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._taken = 0
        self._caps: set[str] = set()
        self._budgets: set[str] = set()

    @property
    def samples(self) -> Samples:
        """Return what was found so far."""
        return Samples(taken=self._taken, caps=sorted(self._caps), budgets=sorted(self._budgets))

    async def run(self) -> None:
        """Look until cancelled; a database that is away is looked at later."""
        while True:
            with suppress(*AWAY):
                self._note(await read_tenants(self._books))
            await asyncio.sleep(EVERY_S)

    def _note(self, tenants: list[Row]) -> None:
        self._taken += len(tenants)
        for tenant in tenants:
            self._caps.update(_cap_problems(tenant))
            self._budgets.update(_budget_problems(tenant))


def _cap_problems(tenant: Row) -> Iterator[str]:
    running, queued = tenant["running"], tenant["queued"]
    if tenant["max_running"] is not None and running > tenant["max_running"]:
        yield f"{tenant['id']} had {running} of {tenant['max_running']} running"
    if tenant["max_queued"] is None:
        return
    # What is rescued waits again beside what was let in since: in all, no more than both caps together.
    most = tenant["max_queued"] + (tenant["max_running"] if tenant["max_running"] is not None else running)
    if running + queued > most:
        yield f"{tenant['id']} had {running} running and {queued} waiting, more than {most} in all"


def _budget_problems(tenant: Row) -> Iterator[str]:
    if tenant["budget"] is not None and tenant["spent"] + tenant["held"] > tenant["budget"]:
        yield f"{tenant['id']} had spent or held {tenant['spent'] + tenant['held']} of {tenant['budget']}"
    if tenant["held"] < 0:
        yield f"{tenant['id']} had {tenant['held']} held"
