"""What the directory of tenants and keys keeps to, on every kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from deployments.database.database import Database, open_database
from deployments.errors import Unauthenticated, Unavailable
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Success, Task
from deployments.tenants.directory import (
    MAX_LIVE_KEYS,
    NoSuchKey,
    NoSuchTenant,
    TenantDirectory,
    TenantExists,
    TenantInvalid,
    TooManyKeys,
)
from deployments.tenants.tenant import DEFAULT_MAX_QUEUED, Tenant
from models.request import GenerationRequest

MakeTask = Callable[..., Task]
MakeRequest = Callable[..., GenerationRequest]
CAROL = Tenant(
    id="carol.of-the_9th",
    weight=0.25,
    models=frozenset({"uno", "uso"}),
    max_queued=7,
    max_queued_units=1.5,
    max_running=2,
    requests_per_minute=60,
    budget=2**53,
    openings=frozenset({"10.20.0.0/16", "*.corp.example"}),
    lifetime_s=3600.0,
    max_kept=2**40,
)


class LateDirectory(TenantDirectory):
    """A directory whose database is away at first."""

    looks = 0

    async def find(self, tenant_id: str) -> Tenant | None:
        """Find nobody until the third look."""
        self.looks += 1
        if self.looks < 3:
            raise Unavailable
        return await super().find(tenant_id)


async def add_keys(directory: TenantDirectory, tenant_id: str, *key_ids: str) -> None:
    """Write down keys; the digest of each is its id and some more."""
    for key_id in key_ids:
        await directory.add_key(tenant_id, key_id=key_id, digest=f"digest of {key_id}")


async def live_keys(directory: TenantDirectory, tenant_id: str) -> list[str]:
    """Name a tenant's good keys, the oldest first."""
    return [key.id for key in await directory.keys_of(tenant_id) if key.revoked_at is None]


async def test_a_tenant_is_read_as_it_was_made(directory: TenantDirectory) -> None:
    """Every limit comes back as it was set, and a new tenant has spent nothing."""
    await directory.create(CAROL)

    assert await directory.find(CAROL.id) == CAROL


async def test_a_tenant_of_whom_nothing_is_said_has_the_usual_limits(directory: TenantDirectory) -> None:
    """Without a word there is a bound on what waits and no other limit."""
    await directory.ensure("dave")

    assert await directory.find("dave") == Tenant(id="dave", max_queued=DEFAULT_MAX_QUEUED)


async def test_a_list_that_allows_nothing_is_not_no_list(directory: TenantDirectory) -> None:
    """An empty list of models stays empty."""
    await directory.create(replace(CAROL, models=frozenset()))

    found = await directory.find(CAROL.id)

    assert found is not None
    assert found.models == frozenset()


async def test_openings_are_read_for_the_one_who_has_them(directory: TenantDirectory) -> None:
    """What was opened for a tenant can be asked for alone, and nothing is open to anybody else."""
    await directory.create(CAROL)
    await directory.ensure("dave")

    opened = [[str(one) for one in await directory.openings_of(name)] for name in (CAROL.id, "dave", "nobody")]

    assert opened == [["*.corp.example", "10.20.0.0/16"], [], []]


@pytest.mark.parametrize(
    "openings", [{"http://a.example"}, {"10.20.0.1/16"}, {f"10.0.0.{number}" for number in range(65)}]
)
async def test_what_opens_nothing_is_not_written_down(directory: TenantDirectory, openings: set[str]) -> None:
    """Neither a URL nor half a range nor too many of them can be opened."""
    with pytest.raises(TenantInvalid):
        await directory.create(replace(CAROL, openings=frozenset(openings)))

    assert await directory.find(CAROL.id) is None


async def test_a_taken_name_is_refused(directory: TenantDirectory) -> None:
    """Nobody becomes somebody else by being made again."""
    await directory.create(CAROL)

    with pytest.raises(TenantExists, match="carol"):
        await directory.create(Tenant(id=CAROL.id))

    assert await directory.find(CAROL.id) == CAROL


async def test_to_ensure_a_tenant_changes_nothing_of_it(directory: TenantDirectory) -> None:
    """A tenant that is there keeps its limits, though many processes make sure of it at once."""
    await directory.create(CAROL)

    await asyncio.gather(*(directory.ensure(name) for name in (CAROL.id, "dave") * 8))

    assert await directory.find(CAROL.id) == CAROL
    assert [tenant.id for tenant in await directory.all()] == ["alice", "bob", CAROL.id, "dave"]


