"""Make the tables of tasks and their requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_pre"
down_revision = None


def upgrade() -> None:
    """Make the tables and their indexes."""
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("fair_key", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("steps_done", sa.Integer, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("lease_expires_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("inference_ms", sa.Integer, nullable=False),
        sa.Column("fault_kind", sa.Text),
        sa.Column("fault_message", sa.Text),
        sa.Column("outputs", sa.Text, nullable=False),
    )
    op.create_index("tasks_by_fair_key", "tasks", ["state", "model", "fair_key", "id"])
    op.create_index("tasks_by_tenant", "tasks", ["tenant_id", "created_at"])
    has_lease = sa.text("lease_expires_at IS NOT NULL")
    op.create_index("tasks_by_lease", "tasks", ["lease_expires_at"], sqlite_where=has_lease, postgresql_where=has_lease)
    has_end = sa.text("finished_at IS NOT NULL")
    op.create_index("tasks_by_end", "tasks", ["finished_at"], sqlite_where=has_end, postgresql_where=has_end)
    op.create_table(
        "task_requests",
        sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
    )
