"""The product's doors to its database, as the harness uses them; the one place here that knows where they live."""

from __future__ import annotations

from deployments.database.database import Database, Result, open_database
from deployments.database.migrations.move import move
from deployments.database.schema import database_now, tasks, tenants
from deployments.database.signals import StoreSignal, open_signal

__all__ = [
    "Database",
    "Result",
    "StoreSignal",
    "database_now",
    "move",
    "open_database",
    "open_signal",
    "tasks",
    "tenants",
]
