"""The end of a task, its price and who is told: one transaction, so a task is charged once and no end goes untold.

succeeded                the price
failed, quarantined      nothing; but the price where only its upload address did not take pictures that are kept
cancelled                the share of its steps that were taken
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Row, Text, bindparam, insert, update

from deployments.database.schema import charges, tenants
from deployments.errors import FaultKind
from deployments.tasks.outbox import enqueue
from deployments.tasks.task import TaskState
from deployments.telemetry.metrics import TASK_SECONDS, TASKS_ENDED, WORK_UNITS

#: Give back what was held for a tenant's tasks, and add what they have cost.
SETTLE = (
    update(tenants)
    .where(tenants.c.id == bindparam("this_tenant", type_=Text))
    .values(held=tenants.c.held - bindparam("released"), spent=tenants.c.spent + bindparam("charged"))
)

#: Write down what a task has cost; a second time is refused by the table's key.
INSERT_CHARGE = insert(charges)


def end(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Run a statement that ends tasks and returns their rows, settle what they cost, and write down who is told.

    Returns:
        The rows of the tasks that it ended, to be counted once the transaction is committed.
    """
    ended = connection.execute(statement, values).all()
    enqueue(connection, ended)
    _settle(connection, ended)
    return ended


def count(ended: Sequence[Row[Any]]) -> int:
    """Count tasks whose end is committed, and return how many they are."""
    for row in ended:
        TASKS_ENDED.add(model=row.model, outcome=str(row.fault_kind or row.state))
        if row.state == TaskState.SUCCEEDED:
            # A task is accepted by the clock of a process, which may be ahead of the database's.
            TASK_SECONDS.observe(max(row.finished_at - row.created_at, 0.0), model=row.model)
            WORK_UNITS.add(row.work_units, model=row.model)
    return len(ended)


def charge(
    state: TaskState, fault_kind: FaultKind | None = None, *, price: int, steps_done: int, steps_total: int
) -> int:
    """Return what an ended task costs, in the unit of its price; docs/adr/0008 says why an upload is not waited for."""
    match state, fault_kind:
        case (TaskState.SUCCEEDED, _) | (TaskState.FAILED, FaultKind.UPLOAD_FAILED):
            return price
        case (TaskState.CANCELLED, _):
            return price * min(steps_done, steps_total) // steps_total
    return 0


def _settle(connection: Connection, ended: Sequence[Row[Any]]) -> None:
    # Everyone locks tenants in the same order, so no two transactions can wait for each other.
    for row in sorted(ended, key=lambda row: str(row.tenant_id)):
        kind = row.fault_kind and FaultKind(row.fault_kind)
        amount = charge(
            TaskState(row.state), kind, price=row.price, steps_done=row.steps_done, steps_total=row.steps_total
        )
        connection.execute(SETTLE, {"this_tenant": row.tenant_id, "released": row.price, "charged": amount})
        if amount:
            _write_down(connection, row, amount)


def _write_down(connection: Connection, row: Row[Any], amount: int) -> None:
    entry = {"task_id": row.id, "tenant_id": row.tenant_id, "model": row.model}
    connection.execute(INSERT_CHARGE, entry | {"amount": amount, "charged_at": row.finished_at})
