"""What is special about PostgreSQL: a server that goes away and comes back, limits on waiting, and collisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from postgresql_server import PostgresServer, require_postgresql
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.pool import NullPool

from deployments.database.database import CHECKOUT_TIMEOUT_S, Database, open_database
from deployments.database.migrations.move import move
from deployments.database.postgresql import ANSWER_TIMEOUT_S, ATTEMPTS, POOL_SIZE, make_engine
from deployments.database.schema import metadata
from deployments.database.signals import StoreSignal, open_signal
from deployments.errors import Unavailable
from deployments.telemetry.instruments import value_of
from deployments.telemetry.metrics import DATABASE_ERRORS

#: Less than a call takes that waits in vain for its turn or for an answer, in seconds; nobody here may need to.
UNHELD_S = min(CHECKOUT_TIMEOUT_S, ANSWER_TIMEOUT_S)
#: Far longer than anything here takes.
LONG_S = 30.0
#: What a server says when it waits for a question. Source: PostgreSQL 15 documentation, 55.7, ReadyForQuery.
READY = b"Z\x00\x00\x00\x05I"

COUNT = text("SELECT total FROM counter")
ADD = text("UPDATE counter SET total = total + 1")
#: Ends the very session that asks for it, as an operator ends one that holds up others.
END_MYSELF = text("SELECT pg_terminate_backend(pg_backend_pid())")
SERIALIZABLE = text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a server of this module's own, which its tests may stop."""
    require_postgresql()
    server = PostgresServer(durable=True)
    server.start()
    yield server
    server.close()


