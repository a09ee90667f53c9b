"""A folder of released weights without a fault, to be broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from weights_folder import SMALL, write_folder

from models.flux.weights.layouts import Layouts


@pytest.fixture(scope="session")
def layouts() -> Layouts:
    """Return the small layouts, made once."""
    return Layouts(SMALL)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder without a fault; nobody changes it."""
    return write_folder(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Copy the folder, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "weights"))
