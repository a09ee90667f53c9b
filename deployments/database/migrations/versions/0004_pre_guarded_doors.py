"""Add when what tasks hold is erased, what a tenant's pictures and calls may take and reach, and previews.

Every new column may be null or has a usual value, so that code which does not know it can go on inserting. Pictures
that were kept before count towards no limit until their time is over.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_pre"
down_revision = "0003_post"


def upgrade() -> None:
    """Make what is new, and note what is due of that which is there."""
    op.add_column("tenants", sa.Column("openings", sa.Text))
    op.add_column("tenants", sa.Column("lifetime_s", sa.Double))
    op.add_column("tenants", sa.Column("max_kept", sa.BigInteger, server_default="2000000000"))
    op.add_column("tasks", sa.Column("erase_at", sa.Double))
    op.add_column("tasks", sa.Column("erased_at", sa.Double))
    op.add_column("tasks", sa.Column("preview", sa.Text))
    op.execute("UPDATE tasks SET erase_at = 0 WHERE deleted_at IS NOT NULL")
    op.execute(
        "UPDATE tasks SET erase_at = finished_at + lifetime_s "
        "WHERE deleted_at IS NULL AND finished_at IS NOT NULL AND lifetime_s IS NOT NULL"
    )
    own_time = sa.text("erase_at IS NOT NULL")
    op.create_index("tasks_to_erase", "tasks", ["erase_at"], sqlite_where=own_time, postgresql_where=own_time)
    usual_time = sa.text("finished_at IS NOT NULL AND erase_at IS NULL AND erased_at IS NULL")
    op.create_index("tasks_to_age", "tasks", ["finished_at"], sqlite_where=usual_time, postgresql_where=usual_time)
    _make_room()


def _make_room() -> None:
    op.create_table(
        "kept_pictures",
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("taken_at", sa.Double),
    )
    op.create_index("kept_by_tenant", "kept_pictures", ["tenant_id", "expires_at", "size_bytes"])
    op.create_index("kept_by_expiry", "kept_pictures", ["expires_at"])
