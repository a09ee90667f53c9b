"""What a name of two parts stands for: a folder, or a repository of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.hub import NotFoundHere, find_folder, hub_id_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that has a folder ``weights``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("weights/flux", None),
        ("./we/flux", None),
        ("we/flux", ("we/flux", None)),
        ("weights/flux@main", ("weights/flux", "main")),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_name_below_a_folder_is_a_path(name: str, hub_id: tuple[str, str | None] | None) -> None:
    """Where the first part is a folder, nothing is asked of a hub, unless a revision says that it is meant."""
    assert hub_id_of(name) == hub_id


@pytest.mark.usefixtures("here")
def test_a_name_that_might_be_either_is_told_apart() -> None:
    """Who meant the hub reads why the name is a path, and how to write it."""
    with pytest.raises(NotFoundHere, match=r"or a hub id, as weights/flux@main: weights is a folder here$"):
        find_folder("weights/flux")
