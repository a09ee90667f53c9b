"""Reads the JSON object a caller sent, and refuses whatever two readers could understand differently.

It knows nothing of any dialect's fields. Every refusal is a ``BadCall`` in words for the caller.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from deployments.errors import BadCall, NotJson

#: Arrays and objects inside one another, the outermost included.
MAX_DEPTH = 32
#: Commas in a body, that is, about its members and elements: a body of 50 MB must not become 20 million objects.
MAX_COMMAS = 100_000

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        NotJson: when the body is no UTF-8, no JSON or no object.
        BadCall: when it nests deeper than 32 levels or holds too many values; when it repeats a key, or holds NaN, an
            infinity, an integer beyond 64 bits, a NUL or half a surrogate pair.
    """
    document = _parse(_decode(body))
    if not isinstance(document, dict):
        raise NotJson("the body must be a JSON object")
    _check_values(document)
    return document


def read_array(body: bytes) -> list[Any]:
    """Read a JSON array; refuses what ``read_object`` refuses."""
    document = _parse(_decode(body))
    if not isinstance(document, list):
        raise NotJson("the body must be a JSON array")
    _check_values(document)
    return document


def _decode(body: bytes) -> str:
    if body.count(b",") > MAX_COMMAS:
        raise BadCall("the body holds too many values")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"the body is not UTF-8 (byte {error.start})") from error


def _parse(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:  # the interpreter's own limit is far above ours, so this too is only too deep
        raise _too_deep() from error


def _check_values(document: dict[str, Any] | list[Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    if any(isinstance(value, dict | list) for value in level):
        raise _too_deep()
    for value in level:
        _children(value)


def _children(value: Any) -> list[Any]:
    """Return what stands inside a value, having checked it when it is text."""
    match value:
        case dict():
            return [*value, *value.values()]
        case list():
            return value
        case str():
            _check_text(value)
    return []


def _check_text(text: str) -> None:
    if "\0" in text:
        raise BadCall("the body holds a NUL character")
    if not text.isascii() and _SURROGATE.search(text):
        raise BadCall("the body holds half a surrogate pair")


def _too_deep() -> BadCall:
    return BadCall(f"the body nests deeper than {MAX_DEPTH} levels")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadCall("the body repeats a key within one object")
    return members


def _whole(digits: str) -> int:
    # The length first: the interpreter refuses to read thousands of digits, and with another kind of error.
    number = int(digits) if len(digits) <= 20 else None
    if number is None or not -(2**63) <= number < 2**63:
        raise BadCall("the body holds an integer beyond 64 bits")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadCall("the body holds a number too large to represent")
    return number


def _no_number(name: str) -> NoReturn:
    raise BadCall(f"the body holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_whole, parse_float=_fraction, parse_constant=_no_number
)
