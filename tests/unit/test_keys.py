"""Whose key is it: the key ring, the text form of keys, what is kept of them, and the secrets on disk."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest

from deployments.database.database import Database
from deployments.errors import Unauthenticated
from deployments.settings import SettingsInvalid
from deployments.tenants.directory import TenantDirectory
from deployments.tenants.keys import (
    BELIEVE_S,
    KeyRing,
    _keep_first,
    demo_key,
    digest,
    is_own_key,
    key_id,
    make_key,
    parse_bootstrap,
    server_secret,
)

ANNA = "anna-key-0123456789"
BERT = "bert-key-0123456789"
SECRET = "s" * 32
OF_NOBODY = make_key()
MakeRing = Callable[..., KeyRing]


class CountingDirectory(TenantDirectory):
    """A directory that counts how often it is asked whose key it is."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked = 0

    async def tenant_with(self, digest: str) -> str | None:
        """Count, then look it up."""
        self.asked += 1
        return await super().tenant_with(digest)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now_s


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return one kind of database: what the directory itself keeps to is shown elsewhere on every kind."""
    return sqlite_url


@pytest.fixture
def counting(database: Database, directory: TenantDirectory) -> CountingDirectory:  # noqa: ARG001 -- it makes Alice
    """Return a directory that knows Alice and Bob, who have no key yet."""
    return CountingDirectory(database)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def make_ring(counting: CountingDirectory, clock: Clock) -> MakeRing:
    """Return a maker of rings; give it the configured keys, and another clock."""

    def make(configured: Mapping[str, tuple[str, ...]] | None = None, *, clock: Callable[[], float] = clock) -> KeyRing:
        return KeyRing(configured or {}, directory=counting, secret=SECRET, clock=clock)

    return make


async def issue(directory: TenantDirectory, tenant_id: str = "alice") -> str:
    """Make a key as an operator does."""
    key = make_key()
    await directory.add_key(tenant_id, key_id=key_id(key), digest=digest(key, secret=SECRET))
    return key


async def test_a_configured_key_belongs_to_its_tenant(make_ring: MakeRing, counting: CountingDirectory) -> None:
    """Every key of a tenant leads to that tenant and to no other, without a question to the database."""
    ring = make_ring({"anna": (ANNA, ANNA[::-1]), "bert": (BERT,)})

    owners = [await ring.tenant_of(key) for key in (ANNA, ANNA[::-1], BERT)]

    assert owners == ["anna", "anna", "bert"]
    assert counting.asked == 0


async def test_a_key_that_an_operator_made_belongs_to_its_tenant(
    make_ring: MakeRing, counting: CountingDirectory
) -> None:
    """Keys in the directory are known to every ring that shares its secret, at once and with no restart."""
    ring = make_ring({"anna": (ANNA,)})

    keys = {tenant_id: await issue(counting, tenant_id) for tenant_id in ("alice", "bob")}

    assert {tenant_id: await ring.tenant_of(key) for tenant_id, key in keys.items()} == {"alice": "alice", "bob": "bob"}


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        ANNA[:-1],
        ANNA + " ",
        "x" * 100_000,
        "schlüssel",
        "\ud800",
        "\0",
        OF_NOBODY,
        OF_NOBODY[:-1] + "!",
        f"uxo_00000000_{'A' * 49}",
    ],
    ids=range(11),
)
async def test_all_bad_keys_are_refused_in_the_same_words(make_ring: MakeRing, key: str) -> None:
    """A wrong key, a mistyped one and text that can be no key cannot be told apart by what is answered."""
    ring = make_ring({"anna": (ANNA,)})

    with pytest.raises(Unauthenticated) as refusal:
        await ring.tenant_of(key)

    assert (refusal.value.message, refusal.value.retry_after_s) == ("The API key is missing or not valid.", None)


async def test_a_revoked_key_is_refused_in_the_same_words(make_ring: MakeRing, counting: CountingDirectory) -> None:
    """A key that was good once is answered as one that never was."""
    key = await issue(counting)
    await counting.revoke_key(key_id(key))

    with pytest.raises(Unauthenticated, match=r"^The API key is missing or not valid\.$"):
        await make_ring().tenant_of(key)


async def test_text_that_is_no_key_of_ours_costs_no_question(make_ring: MakeRing, counting: CountingDirectory) -> None:
    """Whoever tries keys at random, or mistypes one, is refused without the database."""
    ring = make_ring()

    for key in ("x" * 62, OF_NOBODY[:-1], OF_NOBODY[:20] + OF_NOBODY[20:].swapcase()):
        with pytest.raises(Unauthenticated):
            await ring.tenant_of(key)

    assert counting.asked == 0


async def test_an_answer_is_believed_for_a_while(
    make_ring: MakeRing, counting: CountingDirectory, clock: Clock
) -> None:
    """A busy caller costs one question in three seconds, a wrong key that is tried again as little."""
    ring, good = make_ring(), await issue(counting)

    for _ in range(5):
        assert await ring.tenant_of(good) == "alice"
        with pytest.raises(Unauthenticated):
            await ring.tenant_of(OF_NOBODY)
        clock.now_s += BELIEVE_S / 5.01

    assert counting.asked == 2


async def test_a_key_is_refused_soon_after_it_is_revoked(
    make_ring: MakeRing, counting: CountingDirectory, clock: Clock
) -> None:
    """What a ring has seen before the key was revoked is forgotten within three seconds."""
    ring, key = make_ring(), await issue(counting)
    await ring.tenant_of(key)
    await counting.revoke_key(key_id(key))
    clock.now_s += 3.0

    with pytest.raises(Unauthenticated):
        await ring.tenant_of(key)


async def test_an_answer_that_ages_while_it_is_read_still_counts(
    make_ring: MakeRing, counting: CountingDirectory
) -> None:
    """A good key is never refused because what was known of it grew old in the middle of the look-up."""
    seconds = count(step=4)
    ring, key = make_ring(clock=lambda: float(next(seconds))), await issue(counting)

    owners = {await ring.tenant_of(key) for _ in range(5)}

    assert owners == {"alice"}


async def test_a_ring_with_another_secret_knows_no_key(counting: CountingDirectory) -> None:
    """What the directory holds is of no use without the secret that made it."""
    key = await issue(counting)

    with pytest.raises(Unauthenticated):
        await KeyRing({}, directory=counting, secret="t" * 32).tenant_of(key)


async def test_a_ring_does_not_keep_keys(make_ring: MakeRing, counting: CountingDirectory) -> None:
    """Neither the ring's print nor anything it holds contains a key."""
    ring, key = make_ring({"anna": (ANNA,)}), await issue(counting)
    await ring.tenant_of(key)

    text = f"{ring!r} {vars(ring)}"

    assert ANNA not in text
    assert key not in text
    assert repr(ring) == "<KeyRing [1 configured keys | 1 answers]>"


