"""The tables' history, forwards only, as Alembic revisions that need no alembic.ini.

Revisions come in pairs so that two versions of the code can run side by side: ``NNNN_pre_…`` adds what the new code
needs and the old one ignores, ``NNNN_post_…`` takes away what only the old one used. Each states its tables anew:
``schema`` moves on, history does not.

    0001_pre ─► 0002_pre ─► 0002_post ─► 0003_pre ─► 0003_post ─► 0004_pre ─► 0005_pre
                            the code of 0003 needs ▲, and puts up with what comes after it
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from deployments.errors import UxoError

#: Where Alembic finds env.py and the revisions, also in an installed wheel.
LOCATION = "deployments.database:migrations"
#: The end of a revision that adds what newer code needs.
PRE = "_pre"


class NotMigrated(UxoError):
    """The database is older than this version of uxo-serve."""


class TooNew(UxoError):
    """The database is newer than this version of uxo-serve."""


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables up to ``revision`` inside the transaction that ``connection`` has open.

    Nothing is committed here: killed half-way, the database is as it was before, and the next call starts again.
    Tables that are further already stay as they are. One call at a time per process.

    Raises:
        TooNew: when the tables are at a revision that this version does not know.
    """
    present = present_revision(connection)
    if present is not None and present not in _history():
        raise TooNew(
            f"the database is at {present}, which this version of uxo-serve does not know; install a newer one"
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def present_revision(connection: Connection) -> str | None:
    """Read how far the tables are; None where there are none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_pre() -> str:
    """Return the newest revision that takes nothing away from the version before this one."""
    return next(revision for revision in reversed(_history()) if revision.endswith(PRE))


def pending_migrations(connection: Connection) -> tuple[str, ...]:
    """Return the revisions that this version of the code cannot do without and the tables do not have, oldest first.

    A revision that this version does not know is a newer one's, and newer tables serve older code too.
    """
    history = _history()
    needed = history[: history.index(newest_pre()) + 1]
    present = present_revision(connection)
    if present is None:
        return needed
    return needed[history.index(present) + 1 :] if present in history else ()


def check_migrated(connection: Connection) -> None:
    """Return if the tables have all that this version needs.

    Raises:
        NotMigrated: naming what is missing and the command that adds it.
    """
    if missing := pending_migrations(connection):
        raise NotMigrated(f"the database lacks {', '.join(missing)}; run: uxo migrate")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", LOCATION)
    return config


def _history() -> tuple[str, ...]:
    newest_first = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(script.revision for script in newest_first)[::-1]
