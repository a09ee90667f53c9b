"""What Alembic runs to reach the database: it takes the connection that ``upgrade`` was given and opens none."""

from __future__ import annotations

from alembic import context

from deployments.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
# The caller's transaction is open already, so this one adds nothing and, above all, commits nothing.
with context.begin_transaction():
    context.run_migrations()
