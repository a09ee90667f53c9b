"""Makers of values and an open store, for every kind of test; test modules cannot import from one another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task
from models.request import GenerationRequest

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def make_request() -> Callable[..., GenerationRequest]:
    """Return a maker of small requests; give it the fields that matter."""

    def make(**fields: Any) -> GenerationRequest:
        plain: dict[str, Any] = {
            "model": "uno",
            "prompt": "a cat",
            "references": (),
            "width": 256,
            "height": 256,
            "num_inference_steps": 4,
            "guidance_scale": 3.5,
            "seed": 7,
        }
        return GenerationRequest(**(plain | fields))

    return make


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Return a maker of queued tasks, each accepted a second after the one before; give it the fields that matter."""
    numbers = count(1)

    def make(**fields: Any) -> Task:
        number = next(numbers)
        plain: dict[str, Any] = {
            "id": f"{number:032x}",
            "tenant_id": "alice",
            "model": "uno",
            "dialect": "fal",
            "notes": {},
            "sink": "files",
            "created_at": NOON + timedelta(seconds=number),
        }
        return Task(**(plain | fields))

    return make


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once for each kind."""
    assert request.param == "sqlite"
    return f"sqlite+aiosqlite:///{tmp_path / 'uxo.db'}"


@pytest.fixture
async def open_store(database_url: str) -> AsyncIterator[Callable[[], Awaitable[TaskStore]]]:
    """Return an opener of further stores on the same database, as another process would have."""
    async with AsyncExitStack() as opened:

        async def open_one() -> TaskStore:
            store = await TaskStore.open(database_url)
            opened.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[TaskStore]]) -> TaskStore:
    """Return an open, empty store, once for each kind of database."""
    return await open_store()
