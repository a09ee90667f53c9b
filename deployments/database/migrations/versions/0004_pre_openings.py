"""Add what an operator opened for a tenant: names and ranges that its calls may reach besides the public internet.

The column may be null, so that code which does not know it can go on inserting.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_pre"
down_revision = "0003_post"


def upgrade() -> None:
    """Add the column."""
    op.add_column("tenants", sa.Column("openings", sa.Text))
