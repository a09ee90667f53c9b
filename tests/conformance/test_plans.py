"""How the databases find what they look for: by indexes on which ended tasks do not weigh."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, insert, text
from sqlalchemy.sql.compiler import SQLCompiler

from deployments.database.database import Database
from deployments.database.schema import task_requests, tasks
from deployments.tasks import accept, backlog, census, claim, contents, statements
from deployments.tasks.rows import to_row
from deployments.tasks.task import Task, TaskState

MakeTask = Callable[..., Task]
ENDED = 4000
#: How the databases say that they look through the whole table.
LOOKS_THROUGH = re.compile(r"Seq Scan on tasks|SCAN tasks(?! USING (?:COVERING )?INDEX)")
#: Every bound name of the statements below.
VALUES: dict[str, Any] = {
    "this_tenant": "tenant-1",
    "this_model": "uno",
    "this_id": "0" * 32,
    "this_fence": 1,
    "this_steps": 1,
    "this_outputs": "[]",
    "this_inference_ms": 1,
    "this_device_s": 1.0,
    "this_spent": None,
    "models": ["uno"],
    "task_ids": ["0" * 32],
    "replica_id": "r1",
    "lease_s": 60.0,
    "below_rank": 3,
    "waited_s": 0.05,
    "not_of": ["tenant-2"],
    "max_attempts": 3,
    "keep_s": 3600.0,
    "at_most": 5,
}


@pytest.fixture(params=[True, False], ids=["analyzed", "not analyzed"])
async def crowded(request: pytest.FixtureRequest, database: Database, make_task: MakeTask) -> Database:
    """Return a database in which thousands of tasks have ended, a hundred wait and some run, of twenty tenants.

    Nobody analyzes an embedded database, and PostgreSQL does so by itself only now and then.
    """
    rows = [row_of(make_task(tenant_id=f"tenant-{number % 20}"), number) for number in range(ENDED + 120)]

    def fill(connection: Connection) -> None:
        connection.execute(insert(tasks), rows)
        connection.execute(insert(task_requests), [{"task_id": row["id"], "request": "{}"} for row in rows])
        if request.param:
            connection.execute(text("ANALYZE"))

    await database.write(fill)
    return database


def row_of(task: Task, number: int) -> dict[str, Any]:
    """Write a task as ended, or as one of the last hundred and twenty that wait or run."""
    left = number - ENDED
    state = TaskState.SUCCEEDED if left < 0 else TaskState.QUEUED if left < 100 else TaskState.RUNNING
    moment = task.created_at.timestamp()
    return to_row(task) | {
        "state": state,
        "fair_key": float(number),
        "weight": 1.0,
        "fence": int(state is not TaskState.QUEUED),
        "started_at": None if state is TaskState.QUEUED else moment,
        "lease_expires_at": moment if state is TaskState.RUNNING else None,
        "finished_at": moment if state is TaskState.SUCCEEDED else None,
    }


def explain(connection: Connection, statement: ClauseElement) -> str:
    """Ask how a statement would be carried out."""
    words = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    compiled = statement.compile(dialect=connection.dialect)
    assert isinstance(compiled, SQLCompiler)
    written = compiled.construct_expanded_state(VALUES)
    rows = connection.exec_driver_sql(words + written.statement, written.positional_parameters)
    return "\n".join(str(row[-1]) for row in rows)


def indexes_of(plan: str) -> set[str]:
    """Name the indexes of tasks that a plan goes through; SQLite calls the one of the primary key by another name."""
    named = re.findall(r"(?:INDEX|using|Index Scan on) (\w*tasks_\w+)", plan)
    return {re.sub("^sqlite_autoindex_tasks_1$", "tasks_pkey", name) for name in named}


#: The indexes of tasks by which every statement finds what it looks for.
INDEXES: Mapping[ClauseElement, set[str]] = {
    accept.MEASURE: {"tasks_alive"},
    accept.PLACE: {"tasks_started", "tasks_in_fair_order", "tasks_claimed"},
    contents.DUE_BY_ITSELF: {"tasks_to_erase"},
    contents.DUE_BY_AGE: {"tasks_to_age"},
    backlog.READ_LOADS: {"tasks_alive"},
    census.COUNT: {"tasks_alive"},
    claim.COUNT_WAITING: {"tasks_alive"},
    claim.ANYTHING_WAITS: {"tasks_in_fair_order"},
    statements.COUNT_QUEUED: {"tasks_in_fair_order"},
    statements.QUARANTINE: {"tasks_by_lease"},
    statements.REQUEUE: {"tasks_by_lease"},
    statements.BEAT: {"tasks_pkey"},
    statements.SUCCEED: {"tasks_pkey"},
    statements.CANCEL: {"tasks_pkey"},
    statements.READ: {"tasks_pkey"},
    statements.READ_STATE: {"tasks_pkey"},
    statements.READ_FENCES: {"tasks_pkey"},
    statements.FORGET_TASKS: {"tasks_by_end", "tasks_pkey"},
}


#: The indexes that hold no ended task.
OF_THE_LIVING = {"tasks_alive", "tasks_in_fair_order", "tasks_running_by_tenant", "tasks_by_lease", "tasks_by_patience"}


async def test_nothing_looks_through_ended_tasks(crowded: Database) -> None:
    """With thousands of ended tasks, every statement goes through the indexes made for it, and never through all."""
    plans = await crowded.write(lambda connection: [explain(connection, statement) for statement in INDEXES])

    for plan, indexes in zip(plans, INDEXES.values(), strict=True):
        # Before it has looked at the rows, PostgreSQL may prefer another index that holds no ended task either.
        assert indexes_of(plan) == indexes or indexes_of(plan) <= OF_THE_LIVING, plan
        assert not LOOKS_THROUGH.search(plan), plan


async def test_a_claim_looks_at_the_first_of_those_that_wait(crowded: Database) -> None:
    """A claim takes the head of an index in fair order without sorting, and counts by an index of what is alive."""
    plan = await crowded.write(lambda connection: explain(connection, claim.CLAIM_ONE))

    counts_by = indexes_of(plan) - {"tasks_in_fair_order", "tasks_pkey"}
    assert "tasks_in_fair_order" in indexes_of(plan), plan
    assert len(counts_by) == 1, plan
    assert counts_by <= {"tasks_alive", "tasks_running_by_tenant"}, plan
    assert not LOOKS_THROUGH.search(plan), plan
    assert "ORDER BY" not in plan
    assert not re.search(r"Sort Key: .*fair_key", plan), plan
