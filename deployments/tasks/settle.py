"""The end of a task, its price and who is told: one transaction, so a task is charged once and no end goes untold.

succeeded                the price
failed, quarantined      nothing; but the price once pictures that could not be sent are sent after all
cancelled                the share of its steps that were taken
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Row, Text, bindparam, insert, select, update

from deployments.clock import utc_now
from deployments.database.schema import charges, tenants
from deployments.errors import FaultKind
from deployments.tasks.outbox import enqueue
from deployments.tasks.task import Task, TaskState
from deployments.telemetry.metrics import TASK_SECONDS, TASKS_ENDED, WORK_UNITS

#: Give back what was held for a tenant's tasks, and add what they have cost.
SETTLE = (
    update(tenants)
    .where(tenants.c.id == bindparam("this_tenant", type_=Text))
    .values(held=tenants.c.held - bindparam("released"), spent=tenants.c.spent + bindparam("charged"))
)

#: Write down what a task has cost; a second time is refused by the table's key.
INSERT_CHARGE = insert(charges)

#: Read whether a task was charged.
FIND_CHARGE = select(charges.c.task_id).where(charges.c.task_id == bindparam("this_id", type_=Text))


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


def charge(state: TaskState, *, price: int, steps_done: int, steps_total: int) -> int:
    """Return what an ended task costs, in the unit of its price."""
    match state:
        case TaskState.SUCCEEDED:
            return price
        case TaskState.CANCELLED:
            return price * min(steps_done, steps_total) // steps_total
    return 0


def charge_late(connection: Connection, task: Task) -> None:
    """Charge a task in full whose pictures its tenant has got after all; once, however often they are sent."""
    if task.fault is None or task.fault.kind is not FaultKind.UPLOAD_FAILED or not task.price:
        return
    if connection.execute(FIND_CHARGE, {"this_id": task.id}).first():
        return
    connection.execute(SETTLE, {"this_tenant": task.tenant_id, "released": 0, "charged": task.price})
    entry = {"task_id": task.id, "tenant_id": task.tenant_id, "model": task.model, "amount": task.price}
    connection.execute(INSERT_CHARGE, entry | {"charged_at": utc_now().timestamp()})


def _settle(connection: Connection, ended: Sequence[Row[Any]]) -> None:
    # Everyone locks tenants in the same order, so no two transactions can wait for each other.
    for row in sorted(ended, key=lambda row: str(row.tenant_id)):
        amount = charge(TaskState(row.state), price=row.price, steps_done=row.steps_done, steps_total=row.steps_total)
        connection.execute(SETTLE, {"this_tenant": row.tenant_id, "released": row.price, "charged": amount})
        if amount:
            _write_down(connection, row, amount)


def _write_down(connection: Connection, row: Row[Any], amount: int) -> None:
    entry = {"task_id": row.id, "tenant_id": row.tenant_id, "model": row.model}
    connection.execute(INSERT_CHARGE, entry | {"amount": amount, "charged_at": row.finished_at})
