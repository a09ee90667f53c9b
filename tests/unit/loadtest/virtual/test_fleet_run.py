"""A small fleet through every scene: what is measured, counted and told; and what a real store is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.exits import UNUSABLE
from loadtest.fleet import PARTS, app, parts_of, unsecret
from loadtest.fleet_page import app as page_app
from loadtest.virtual.statements import in_vain_per_s, statements_of_each
from loadtest.virtual.store_rates import store_rates

ROOT = Path(__file__).parents[4]


def test_a_small_fleet_lives_through_every_scene(tmp_path: Path) -> None:
    """Nothing is refused or lost; cold starts are waited for; one part asks a part of what the whole asks."""
    output = tmp_path / "fleet.json"
    size = ["--replicas", "40", "--rate", "40", "--tenants", "100", "--seconds", "8"]

    asked = CliRunner().invoke(app, [*size, "--output", str(output)])

    report = json.loads(output.read_text(encoding="utf-8"))
    scenes = {each["scene"]: each for each in report["scenes"]}
    assert asked.exit_code == 0
    assert all(each["error_share"] == 0 for each in scenes.values())
    assert all(0.9 <= each["fairness"] <= 1 for each in scenes.values())
    assert scenes["from no replica at all"]["wait_s"]["p50"] > 45
    whole, part = scenes["nothing befalls it"], scenes["one of 8 parts, each with a database"]
    assert whole["in_time"] == 1.0
    assert 4 < whole["asked_per_s"]["accept"] / part["asked_per_s"]["accept"] < 16
    assert asked.output.count("nothing befalls it") >= 2
    assert f"{whole['tenants']} of 100 tenants asked" in asked.output
    assert 50 < whole["tenants"] < report["size"]["tenants"] == 100


def test_the_page_is_made_from_what_was_found(tmp_path: Path) -> None:
    """The tables of the page are those of its JSON, and the command would change nothing about it."""
    page, found = (ROOT / "docs" / "benchmarks" / name for name in ("fleet.md", "fleet.json"))
    copied = tmp_path / "fleet.md"
    copied.write_text(page.read_text(encoding="utf-8").replace("| 0.01 /", "| 9.99 /"), encoding="utf-8")

    asked = CliRunner().invoke(page_app, [str(found), "--into", str(copied)])

    assert asked.exit_code == 0
    assert copied.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("text", "told"), [("{}", "KeyError"), ("[", "no tables can be made")])
def test_a_file_of_something_else_makes_no_page(tmp_path: Path, text: str, told: str) -> None:
    """What no fleet has written is one line."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")

    asked = CliRunner().invoke(page_app, [str(path)])

    assert (asked.exit_code, asked.output.count("\n")) == (UNUSABLE, 1)
    assert told in asked.output


@pytest.mark.parametrize(("claims", "parts"), [(250.0, 8), (120.0, 16), (1e6, 8), (20.0, 128)])
def test_a_part_leaves_its_database_room(claims: float, parts: int) -> None:
    """A fleet falls into so many parts that no database is asked for more than seven tenths of what it carries."""
    assert parts_of(1000.0, claims_per_s=claims) == parts
    assert 1000.0 / parts <= 0.7 * claims or parts == PARTS


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--seconds", "--seconds"),
        ("postgresql+asyncpg://uxo:secret@host/uxo?a=b", "postgresql+asyncpg://uxo:***@host/uxo?a=b"),
        ("--database=postgresql://uxo:secret@host/uxo?a=b", "--database=postgresql://uxo:***@host/uxo?a=b"),
    ],
)
def test_no_password_is_written_down(word: str, written: str) -> None:
    """The command that a report notes has the address of the database without its password."""
    assert unsecret(word) == written


@pytest.mark.parametrize("database", ["postgres", "0", "inf", "-3"])
def test_no_database_is_said_so(database: str) -> None:
    """What is neither an address nor a rate is refused before anything is drawn."""
    asked = CliRunner().invoke(app, ["--database", database])

    assert asked.exit_code == 2
    assert "neither the address of a database nor a number" in " ".join(asked.output.replace("│", " ").split())


def test_idle_replicas_ask_seldom() -> None:
    """No idle one asks more often than the store changes; many ask seldom, and more of them never ask less together."""
    assert in_vain_per_s(0.0, changes_per_s=1000.0) == 0.0
    assert in_vain_per_s(10.0, changes_per_s=2.0) == 20.0
    asked = [in_vain_per_s(idle, changes_per_s=1000.0) for idle in (1.0, 10.0, 50.0, 300.0)]
    assert asked == sorted(asked)
    assert asked[-1] < 300.0 * 20


def test_every_call_has_its_statements() -> None:
    """An accept and a claim take several statements, and asking in vain one."""
    counted = statements_of_each()

    assert set(counted) == {"accept", "claim", "claim in vain", "beat", "look", "finish"}
    assert counted["claim in vain"] == 1
    assert counted["accept"] >= 5


async def test_rates_of_a_real_store(tmp_path: Path) -> None:
    """Every operation is done, and takes some time."""
    rates = await store_rates(f"sqlite:///{tmp_path / 'rates.db'}", tasks=20)

    assert set(rates) == {"accept", "claim", "finish"}
    assert all(rate > 0 for rate in rates.values())