async def test_limits_change_and_what_was_spent_stays(
    directory: TenantDirectory, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """Other limits hold from the next call on, and give back neither money nor pace."""
    await directory.change(Tenant(id="alice", requests_per_minute=10))
    await store.accept(make_task(price=30), make_request())
    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    await store.succeed(claim.task.id, fence=1, success=Success(outputs=(), inference_ms=1))
    await store.accept(make_task(price=5), make_request())
    before = await directory.find("alice")
    assert before is not None

    await directory.change(replace(CAROL, id="alice", held=0, spent=0))

    assert (before.spent, before.held) == (30, 5)
    assert before.paced_until_s > 0
    assert await directory.find("alice") == replace(
        CAROL, id="alice", spent=30, held=5, paced_until_s=before.paced_until_s
    )


@pytest.mark.parametrize("tenant_id", ["nobody", "ALICE", "", "alice ", "%"])
async def test_a_tenant_that_is_not_there(directory: TenantDirectory, tenant_id: str) -> None:
    """What is asked of nobody is refused by name, or finds nothing, and touches nobody else."""
    before = await directory.all()

    with pytest.raises(NoSuchTenant):
        await directory.delete(tenant_id)
    with pytest.raises(NoSuchTenant):
        await directory.add_key(tenant_id, key_id="k1", digest="d1")

    assert await directory.find(tenant_id) is None
    assert await directory.keys_of(tenant_id) == []
    assert await directory.all() == before


async def test_nobody_is_not_changed(directory: TenantDirectory) -> None:
    """A change does not make a tenant."""
    with pytest.raises(NoSuchTenant, match="carol"):
        await directory.change(CAROL)

    assert await directory.find(CAROL.id) is None


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ä", "a/b", "a:b", "a\n", "\0", "a,b"], ids=ascii)
async def test_a_name_that_cannot_be_is_refused(directory: TenantDirectory, name: str) -> None:
    """A name becomes part of listings and settings, so it is short and plain."""
    with pytest.raises(TenantInvalid, match="name"):
        await directory.create(Tenant(id=name))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0.0),
        ("weight", -1.0),
        ("weight", 1001.0),
        ("weight", float("nan")),
        ("weight", float("inf")),
        ("max_queued", -1),
        ("max_kept", -1),
        ("max_queued_units", -0.1),
        ("max_queued_units", float("nan")),
        ("max_queued_units", float("inf")),
        ("max_running", -1),
        ("max_running", 0),
        ("requests_per_minute", 0),
        ("requests_per_minute", -5),
        ("budget", -1),
        ("budget", 2**53 + 1),
    ],
)
async def test_a_limit_that_cannot_be_is_refused_by_name(directory: TenantDirectory, field: str, value: float) -> None:
    """A limit that would mean nothing, or nobody could count to, is refused when a tenant is made and when changed."""
    words: dict[str, Any] = {field: value}

    with pytest.raises(TenantInvalid, match=field.replace("_", "-")):
        await directory.create(replace(CAROL, **words))
    with pytest.raises(TenantInvalid, match=field.replace("_", "-")):
        await directory.change(Tenant(id="alice", **words))

    assert await directory.find(CAROL.id) is None
    assert await directory.find("alice") == Tenant(id="alice")


@pytest.mark.parametrize(
    ("field", "value"), [("max_queued", 2**31), ("max_running", 2**40), ("requests_per_minute", 2**53)]
)
async def test_a_limit_larger_than_its_column_is_refused(directory: TenantDirectory, field: str, value: int) -> None:
    """A count that not every database can hold is refused in words, and not by an error of the driver."""
    words: dict[str, Any] = {field: value}

    with pytest.raises(TenantInvalid, match=field.replace("_", "-")):
        await directory.create(replace(CAROL, **words))


@pytest.mark.parametrize("lifetime_s", [0.0, 59.0, 2.0**31, float("nan")])
async def test_a_life_time_that_nobody_could_use_is_refused(directory: TenantDirectory, lifetime_s: float) -> None:
    """Pictures live for a minute at least, so that their caller can fetch them."""
    with pytest.raises(TenantInvalid, match="lifetime"):
        await directory.create(replace(CAROL, lifetime_s=lifetime_s))


@pytest.mark.parametrize("limit", [{"max_queued": 0}, {"budget": 0}, {"max_queued_units": 0.0}, {"weight": 0.001}])
async def test_a_tenant_may_be_held_at_nothing(directory: TenantDirectory, limit: dict[str, Any]) -> None:
    """An operator may stop a tenant by letting nothing wait or giving it no money."""
    await directory.create(replace(CAROL, **limit))

    assert await directory.find(CAROL.id) == replace(CAROL, **limit)


async def test_keys_lead_to_their_tenant(directory: TenantDirectory) -> None:
    """A digest that was written down is found, and no other, for as long as its key is good."""
    await add_keys(directory, "alice", "k1")
    await add_keys(directory, "bob", "k2")

    found = [await directory.tenant_with(f"digest of {key_id}") for key_id in ("k1", "k2", "k3", "%")]

    assert found == ["alice", "bob", None, None]