@pytest.fixture
def url(server: PostgresServer) -> str:
    """Return the URL of a database in which something can be counted; its server runs."""
    if not server.is_running():
        server.start()
    name = server.create_database()
    server.run_sql("CREATE TABLE counter AS SELECT 0 AS total", database=name)
    return server.url(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Return the database, opened as a process opens it."""
    database = await open_database(url)
    yield database
    await database.close()


def add(connection: Connection) -> None:
    """Count one."""
    connection.execute(ADD)


async def total(database: Database) -> int:
    """Read how much was counted."""
    return int((await database.rows(COUNT))[0].total)


async def until_it_works(call: Callable[[], Awaitable[object]]) -> None:
    """Call again and again while the answer is Unavailable."""
    while True:
        with suppress(Unavailable):
            await call()
            return


def stop(server: PostgresServer) -> None:
    """Stop the server as an operator does, who waits for nobody."""
    server.stop("fast")


def crash(server: PostgresServer) -> None:
    """Stop the server as it stops when one of its processes has broken its memory."""
    server.stop("immediate")


def kill(server: PostgresServer) -> None:
    """Stop the server as a power cut does."""
    server.kill()


@pytest.mark.parametrize("go_away", [stop, crash, kill])
async def test_service_returns_with_the_server(
    server: PostgresServer, database: Database, go_away: Callable[[PostgresServer], None]
) -> None:
    """Without its server every call is refused quickly and counted; with it, the same open database works again."""
    await asyncio.gather(*(database.write(add) for _ in range(POOL_SIZE)))
    await asyncio.to_thread(go_away, server)
    counted = value_of(DATABASE_ERRORS)
    calls = [*(database.write(add) for _ in range(20)), *(total(database) for _ in range(20))]
    async with asyncio.timeout(UNHELD_S):
        refused = await asyncio.gather(*calls, return_exceptions=True)
    errors = value_of(DATABASE_ERRORS) - counted

    await asyncio.to_thread(server.start)
    async with asyncio.timeout(UNHELD_S):
        await until_it_works(lambda: total(database))
    await database.write(add)

    assert {type(answer) for answer in refused} == {Unavailable}
    assert errors == len(refused)
    assert await total(database) == POOL_SIZE + 1


async def test_a_session_that_is_ended_under_its_statement_is_counted(
    database: Database,
) -> None:
    """Who had it is told Unavailable, the counter that wakes an operator moves by one, and the next call is good."""
    await total(database)
    counted = value_of(DATABASE_ERRORS)

    with pytest.raises(Unavailable):
        await database.write(lambda connection: connection.execute(END_MYSELF))

    assert value_of(DATABASE_ERRORS) - counted == 1
    assert await total(database) == 0
    assert value_of(DATABASE_ERRORS) - counted == 1


@pytest.mark.parametrize("go_away", [stop, crash, kill])
async def test_what_was_answered_outlives_the_server(
    server: PostgresServer, database: Database, go_away: Callable[[PostgresServer], None]
) -> None:
    """Of writes under way while the server goes, all that were answered are there, and none that was never begun."""
    outcomes: list[BaseException | None] = []
    first = asyncio.Event()

    async def keep_adding() -> None:
        while not any(outcomes):
            [outcome] = await asyncio.gather(database.write(add), return_exceptions=True)
            outcomes.append(outcome)
            first.set()

    adding = [asyncio.create_task(keep_adding()) for _ in range(4)]
    await asyncio.wait_for(first.wait(), LONG_S)

    await asyncio.to_thread(go_away, server)
    await asyncio.wait_for(asyncio.gather(*adding), LONG_S)
    await asyncio.to_thread(server.start)
    await asyncio.wait_for(until_it_works(lambda: total(database)), LONG_S)

    lost = [outcome for outcome in outcomes if outcome is not None]
    assert {type(outcome) for outcome in lost} == {Unavailable}
    assert len(outcomes) - len(lost) <= await total(database) <= len(outcomes)


async def test_a_restart_between_two_calls_is_not_noticed(server: PostgresServer, database: Database) -> None:
    """A server that was away while nobody asked it costs nobody a refusal."""
    await asyncio.gather(*(total(database) for _ in range(POOL_SIZE)))

    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)

    assert await asyncio.gather(*(total(database) for _ in range(POOL_SIZE))) == [0] * POOL_SIZE


async def test_a_server_that_was_never_there_is_unavailable(server: PostgresServer, url: str) -> None:
    """A process may start before its database, and needs no restart when that comes."""
    server.stop()
    database = await open_database(url)
    with pytest.raises(Unavailable):
        await database.rows(COUNT)

    server.start()

    assert await total(database) == 0
    await database.close()


async def test_first_connections_that_break_while_they_wait_are_unavailable(server: PostgresServer, url: str) -> None:
    """The first connections of a process are prepared one after another, and may break before their turn comes."""
    relay = await asyncio.start_server(Brittle(server.port).carry, "127.0.0.1", 0)
    port = relay.sockets[0].getsockname()[1]
    database = await open_database(url.replace(f":{server.port}/", f":{port}/"))

    answers = await asyncio.gather(*(total(database) for _ in range(POOL_SIZE)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {Unavailable}
    await database.close()
    relay.close()


class Brittle:
    """A way to the server on which all connections break at the first answer to a question, once the pool is full."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._ends: list[asyncio.StreamWriter] = []
        self._let_in: set[asyncio.StreamWriter] = set()
        self._all_in = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        below_reader, below = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._ends.extend([writer, below])
        await asyncio.gather(self._ask(reader, below), self._answer(below_reader, writer), return_exceptions=True)

    async def _ask(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            target.write(piece)

    async def _answer(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            if b"PostgreSQL" in piece:  # the answer to the first question of all
                await self._break()
            target.write(piece)
            if READY in piece:
                self._let_in.add(target)
            if len(self._let_in) == POOL_SIZE:
                self._all_in.set()

    async def _break(self) -> None:
        await self._all_in.wait()
        for end in self._ends:
            end.transport.abort()


async def test_an_unknown_database_is_unavailable(server: PostgresServer) -> None:
    """A database that is not there yet may be made while the process runs."""
    database = await open_database(server.url("not_there"))

    with pytest.raises(Unavailable):
        await database.rows(text("SELECT 1"))

    await database.close()


async def test_a_server_that_is_full_is_unavailable(server: PostgresServer, url: str) -> None:
    """A server that takes no more connections refuses calls, and takes them when there is room again."""
    name = url.rpartition("/")[2]
    server.run_sql(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0; GRANT SELECT ON counter TO {name}", database=name)
    database = await open_database(url.replace("uxo@", f"{name}@"))
    with pytest.raises(Unavailable):
        await total(database)

    server.run_sql(f"ALTER ROLE {name} CONNECTION LIMIT 1")

    assert await total(database) == 0
    await database.close()


async def test_a_row_that_stays_locked_is_unavailable(url: str, database: Database) -> None:
    """A write waits for a row only so long and a read not at all; afterwards both work."""
    other = make_engine(url, poolclass=NullPool)
    async with other.begin() as holding:
        await holding.execute(ADD)

        with pytest.raises(Unavailable):
            await asyncio.wait_for(database.write(add), LONG_S)

        assert await total(database) == 0
    await other.dispose()

    await database.write(add)
    assert await total(database) == 2


async def test_collisions_are_tried_again(database: Database) -> None:
    """Transactions of which only one at a time can win all win, one after another, and each counts once."""

    def add_serially(connection: Connection) -> None:
        connection.execute(SERIALIZABLE)
        connection.execute(COUNT)
        connection.execute(ADD)

    await asyncio.gather(*(database.write(add_serially) for _ in range(ATTEMPTS)))

    assert await total(database) == ATTEMPTS


async def test_a_transaction_whose_end_nobody_knows_is_not_made_again(database: Database) -> None:
    """What may have been written is not written again: that would be a second time."""
    tries: list[None] = []

    def end_unknown(connection: Connection) -> None:
        tries.append(None)
        connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40003'; END $$"))

    with pytest.raises(Unavailable):
        await database.write(end_unknown)

    assert len(tries) == 1


async def test_a_caller_who_goes_away_leaves_a_whole_transaction(database: Database) -> None:
    """A write whose caller is cancelled runs to its end, and closing waits for that."""

    def add_twice(connection: Connection) -> None:
        connection.execute(ADD)
        connection.execute(ADD)

    leaving = asyncio.create_task(database.write(add_twice))
    await asyncio.sleep(0)  # it has begun

    leaving.cancel()
    await asyncio.wait({leaving})
    await database.close()

    assert leaving.cancelled()
    assert await total(database) == 2


async def test_a_mistake_in_a_statement_is_not_called_unavailable(database: Database) -> None:
    """A column that is not there and a number that is none are our mistakes, and stay loud."""
    with pytest.raises(ProgrammingError):
        await database.rows(text("SELECT nothing FROM counter"))
    with pytest.raises(DBAPIError, match="division by zero"):
        await database.rows(text("SELECT 1 / 0"))

    assert await total(database) == 0


async def test_a_signal_outlives_the_server(server: PostgresServer, url: str) -> None:
    """Who waits is woken when the server goes, when it comes back, and by the first notification after that."""
    signal = open_signal(url)
    await wake(signal, lambda: None)  # beginning to listen

    await wake(signal, server.kill)
    await wake(signal, server.start)
    await wake(signal, lambda: notify(server, url))

    await signal.close()


async def test_a_signal_of_another_database_wakes_nobody(server: PostgresServer, url: str) -> None:
    """Databases of one server do not hear each other."""
    signal = open_signal(url)
    await wake(signal, lambda: None)  # beginning to listen
    mark = signal.mark()

    notify(server, server.url())
    await signal.wait(mark, timeout_s=0.1)

    assert signal.mark() == mark
    await signal.close()


async def wake(signal: StoreSignal, act: Callable[[], None]) -> None:
    """Do something, and wait until the signal has noticed it."""
    mark = signal.mark()
    await asyncio.to_thread(act)
    async with asyncio.timeout(LONG_S):
        while signal.mark() == mark:
            await signal.wait(mark, timeout_s=LONG_S)


def notify(server: PostgresServer, url: str) -> None:
    """Notify as the trigger of the tasks table does."""
    server.run_sql("NOTIFY uxo_tasks", database=url.rpartition("/")[2])


async def test_the_migrations_make_what_the_schema_says(url: str) -> None:
    """After all migrations, by several processes at once, the tables are those that the statements are built on."""
    await asyncio.gather(*(move(url, post=True) for _ in range(3)))

    engine = make_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
        )
    await engine.dispose()
    assert [each for each in differences if each[0] != "remove_table"] == []  # the table that is counted in is ours


async def test_a_migration_that_fails_leaves_nothing_behind(server: PostgresServer, url: str) -> None:
    """A migration that breaks after its first table takes that back too, and the next one finishes the job."""
    name = url.rpartition("/")[2]
    server.run_sql("CREATE TABLE task_requests (in_the_way TEXT)", database=name)
    with pytest.raises(ProgrammingError, match="already exists"):
        await move(url, post=True)
    left_behind = server.run_sql(TABLES, database=name).split()
    server.run_sql("DROP TABLE task_requests", database=name)

    await move(url, post=True)

    assert left_behind == ["counter", "task_requests"]
    assert server.run_sql(TABLES, database=name).split() == sorted(["alembic_version", "counter", *metadata.tables])
