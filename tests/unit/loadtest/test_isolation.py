"""The isolation benchmark runs, and its page says what came of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.isolation.__main__ import app
from loadtest.isolation.page import is_kept, page


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run it with a few groups and requests, and return what it wrote."""
    output = tmp_path_factory.mktemp("isolation") / "isolation.json"
    words = ["--groups", "2", "--requests", "12", "--output", str(output)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    facts: dict[str, Any] = json.loads(output.read_text())
    return facts


def test_every_good_member_ends_in_every_way(found: dict[str, Any]) -> None:
    """Three good members of each group end, in exact mode as they do alone, and the bad one fails by itself."""
    assert [each["way"] for each in found["ways"]] == [
        "exact, each alone",
        "exact, as many as were rehearsed",
        "throughput",
    ]
    assert all(each["good"] == each["succeeded"] == 6 and each["bad_failed"] == 2 for each in found["ways"])
    assert all(each["bit_equal"] == 6 for each in found["ways"] if each["is_exact"])
    assert list(found["ways"][0]["calls_by_samples"]) == ["1"]
    assert max(map(int, found["ways"][-1]["calls_by_samples"])) == 4


def test_memory_is_looked_at_on_the_way(found: dict[str, Any]) -> None:
    """There is a look after every so many requests, the last one at the end."""
    assert [look["requests"] for look in found["looks"]] == list(range(1, 13))
    assert all(look["resident_mb"] > 0 for look in found["looks"])


def test_the_page_says_what_was_broken(found: dict[str, Any]) -> None:
    """A good member that did not end as alone is told of in the verdict, and so is memory that grew."""
    harmed = {**found["ways"][1], "bit_equal": 5}

    kept, broken = page(found), page({**found, "ways": [found["ways"][0], harmed], "is_flat": False})

    assert "Every promise was kept." in kept
    assert f"`{found['command']}`" in kept
    assert "**Broken: exact, as many as were rehearsed, memory.**" in broken
    assert not is_kept(harmed)
    assert not is_kept({**found["ways"][-1], "succeeded": 5})