async def test_a_revoked_key_leads_nowhere(directory: TenantDirectory) -> None:
    """The moment a key is revoked its digest is nobody's; the other key of the tenant stays good."""
    await add_keys(directory, "alice", "k1", "k2")

    await directory.revoke_key("k1")

    assert [await directory.tenant_with(f"digest of {key_id}") for key_id in ("k1", "k2")] == [None, "alice"]
    assert await live_keys(directory, "alice") == ["k2"]


async def test_keys_are_listed_as_they_came(directory: TenantDirectory, database: Database) -> None:
    """A listing shows good and revoked keys with their times, the oldest first, and no digest."""
    await add_keys(directory, "alice", "k2", "k1")
    await database.write(
        lambda connection: connection.execute(text("UPDATE api_keys SET created_at = 5 WHERE id = 'k2'"))
    )
    await directory.revoke_key("k2")

    first, second = await directory.keys_of("alice")

    assert (first.id, second.id, second.revoked_at, first.tenant_id) == ("k2", "k1", None, "alice")
    assert first.revoked_at is not None
    assert first.created_at < second.created_at <= first.revoked_at
    assert "digest" not in f"{first} {second}"


@pytest.mark.parametrize("key_id", ["k1", "nothing", ""])
async def test_a_key_is_revoked_once(directory: TenantDirectory, key_id: str) -> None:
    """A key that was revoked before, or never was, is refused, so that a slip in the id is noticed."""
    await add_keys(directory, "alice", "k1", "k2")
    await directory.revoke_key("k1")
    before = await directory.keys_of("alice")

    with pytest.raises(NoSuchKey):
        await directory.revoke_key(key_id)

    assert await directory.keys_of("alice") == before


async def test_a_tenant_has_two_good_keys_at_most(directory: TenantDirectory) -> None:
    """There is room for the old and the new key while callers change over; revoking one makes room for the next."""
    await add_keys(directory, "alice", "k1", "k2")
    await add_keys(directory, "bob", "k3")

    with pytest.raises(TooManyKeys):
        await add_keys(directory, "alice", "k4")

    await directory.revoke_key("k1")
    await add_keys(directory, "alice", "k5")
    assert await live_keys(directory, "alice") == ["k2", "k5"]


async def test_racing_operators_make_no_third_key(directory: TenantDirectory, database_url: str) -> None:
    """However many processes add a key at once, two are good and the others are refused."""
    elsewhere = await open_database(database_url)
    places = [directory, TenantDirectory(elsewhere)]

    adding = [add_keys(places[number % 2], "alice", f"k{number}") for number in range(8)]
    ends = await asyncio.gather(*adding, return_exceptions=True)
    await elsewhere.close()

    assert sum(isinstance(end, TooManyKeys) for end in ends) == 8 - MAX_LIVE_KEYS
    assert len(await live_keys(directory, "alice")) == MAX_LIVE_KEYS


async def test_a_deleted_tenant_takes_its_keys_along(directory: TenantDirectory) -> None:
    """A tenant that is deleted can neither call nor come back with an old key; the others stay."""
    await add_keys(directory, "alice", "k1")
    await add_keys(directory, "bob", "k2")

    await directory.delete("alice")
    await directory.ensure("alice")

    assert await directory.tenant_with("digest of k1") is None
    assert await directory.keys_of("alice") == []
    assert await directory.tenant_with("digest of k2") == "bob"


async def test_the_tasks_of_a_deleted_tenant_end_as_they_would(
    directory: TenantDirectory, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """What a deleted tenant has waiting is carried out; it just cannot ask for more."""
    await store.accept(make_task(price=9), make_request())

    await directory.delete("alice")

    [claim] = await store.claim(models=["uno"], limit=1, replica_id="r1", lease_s=60)
    assert await store.succeed(claim.task.id, fence=1, success=Success(outputs=(), inference_ms=1))
    with pytest.raises(Unauthenticated):
        await store.accept(make_task(), make_request())


async def test_a_tenant_made_anew_answers_for_its_old_tasks(
    directory: TenantDirectory, store: TaskStore, make_task: MakeTask, make_request: MakeRequest
) -> None:
    """A tenant that is deleted and made again cannot spend what its unfinished tasks still cost."""
    for price in (30, 12):
        await store.accept(make_task(price=price), make_request())
    await directory.delete("alice")

    await directory.create(Tenant(id="alice", budget=100))

    made = await directory.find("alice")
    assert made is not None
    assert (made.held, made.left) == (42, 58)
    [first, _] = await store.claim(models=["uno"], limit=2, replica_id="r1", lease_s=60)
    await store.succeed(first.task.id, fence=1, success=Success(outputs=(), inference_ms=1))
    ended = await directory.find("alice")
    assert ended is not None
    assert (ended.spent, ended.held) == (30, 12)


async def test_who_has_to_be_there_is_waited_for(database: Database) -> None:
    """An ingress that starts while its database is away comes up once that is back."""
    directory = LateDirectory(database)

    await directory.ensure_all(["dave", "erin"], again_s=0.0)

    assert {each.id for each in await directory.all()} == {"dave", "erin"}