async def test_a_key_of_two_tenants_is_refused(make_ring: MakeRing) -> None:
    """One key cannot stand for two tenants."""
    with pytest.raises(ValueError, match="tenants anna and bert have the same key"):
        make_ring({"anna": (ANNA,), "bert": (ANNA,)})


def test_a_key_of_our_own_tells_its_id_and_nothing_else() -> None:
    """A new key begins with its public id, is made of letters and digits, and is like no other."""
    keys = [make_key() for _ in range(200)]

    assert all(re.fullmatch(r"uxo_[0-9a-f]{8}_[0-9A-Za-z]{49}", key) for key in keys)
    assert all(is_own_key(key) and key.startswith(f"uxo_{key_id(key)}_") for key in keys)
    assert len({key.split("_")[2] for key in keys}) == 200


def test_a_slip_of_the_pen_is_seen() -> None:
    """No single other letter, and no two neighbours in each other's place, make another key of ours."""
    key = make_key()

    changed = [
        key[:place] + other + key[place + 1 :] for place in range(len(key)) for other in "0Zq" if other != key[place]
    ]
    swapped = [key[:place] + key[place + 1] + key[place] + key[place + 2 :] for place in range(len(key) - 1)]

    assert not any(map(is_own_key, changed))
    assert not any(is_own_key(text) for text in swapped if text != key)


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "\0{}", "{}=", "٣{}"])
def test_a_key_with_something_around_it_is_none(around: str) -> None:
    """Only the key itself is the key."""
    assert not is_own_key(around.format(OF_NOBODY))


