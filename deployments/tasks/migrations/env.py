"""What Alembic runs to reach the database: it takes the connection that ``upgrade`` was given and opens none."""

from __future__ import annotations

from alembic import context

from deployments.tasks.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Alembic mistrusts SQLite here, but SQLite rolls back tables like rows once the transaction is opened by hand.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
