"""Reads which of the caller's tasks are meant: one to look at, some to delete, or a page of them all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployments.dialects.dialect import Call
from deployments.dialects.fields import Fields
from deployments.dialects.wavespeed.vocabulary import CATALOG_NAMES, STATES
from deployments.errors import BadField, Problem
from deployments.json_body import read_object
from deployments.operations.operation import Delete, List, Read, Redeliver, Watch
from deployments.outbound.urls import MAX_CALLBACK_BYTES, UnreadableUrl, read_callback

#: Most tasks that one call deletes.
MAX_DELETED = 100
#: Most tasks of one page.
MAX_PAGE_SIZE = 100
#: Last page that may be asked for; far beyond any list, and small enough to count with.
MAX_PAGE = 1_000_000_000
#: Longest text that stands for a moment, in bytes.
MAX_MOMENT_BYTES = 64

_NUMBERS = ("page", "page_size")
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def read(call: Call) -> Read:
    """Read which task is looked at; any text may stand where its id belongs."""
    return Read(task_id=call.path_params["id"])


def watch(call: Call) -> Watch:
    """Read which task is followed."""
    return Watch(task_id=call.path_params["id"])


def deliver(call: Call) -> Redeliver:
    """Read whose pictures are sent where.

    Raises:
        BadField: when ``uploadEndpoint`` is no http(s) URL.
    """
    url = Fields(read_object(call.body)).text("uploadEndpoint", max_bytes=MAX_CALLBACK_BYTES)
    try:
        return Redeliver(task_id=call.path_params["id"], url=read_callback(url))
    except UnreadableUrl as error:
        words = "uploadEndpoint must be an http or https URL"
        raise BadField(words, field=("uploadEndpoint",), problem=Problem.BAD_ADDRESS) from error


def delete_one(call: Call) -> Delete:
    """Read which task is deleted; that it is not there is an error."""
    return Delete(task_ids=(call.path_params["id"],), must_exist=True)


def delete_many(call: Call) -> Delete:
    """Read which tasks are deleted; those that are not there are skipped.

    Raises:
        BadCall: when ``ids`` is no list of 1 to 100 texts.
    """
    return Delete(task_ids=Fields(read_object(call.body)).texts("ids", low=1, high=MAX_DELETED))


def list_by_body(call: Call) -> List:
    """Read which page is asked for in the body; no body at all asks for the first one.

    Raises:
        BadCall: when a filter is of another type, out of range or not a word of this dialect.
    """
    return _listing(read_object(call.body) if call.body else {})


def list_by_query(call: Call) -> List:
    """Read which page is asked for in the query; refuses what ``list_by_body`` refuses."""
    numbers = {name: int(call.query[name]) for name in _NUMBERS if _WHOLE.fullmatch(call.query.get(name, ""))}
    return _listing({**call.query, **numbers})


def _listing(members: Mapping[str, Any]) -> List:
    # Forms send what nobody filled in as an empty text; it filters as little as what is not sent.
    fields = Fields({name: value for name, value in members.items() if value != ""})
    return List(
        page=fields.whole("page", default=1, low=1, high=MAX_PAGE),
        page_size=fields.whole("page_size", default=MAX_PAGE_SIZE, low=1, high=MAX_PAGE_SIZE),
        model=fields.choice("model", default="", among=CATALOG_NAMES) if fields.has("model") else None,
        states=(fields.choice("status", default="", among=STATES),) if fields.has("status") else (),
        created_from=_moment(fields, "created_after"),
        created_before=_moment(fields, "created_before"),
    )


def _moment(fields: Fields, name: str) -> datetime | None:
    text = fields.text(name, default="", max_bytes=MAX_MOMENT_BYTES)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        is_certain = moment.tzinfo is not None
        # Overflows within a day of the first and the last year, where an offset leads out of the calendar.
        moment = moment.astimezone(UTC) if is_certain else moment
    except (ValueError, OverflowError):
        is_certain = False
    if not is_certain:
        fields.refuse(name, "must be an ISO 8601 time with an offset or Z", Problem.BAD_FORM)
    return moment