def test_what_is_kept_of_a_key_depends_on_all_of_it_and_on_the_secret() -> None:
    """Digests are 256 bits in hex, and differ by the last letter of the key or the secret."""
    kept = {digest(key, secret=secret) for key in (ANNA, ANNA + "!") for secret in (SECRET, SECRET + "!")}

    assert len(kept) == 4
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in kept)


def test_bootstrap_text() -> None:
    """Tenants may repeat, keys may hold colons, and blanks around an entry do not count."""
    keys = parse_bootstrap(f"anna:{ANNA}, bert:{BERT} ,anna:with:colons:{ANNA}")

    assert keys == {"anna": (ANNA, f"with:colons:{ANNA}"), "bert": (BERT,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entry 1 is not of the form tenant:key"),
        (ANNA, "entry 1 is not of the form tenant:key"),
        (f"anna:{ANNA},", "entry 2 is not of the form tenant:key"),
        (f":{ANNA}", "entry 1: a tenant's name is"),
        (f"an na:{ANNA}", "entry 1: a tenant's name is"),
        (f"anna:{ANNA},bert:fifteen-letters", "entry 2: a key has at least 16 characters"),
    ],
)
def test_bad_bootstrap_text_names_the_entry_and_hides_the_key(text: str, message: str) -> None:
    """A mistake is told by the entry's place; no key gets into a log by way of an error."""
    with pytest.raises(ValueError, match=message) as error:
        parse_bootstrap(text)

    assert ANNA not in str(error.value)


def test_sixteen_characters_are_enough() -> None:
    """A key of exactly 16 characters is accepted."""
    keys = parse_bootstrap("anna:sixteen-letters!")

    assert keys == {"anna": ("sixteen-letters!",)}


def test_demo_key_stays_the_same_and_is_private(tmp_path: Path) -> None:
    """The key is made once, in a folder made for it, and only its owner may read it."""
    first = demo_key(tmp_path / "var")

    second = demo_key(tmp_path / "var")

    assert first == second
    assert len(first) >= 16
    assert stat.S_IMODE((tmp_path / "var" / "demo.key").stat().st_mode) == 0o600


def test_demo_key_differs_between_folders(tmp_path: Path) -> None:
    """Two installations do not share a key."""
    assert demo_key(tmp_path / "a") != demo_key(tmp_path / "b")


def test_who_comes_second_changes_nothing(tmp_path: Path) -> None:
    """A process that found no key yet, but was slower to keep its own, leaves the first one in place."""
    _keep_first(tmp_path / "demo.key", "the-first-demo-key")

    _keep_first(tmp_path / "demo.key", "the-second-demo-key")

    assert demo_key(tmp_path) == "the-first-demo-key"
    assert [path.name for path in tmp_path.iterdir()] == ["demo.key"]


def test_processes_that_race_get_one_key(tmp_path: Path) -> None:
    """Processes that ask at the same time all get the key that was kept, and leave nothing else behind."""
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        keys = set(pool.map(demo_key, [tmp_path] * 40))

    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["demo.key"]


def test_a_configured_secret_is_used_as_it_is(tmp_path: Path) -> None:
    """With a secret in the environment nothing is written."""
    secret = server_secret(SECRET, tmp_path)

    assert secret == SECRET
    assert list(tmp_path.iterdir()) == []


def test_without_a_secret_one_is_made_and_kept(tmp_path: Path) -> None:
    """The secret is drawn once, long enough, for its owner's eyes, and is the same for the next process."""
    secret = server_secret("", tmp_path / "var")

    assert secret == server_secret("", tmp_path / "var")
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert stat.S_IMODE((tmp_path / "var" / "secret").stat().st_mode) == 0o600


def test_a_short_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    """A secret that could be guessed is refused by its variable's name; the message does not help to guess it."""
    with pytest.raises(SettingsInvalid, match=r"^UXO_SECRET cannot be used: it needs at least 32") as refusal:
        server_secret("open-sesame" * 2, tmp_path)

    assert "sesame" not in refusal.value.message
