"""Add tenants, keys, money, idempotency and fair order; let PostgreSQL tell of changes.

Every new column of tasks has a default, so that code which does not know it can go on inserting.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_pre"
down_revision = "0001_pre"

TELL = """
CREATE FUNCTION uxo_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('uxo_tasks', '');
    RETURN NULL;
END $$
"""
TELL_OF_TASKS = """
CREATE TRIGGER uxo_tell AFTER INSERT OR UPDATE OF state ON tasks
FOR EACH ROW WHEN (NEW.state <> 'running') EXECUTE FUNCTION uxo_tell()
"""


def upgrade() -> None:
    """Make what is new."""
    _make_tenants()
    _widen_tasks()
    _make_companions()
    if op.get_context().dialect.name == "postgresql":
        op.execute(TELL)
        op.execute(TELL_OF_TASKS)


def _make_tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("max_queued", sa.Integer),
        sa.Column("max_queued_units", sa.Double),
        sa.Column("max_running", sa.Integer),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("budget", sa.BigInteger),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("paced_until_s", sa.Double, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
    )
    op.create_index("api_keys_by_tenant", "api_keys", ["tenant_id"])


def _widen_tasks() -> None:
    op.add_column("tasks", sa.Column("work_units", sa.Double, nullable=False, server_default="1"))
    op.add_column("tasks", sa.Column("weight", sa.Double, nullable=False, server_default="1"))
    op.add_column("tasks", sa.Column("steps_total", sa.Integer, nullable=False, server_default="1"))
    op.add_column("tasks", sa.Column("price", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("replay_of", sa.Text))
    _index("tasks_in_fair_order", ["model", "fair_key", "created_at", "id"], where="state IN ('queued')")
    _index("tasks_running", ["model", "fair_key"], where="state IN ('running')")
    _index("tasks_started", ["model", "fair_key"], where="started_at IS NOT NULL")
    _index("tasks_claimed", ["tenant_id", "model", "fair_key"], where="fence > 0")
    accept = ["tenant_id", "state", "model", "fair_key", "work_units", "weight", "created_at"]
    _index("tasks_alive", accept, where="state IN ('queued', 'running')")


def _index(name: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, "tasks", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _make_companions() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("idempotency_keys_by_task", "idempotency_keys", ["task_id"])
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"])
    op.create_table(
        "charges",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("charged_at", sa.Double, nullable=False),
    )
    op.create_index("charges_by_tenant", "charges", ["tenant_id", "charged_at"])
