"""The tables' history, forwards only, as Alembic revisions that need no alembic.ini.

Revisions come in pairs so that two versions of the code can run side by side: ``NNNN_pre_…`` adds what the new code
needs and the old one ignores, ``NNNN_post_…`` takes away what only the old one used. Each states its tables anew:
``schema`` moves on, history does not.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

#: Where Alembic finds env.py and the revisions, also in an installed wheel.
LOCATION = "deployments.tasks:migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables up to ``revision`` inside the transaction that ``connection`` has open.

    Nothing is committed here: killed half-way, the database is as it was before, and the next call starts again.
    One call at a time per process.
    """
    config = Config()
    config.set_main_option("script_location", LOCATION)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
