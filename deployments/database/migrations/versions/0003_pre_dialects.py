"""Add what more dialects need: webhooks and their outbox, what callers had sent, life times, and deleted tasks.

Every new column of tasks may be null, so that code which does not know it can go on inserting.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_pre"
down_revision = "0002_post"


def upgrade() -> None:
    """Make what is new."""
    _widen_tasks()
    op.create_table(
        "task_bodies",
        sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    _make_outbox()


def _widen_tasks() -> None:
    op.add_column("tasks", sa.Column("webhook", sa.Text))
    op.add_column("tasks", sa.Column("upload_url", sa.Text))
    op.add_column("tasks", sa.Column("lifetime_s", sa.Double))
    op.add_column("tasks", sa.Column("start_before", sa.Double))
    op.add_column("tasks", sa.Column("deleted_at", sa.Double))
    running = sa.text("state IN ('running')")
    op.create_index("tasks_running_by_tenant", "tasks", ["tenant_id"], sqlite_where=running, postgresql_where=running)
    impatient = sa.text("state IN ('queued') AND start_before IS NOT NULL")
    op.create_index("tasks_by_patience", "tasks", ["start_before"], sqlite_where=impatient, postgresql_where=impatient)


def _make_outbox() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("picture", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("body", sa.Text),
        sa.Column("last_answer", sa.Text),
    )
    waiting = sa.text("state = 'waiting'")
    by_time, by_host = ["due_at", "host", "tenant_id"], ["host", "due_at"]
    op.create_index("webhooks_due", "webhooks", by_time, sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("webhooks_due_by_host", "webhooks", by_host, sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("webhooks_by_task", "webhooks", ["task_id"])
    op.create_index("webhooks_by_tenant", "webhooks", ["tenant_id", "created_at"])
