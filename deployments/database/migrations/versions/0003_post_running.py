"""Drop the index by which nobody counted what runs."""

from __future__ import annotations

from alembic import op

revision = "0003_post"
down_revision = "0003_pre"


def upgrade() -> None:
    """Drop it."""
    op.drop_index("tasks_running", "tasks")
