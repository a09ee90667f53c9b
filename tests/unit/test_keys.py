"""Whose key is it: the key ring, its text form, and the demo key on disk."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from deployments.errors import Unauthenticated
from deployments.tenants.keys import KeyRing, _keep_first, demo_key, parse_bootstrap

ANNA = "anna-key-0123456789"
BERT = "bert-key-0123456789"


def test_key_belongs_to_its_tenant() -> None:
    """Every key of a tenant leads to that tenant and to no other."""
    ring = KeyRing({"anna": (ANNA, ANNA[::-1]), "bert": (BERT,)})

    owners = [ring.tenant_of(key) for key in (ANNA, ANNA[::-1], BERT)]

    assert owners == ["anna", "anna", "bert"]


@pytest.mark.parametrize("key", ["", "x", ANNA[:-1], ANNA + " ", "x" * 100_000, "schlüssel", "\ud800", "\0"])
def test_wrong_key_is_unauthenticated(key: str) -> None:
    """A wrong key and text that can be no key are refused in the same words."""
    ring = KeyRing({"anna": (ANNA,)})

    with pytest.raises(Unauthenticated) as refusal:
        ring.tenant_of(key)

    assert refusal.value.message == "The API key is missing or not valid."


def test_ring_does_not_keep_keys() -> None:
    """Neither the ring's print nor anything it holds contains a key."""
    ring = KeyRing({"anna": (ANNA,)})

    text = f"{ring!r} {vars(ring)}"

    assert ANNA not in text
    assert repr(ring) == "<KeyRing [1 keys of 1 tenants]>"


def test_key_of_two_tenants_is_refused() -> None:
    """One key cannot stand for two tenants."""
    with pytest.raises(ValueError, match="tenants anna and bert have the same key"):
        KeyRing({"anna": (ANNA,), "bert": (ANNA,)})


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
