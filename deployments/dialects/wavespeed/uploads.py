"""Reads pictures that a caller uploads for later requests: a wish for an address to PUT one to, or one as a form.

What a picture may be is not judged here, and nothing is kept.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from multipart import MultipartSegment, PushMultipartParser, parse_options_header

from deployments.dialects.dialect import Call
from deployments.dialects.fields import Fields
from deployments.errors import BadCall, BadField, Problem
from deployments.json_body import read_object
from deployments.operations.operation import GrantUpload, Keep

#: Largest picture that may be announced, in bytes.
MAX_UPLOAD_BYTES = 20 * 1024 * 1024
#: Longest file name that may be announced, in bytes of UTF-8; the name of a form's file is cut off there.
MAX_FILE_NAME_BYTES = 1024
#: Most fields of a form; one is needed.
MAX_PARTS = 8
#: Longest line between them. Source: RFC 2046, section 5.1.1.
MAX_BOUNDARY = 70
#: What an upload is that nobody gave a media type and whose name says nothing.
UNKNOWN_TYPE = "application/octet-stream"

_FILE_FIELD = "file"
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}", re.ASCII)
_CONTENT_TYPES = MappingProxyType({"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def grant_upload(call: Call) -> GrantUpload:
    """Read for which picture an address is wanted.

    Raises:
        BadCall: when its name or size is missing, or it is announced as larger than 20 MiB.
    """
    fields = Fields(read_object(call.body))
    file_name = fields.text("filename", max_bytes=MAX_FILE_NAME_BYTES)
    fields.whole("size", default=None, low=1, high=MAX_UPLOAD_BYTES)
    return GrantUpload(content_type=_announced_type(fields, file_name), file_name=file_name)


def keep(call: Call) -> Keep:
    """Read the picture of a form.

    Raises:
        BadCall: when the body is no form, or its field ``file`` is missing or empty, or there twice.
    """
    files = [(part, content) for part, content in _parts(call) if part.name == _FILE_FIELD]
    if not files:
        raise BadField(f"{_FILE_FIELD} is required", field=(_FILE_FIELD,), problem=Problem.MISSING)
    if len(files) > 1:
        raise BadField(f"{_FILE_FIELD} must be there once", field=(_FILE_FIELD,), problem=Problem.TOO_MANY, bound=1)
    [(part, content)] = files
    if not content:
        raise BadField(f"{_FILE_FIELD} must not be empty", field=(_FILE_FIELD,), problem=Problem.TOO_SHORT, bound=1)
    return Keep(content=content, file_name=_plain_name(part.filename or ""))


def _announced_type(fields: Fields, file_name: str) -> str:
    """Return the media type that is announced; the one that the name speaks of where none is."""
    if fields.has("content_type"):
        return fields.matching("content_type", _CONTENT_TYPE, form="a media type such as image/png")
    return _CONTENT_TYPES.get(file_name.rpartition(".")[2].lower(), UNKNOWN_TYPE)


def _parts(call: Call) -> list[tuple[MultipartSegment, bytes]]:
    media_type, options = parse_options_header(call.headers.get("content-type", ""))
    if media_type != "multipart/form-data" or not options.get("boundary"):
        raise BadCall(f"the body must be multipart/form-data with the field {_FILE_FIELD}")
    if len(options["boundary"]) > MAX_BOUNDARY:
        raise BadCall(f"the boundary of the form must be at most {MAX_BOUNDARY} characters long")
    try:
        return _split(call.body, options["boundary"])
    except ValueError as error:  # the parser's own errors, and a boundary that is no text at all
        raise BadCall("the body is not valid multipart/form-data") from error


def _split(body: bytes, boundary: str) -> list[tuple[MultipartSegment, bytes]]:
    parts: list[tuple[MultipartSegment, list[bytes]]] = []
    with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                parts.append((event, []))
            elif event is not None:
                parts[-1][1].append(event)
    return [(segment, b"".join(chunks)) for segment, chunks in parts]


def _plain_name(file_name: str) -> str:
    """Return a file name without what no name holds; browsers and scripts send whatever they like."""
    shortened = file_name.encode("utf-8", "replace")[:MAX_FILE_NAME_BYTES].decode("utf-8", "ignore")
    return _CONTROL.sub("", shortened)
