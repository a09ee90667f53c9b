"""Drop the index that only code before 0002 claimed by."""

from __future__ import annotations

from alembic import op

revision = "0002_post"
down_revision = "0002_pre"


def upgrade() -> None:
    """Drop it."""
    op.drop_index("tasks_by_fair_key", "tasks")
