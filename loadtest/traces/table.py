"""One gentle pass over a live task table: narrow columns, in no order, nothing written.

    one SELECT ──► rows by the thousand, as they lie ──► whoever asked sorts them

No index leads with the time of arrival, so a database that was asked for an order would sort the whole table, and one
that was asked page by page would do so for every page. Prompts are in another table; of pictures, which may be kept
inline, the database tells the number and the first one's sides, and none of them travels.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Double, Integer, Row, Select, Text, bindparam, exc, literal_column, make_url, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from deployments.database.schema import tasks
from deployments.database.sqlite import file_of, reading_engine
from loadtest.traces.span import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.sql.compiler import SQLCompiler

#: Rows that travel at once.
PAGE = 1000
#: Seconds for which a server works on a page before it gives up, and the client's own patience, a little longer.
PAGE_TIMEOUT_S, ANSWER_TIMEOUT_S = 60, 65.0
CONNECT_TIMEOUT_S = 5.0

#: What a connection asks of a server: it may write nothing, and what it left behind ends by itself.
SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "application_name": "uxo trace record",
        "default_transaction_read_only": "on",
        "statement_timeout": str(PAGE_TIMEOUT_S * 1000),
        "lock_timeout": "3000",
        "idle_in_transaction_session_timeout": "60000",
    }
)


class NoDatabase(Exception):
    """There is nothing to record from; the message says why in one line."""


class picture_count(FunctionElement[int]):  # noqa: N801 -- written in statements like the SQL function that it stands for
    """Count the pictures in a text of JSON."""

    inherit_cache = True
    name = "picture_count"
    type = Integer()


class first_side(FunctionElement[str]):  # noqa: N801 -- as above
    """Return a side of the first picture in a text of JSON; NULL where there is none."""

    inherit_cache = True
    name = "first_side"
    type = Text()


@compiles(picture_count, "sqlite")
def _sqlite_count(element: picture_count, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_length({compiler.process(element.clauses, **options)})"


@compiles(picture_count, "postgresql")
def _postgresql_count(element: picture_count, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_length(CAST({compiler.process(element.clauses, **options)} AS json))"


@compiles(first_side, "sqlite")
def _sqlite_side(element: first_side, compiler: SQLCompiler, **options: Any) -> str:
    text, name = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(json_extract({text}, '$[0].' || {name}) AS TEXT)"


@compiles(first_side, "postgresql")
def _postgresql_side(element: first_side, compiler: SQLCompiler, **options: Any) -> str:
    text, name = (compiler.process(clause, **options) for clause in element.clauses)
    return f"json_extract_path_text(CAST({text} AS json), '0', {name})"


#: What callers asked for within a span; what operators repeated is left out.
READ_ALL: Select[Any] = select(
    tasks.c.id,
    tasks.c.tenant_id,
    tasks.c.dialect,
    tasks.c.model,
    tasks.c.sink,
    tasks.c.state,
    tasks.c.steps_total,
    tasks.c.work_units,
    tasks.c.created_at,
    tasks.c.finished_at,
    picture_count(tasks.c.outputs).label("outputs"),
    first_side(tasks.c.outputs, literal_column("'width'")).label("width"),
    first_side(tasks.c.outputs, literal_column("'height'")).label("height"),
).where(
    tasks.c.replay_of.is_(None),
    tasks.c.created_at >= bindparam("since_s", type_=Double),
    tasks.c.created_at < bindparam("until_s", type_=Double),
)


async def rows_of(url: str, span: Span) -> AsyncIterator[Row[Any]]:
    """Yield every task that came in a span, in no order.

    Raises:
        NoDatabase: when there is none, it cannot be reached, or it is not one of ours.
    """
    ends = {
        "since_s": span.since.timestamp() if span.since else -math.inf,
        "until_s": span.until.timestamp() if span.until else math.inf,
    }
    with _in_one_line():
        async for row in _pass_of(url)(url, READ_ALL, ends):
            yield row


#: Streams a statement's rows from the database at an address.
Pass = Callable[[str, Select[Any], Mapping[str, float]], AsyncIterator[Row[Any]]]


async def pass_over_file(url: str, statement: Select[Any], values: Mapping[str, float]) -> AsyncIterator[Row[Any]]:
    """Stream a statement from a SQLite file; one that is not there is not made, and one that is old stays so."""
    path = file_of(url)
    if not path.is_file():
        raise NoDatabase(f"there is no file {path}")
    engine = reading_engine(url)
    try:
        with engine.connect() as connection:
            for row in connection.execute(statement, values, execution_options={"yield_per": PAGE}):
                yield row
    finally:
        engine.dispose()


async def pass_over_server(url: str, statement: Select[Any], values: Mapping[str, float]) -> AsyncIterator[Row[Any]]:
    """Stream a statement from a PostgreSQL server, through a cursor of its own."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": ANSWER_TIMEOUT_S,
            "server_settings": dict(SERVER_SETTINGS),
        },
    )
    try:
        async with engine.connect() as connection:
            found = await connection.stream(statement, values, execution_options={"yield_per": PAGE})
            async for row in found:
                yield row
    finally:
        await engine.dispose()


#: Who passes over each kind of database.
PASSES: Mapping[str, Pass] = MappingProxyType({"sqlite": pass_over_file, "postgresql": pass_over_server})


def _pass_of(url: str) -> Pass:
    try:
        kind = make_url(url).get_backend_name()
    except (ValueError, exc.ArgumentError) as error:
        # Not repeated, for it may hold a password.
        example = "sqlite:///var/uxo.db or postgresql+asyncpg://uxo@host:5432/uxo"
        raise NoDatabase(f"this is no address of a database; it has to be like {example}") from error
    if kind not in PASSES:
        raise NoDatabase(f"nothing here reads a {kind} database; there are: {', '.join(PASSES)}")
    return PASSES[kind]


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except (exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        # The database's own words, without the statement and without a link to a manual.
        cause = getattr(error, "orig", None) or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise NoDatabase(f"the database cannot be read: {reason}") from error
