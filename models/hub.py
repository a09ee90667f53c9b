"""Where a folder of files lies that a setting names: by its path, or by a hub id whose files are on this machine.

Downloads nothing: a server that fetches 30 GB at its start is one that cannot be restarted when the hub is away.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

#: A repository of the Hugging Face hub, and which of its versions where that is said.
HUB_ID = re.compile(
    r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[A-Za-z0-9][\w./-]{0,99}))?", re.ASCII
)


class NotFoundHere(ValueError):
    """There is no such folder on this machine; says what could be written instead."""


def find_folder(name: str) -> Path:
    """Return the folder that a path or a hub id, ``owner/name`` or ``owner/name@revision``, stands for.

    Raises:
        NotFoundHere: when there is none.
    """
    hub_id = hub_id_of(name)
    if hub_id is not None:
        return _cached(*hub_id)
    if not name or not Path(name).is_dir():
        raise NotFoundHere(f"write a folder that is there, or a hub id{_with_revision(name)}")
    return Path(name)


def hub_id_of(name: str) -> tuple[str, str | None] | None:
    """Return the repository and the revision that a name stands for; None where it is a folder's, or nothing's.

    Where the first part of two is a folder here, the name is a path, unless it says a revision: a folder that is yet to
    be made is asked of no hub.
    """
    found = HUB_ID.fullmatch(name)
    if found is None or Path(name).is_dir() or (found["revision"] is None and Path(name).parent.is_dir()):
        return None
    return found["id"], found["revision"]


def _with_revision(name: str) -> str:
    if HUB_ID.fullmatch(name) is None:
        return ""
    return f", as {name}@main: {Path(name).parent} is a folder here"


def _cached(repository: str, revision: str | None) -> Path:
    try:
        hub = import_module("huggingface_hub")
    except ImportError as error:
        raise NotFoundHere("huggingface_hub is not installed; name a folder") from error
    try:
        return Path(hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise NotFoundHere(
            "it is no folder, and not in this machine's Hugging Face cache"
            f"{f' at revision {revision}' if revision else ''}; nothing is downloaded here, but by uxo weights fetch"
        ) from error
