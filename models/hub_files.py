"""Brings files of the Hugging Face hub to this machine, and holds each against the digest that the hub lists for it.

Knows no layout of weights and is used by no server, only by an operator's command. The token is the business of the
hub's own client, which finds it in ``HF_TOKEN``; no word of it is shown here.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, snapshot_download, try_to_load_from_cache
from huggingface_hub.hf_api import RepoFile

#: Files that are brought at the same time.
AT_ONCE = 4


class FetchFailed(ValueError):
    """A file could not be brought, or is not what the hub lists; says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file, as the hub lists it."""

    #: Its size in bytes.
    size_bytes: int
    #: Its SHA-256, where the hub keeps it apart as a large file.
    sha256: str | None
    #: The name that git has for it: a SHA-1 of its kind, its length and its bytes.
    git_name: str

    def is_at(self, path: Path, digest: str) -> bool:
        """Say whether a file, of which the SHA-256 is given, is this one."""
        return digest == self.sha256 or (self.sha256 is None and _git_name(path) == self.git_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One version of a repository."""

    #: Its id, ``owner/name``.
    repository: str
    #: What was asked for: a branch, a tag, a commit; None for the main branch.
    revision: str | None
    #: The commit that this was when it was listed.
    commit: str
    #: Its files, by their paths in it.
    files: Mapping[str, HubFile]


class Hub:
    """The hub, or what ``HF_ENDPOINT`` names instead of it.

    Args:
        endpoint: another hub than the client's own.
        cache: another cache than the client's own.
    """

    def __init__(self, *, endpoint: str | None = None, cache: Path | None = None) -> None:
        self._endpoint = endpoint
        self._cache = cache

    def look(self, repository: str, revision: str | None) -> Listing:
        """List one version of a repository.

        Raises:
            FetchFailed: when it is not there, not for this token, or the hub cannot be reached.
        """
        client = HfApi(endpoint=self._endpoint)
        try:
            commit = client.repo_info(repository, revision=revision).sha
            tree = list(client.list_repo_tree(repository, revision=commit, recursive=True))
        except Exception as error:
            raise FetchFailed(_reason(error, repository, revision)) from error
        files = {each.path: _file(each) for each in tree if isinstance(each, RepoFile)}
        return Listing(repository=repository, revision=revision, commit=str(commit), files=files)

    def fetch(
        self, listing: Listing, names: Sequence[str], *, into: Path | None, say: Callable[[str], None]
    ) -> dict[Path, str]:
        """Bring some files of a listing that are not here yet, and read every one of them once more.

        Args:
            listing: what ``look`` returned.
            names: which of its files.
            into: a folder that they are laid out in; None keeps them in the machine's cache.
            say: hears what is done, a sentence each.

        Returns:
            The SHA-256 of every file by its path.

        Raises:
            FetchFailed: when there is no room, the connection breaks for good, or a file is not what is listed; that
                file is then gone, and all others stay.
        """
        missing_bytes = sum(listing.files[name].size_bytes for name in names if not self._is_here(listing, name, into))
        self._check_room(missing_bytes, into)
        say(f"{listing.repository}@{listing.commit}: {len(names)} files, {missing_bytes / 1e9:.2f} GB to bring")
        place = self._bring(listing, names, into)
        return {place / name: _checked(place / name, listing, name, is_cached=into is None) for name in names}

    def _bring(self, listing: Listing, names: Sequence[str], into: Path | None) -> Path:
        try:
            found = snapshot_download(
                listing.repository,
                # By the name that was asked for, so that the cache knows which commit that is.
                revision=listing.revision if into is None else listing.commit,
                allow_patterns=list(names),
                cache_dir=self._cache,
                local_dir=into,
                max_workers=AT_ONCE,
                endpoint=self._endpoint,
            )
        except Exception as error:
            raise FetchFailed(_reason(error, listing.repository, listing.revision)) from error
        place = Path(found)
        if into is None and place.name != listing.commit:
            raise FetchFailed(f"{listing.repository} has moved on meanwhile; fetch again, or name a commit")
        return place

    def _is_here(self, listing: Listing, name: str, into: Path | None) -> bool:
        if into is None:
            found = try_to_load_from_cache(listing.repository, name, cache_dir=self._cache, revision=listing.commit)
            return isinstance(found, str)
        path = into / name
        return path.is_file() and path.stat().st_size == listing.files[name].size_bytes

    def _check_room(self, size_bytes: int, into: Path | None) -> None:
        place = into or self._cache or Path(constants.HF_HUB_CACHE)
        there = next(each for each in (place, *place.absolute().parents) if each.exists())
        free_bytes = shutil.disk_usage(there).free
        if free_bytes < size_bytes:
            raise FetchFailed(f"{place} has {free_bytes / 1e9:.2f} GB left, and {size_bytes / 1e9:.2f} GB are to come")


def _file(listed: RepoFile) -> HubFile:
    return HubFile(
        size_bytes=listed.size, sha256=listed.lfs.sha256 if listed.lfs is not None else None, git_name=listed.blob_id
    )


def _checked(path: Path, listing: Listing, name: str, *, is_cached: bool) -> str:
    """Return the SHA-256 of a file that is what was listed; what is not is taken away, so that it is brought anew."""
    listed = listing.files[name]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if listed.is_at(path, found):
        return found
    _take_away(path, is_cached=is_cached)
    raise FetchFailed(
        f"{path.name} of {listing.repository} is not the file that the hub lists: expected"
        f" {(listed.sha256 or listed.git_name)[:16]}…, found {found[:16]}…; it was deleted, fetch again"
    )


def _take_away(path: Path, *, is_cached: bool) -> None:
    if is_cached:  # there it is a link to where the bytes lie; in a folder a link is an operator's, to a file of theirs
        path.resolve().unlink()
    path.unlink(missing_ok=True)


def _git_name(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _reason(error: Exception, repository: str, revision: str | None) -> str:
    """Say in a sentence what to do; what the client says holds addresses and is for people who write clients."""
    match error:
        case errors.GatedRepoError():
            return (
                f"{repository} is open only to those who have accepted its terms: accept them on its page, and put a"
                " token of that account, which may read it, into HF_TOKEN"
            )
        case errors.RepositoryNotFoundError():
            return (
                f"{repository} is not there, or private: put a token that may read it into HF_TOKEN; for a folder write"
                f" ./{repository}"
            )
        case errors.RevisionNotFoundError():
            return f"{repository} has no revision {revision!r}"
        case errors.HfHubHTTPError():
            return _refusal(error.response.status_code, repository)
        case OSError() if error.errno is not None:
            return _disk(error)
    return (
        f"the connection to the hub broke or cannot be made ({type(error).__name__}) at {repository}; fetch again: what"
        " is whole is not brought again"
    )


def _refusal(status: int, repository: str) -> str:
    if status in (401, 403):
        return f"the hub refuses {repository} to this token ({status}): put one that may read it into HF_TOKEN"
    return f"the hub answers {status} at {repository}; try again later"


def _disk(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "there is no room left on the disk; what is whole stays, and is not brought again"
    return f"{error.filename or 'a file'} cannot be written: {error.strerror}"
