"""What a figure is written to is looked at before it is measured, and what it was measured on is known everywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest import plan
from loadtest.__main__ import app
from loadtest.exits import UNUSABLE
from loadtest.findings import write_findings
from loadtest.machine import UNKNOWN, commit_of
from loadtest.place import NoPlace, check_file, check_folder, kept, place_of


def test_a_folder_that_is_to_be_made_is_a_place(tmp_path: Path) -> None:
    """Folders that are missing are no hindrance, and looking makes none of them."""
    check_folder(tmp_path / "not" / "there")
    check_file(tmp_path / "not" / "there.json")

    assert list(tmp_path.iterdir()) == []


def test_two_runs_have_two_places() -> None:
    """What a profile came to is not written over by what it comes to a second later."""
    first, second = (place_of("loads/day.jsonl", now=datetime(2026, 11, 22, 1, 2, at, tzinfo=UTC)) for at in (3, 4))

    assert first == Path("var/loadtest/day-20261122-010203")
    assert first != second


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where a folder has to be, and a folder where a file has to be, are no places."""
    (tmp_path / "file").touch()

    with pytest.raises(NoPlace, match=r"file/new: nothing can be written there \(Not a directory\)"):
        check_folder(tmp_path / "file" / "new")
    with pytest.raises(NoPlace, match="that is a folder; name a file"):
        check_file(tmp_path)


def test_what_took_hours_is_written_elsewhere_at_worst(tmp_path: Path) -> None:
    """Where a folder has become a file meanwhile, what was found is kept in another that is named."""
    (tmp_path / "file").touch()

    well = kept(tmp_path, lambda folder: write_findings(folder / "found.json", {"rate": 1}))
    badly = kept(tmp_path / "file", lambda folder: write_findings(folder / "found.json", {"rate": 1}))

    assert well == tmp_path
    assert json.loads((badly / "found.json").read_text(encoding="utf-8")) == {"rate": 1}
    shutil.rmtree(badly)


@pytest.mark.parametrize(
    "words",
    [
        "run poisson --key k --output {}/new",
        "find-capacity poisson --key k --output {}/new.json",
        "ceiling --output {}/new.json",
        "trace make --output {}/new.jsonl",
        "trace record sqlite:///nowhere.db --output {}/new.jsonl",
    ],
)
def test_every_command_looks_before_it_works(tmp_path: Path, words: str) -> None:
    """Where nothing can be written, nothing is sent, and a line says where."""
    (tmp_path / "file").touch()

    refused = CliRunner().invoke(app, words.format(tmp_path / "file").split())

    assert refused.exit_code == UNUSABLE
    assert "file" in refused.output
    assert refused.output.splitlines()[-1].endswith("nothing can be written there (Not a directory)")


def test_a_plan_looks_too(tmp_path: Path) -> None:
    """A plan of a thousand replicas takes long; where it goes is known to be writable before."""
    (tmp_path / "file").touch()

    refused = CliRunner().invoke(plan.app, ["poisson", "--output", str(tmp_path / "file" / "new")])

    assert refused.exit_code == UNUSABLE
    assert "nothing can be written there" in refused.output


def test_without_git_the_commit_is_not_known(tmp_path: Path) -> None:
    """An image has neither git nor a repository; figures are measured there all the same."""
    (tmp_path / ".git").mkdir()

    assert commit_of(tmp_path, git="no-program-of-that-name") == UNKNOWN


def test_a_strangers_repository_is_not_asked(tmp_path: Path) -> None:
    """A source without a repository, inside that of somebody else, has no commit."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)  # noqa: S607 -- wherever git is
    identity = ["-c", "user.name=a", "-c", "user.email=a@load.test"]
    subprocess.run(
        ["git", *identity, "-C", str(tmp_path), "commit", "--quiet", "--allow-empty", "-m", "theirs"],  # noqa: S607
        check=True,
    )
    ours = tmp_path / "site-packages"
    ours.mkdir()

    assert commit_of(ours) == UNKNOWN
    assert len(commit_of(tmp_path)) == 12
