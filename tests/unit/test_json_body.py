"""What a JSON body may hold, and that everything else is refused and never worse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.errors import BadCall
from deployments.json_body import MAX_COMMAS, MAX_DEPTH, read_object

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Half a surrogate pair and NUL are refused, so they are not in what must come back.
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), inner),
    max_leaves=6,
)


def nested(depth: int) -> bytes:
    """Write an object that holds arrays inside one another, ``depth`` levels in all."""
    return b'{"a":' + b"[" * (depth - 1) + b'"x"' + b"]" * (depth - 1) + b"}"


@settings(max_examples=60)
@given(document=st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), JSON_VALUES))
def test_what_is_written_is_read(document: dict[str, Any]) -> None:
    """Every JSON object within the limits is read as it was written."""
    body = json.dumps(document).encode()

    assert read_object(body) == document


@settings(max_examples=60)
@given(body=st.binary() | st.text().map(str.encode) | st.text('[]{}",:\\u0d8-1eNa ').map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes at all raise anything but BadCall."""
    try:
        document = read_object(body)
    except BadCall:
        return

    assert isinstance(document, dict)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not valid JSON (line 1, column 1)"),
        (b'{"a": 1,}', "the body is not valid JSON (line 1, column 9)"),
        (b"{} {}", "the body is not valid JSON (line 1, column 4)"),
        (b'{"a": "line\nbreak"}', "the body is not valid JSON (line 1, column 12)"),
        (b"\xef\xbb\xbf{}", "the body is not valid JSON (line 1, column 1)"),
        (b"[]", "the body must be a JSON object"),
        (b'"text"', "the body must be a JSON object"),
        (b"null", "the body must be a JSON object"),
        (b'{"a": "\xff"}', "the body is not UTF-8 (byte 7)"),
        (b'{"a": "\xed\xa0\x80"}', "the body is not UTF-8 (byte 7)"),
        (b'{"a": NaN}', "the body holds NaN, which is not JSON"),
        (b'{"a": -Infinity}', "the body holds -Infinity, which is not JSON"),
        (b'{"a": 1e309}', "the body holds a number too large to represent"),
        (b'{"a": [-1e999]}', "the body holds a number too large to represent"),
        (b'{"a": 1, "a": 2}', "the body repeats a key within one object"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "the body repeats a key within one object"),
        (b'{"a": 9223372036854775808}', "the body holds an integer beyond 64 bits"),
        (b'{"a": -9223372036854775809}', "the body holds an integer beyond 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body holds an integer beyond 64 bits"),
        (b'{"a": ["\\u0000"]}', "the body holds a NUL character"),
        (b'{"\\u0000": 1}', "the body holds a NUL character"),
        (b'{"a": {"b": "\\ud800"}}', "the body holds half a surrogate pair"),
        (b'{"\\udfff": 1}', "the body holds half a surrogate pair"),
        (nested(MAX_DEPTH + 1), "the body nests deeper than 32 levels"),
        (b'{"a":' * 100_000, "the body nests deeper than 32 levels"),
        (b'{"a": [' + b"0," * MAX_COMMAS + b" 0,0]}", "the body holds too many values"),
    ],
)
def test_mistake_is_named(body: bytes, message: str) -> None:
    """Each kind of bad body is refused with a sentence that says what is wrong with it."""
    with pytest.raises(BadCall) as refusal:
        read_object(body)

    assert refusal.value.message == message


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b" {} \n", {}),
        (b'{"a": 9223372036854775807, "b": -9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": {"a": 1}, "b": {"a": 1}}', {"a": {"a": 1}, "b": {"a": 1}}),
        (b'{"a": 1e308, "b": -0}', {"a": 1e308, "b": 0}),
    ],
)
def test_edge_is_accepted(body: bytes, document: dict[str, Any]) -> None:
    """What lies just inside a limit is read."""
    assert read_object(body) == document


def test_deepest_is_accepted() -> None:
    """An object of exactly 32 levels is read, text at its end included."""
    document = read_object(nested(MAX_DEPTH))

    assert json.dumps(document).count("[") == MAX_DEPTH - 1


def test_text_at_the_deepest_level_is_checked() -> None:
    """A NUL in the last permitted level is found there too."""
    body = nested(MAX_DEPTH).replace(b'"x"', b'"\\u0000"')

    with pytest.raises(BadCall, match="NUL"):
        read_object(body)
