"""Add to every task how long devices worked on it, where its time went, and which trace it belongs to.

Every new column may be null, so that code which does not know it can go on inserting. For a day 0004 had them too, so
a database of that day has them already.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_pre"
down_revision = "0004_pre"


def upgrade() -> None:
    """Make what is new and not there."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("tasks")}
    new = [sa.Column("device_s", sa.Double), sa.Column("spent", sa.Text), sa.Column("traceparent", sa.Text)]
    for column in new:
        if column.name not in present:
            op.add_column("tasks", column)
