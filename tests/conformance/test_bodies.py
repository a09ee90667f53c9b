"""What a body may be is the same in every dialect, and each refuses the rest in its own words with a 4xx."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from dialect_golden import GOLDEN
from dialect_golden import made_call as golden_call

from deployments.dialects import DIALECTS
from deployments.dialects.dialect import Call, Dialect, Route
from deployments.errors import CallRefused
from deployments.json_body import MAX_COMMAS, MAX_DEPTH
from deployments.operations.operation import Batch, Operation, Refuse, Submit

#: Values that no body may hold, by what is wrong with them; each is put into an otherwise good body.
BAD_VALUES = {
    "one level too many": b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    "a hundred thousand levels": b"[" * 100_000 + b"]" * 100_000,
    "NaN": b"NaN",
    "an infinity": b"-Infinity",
    "more than a double holds": b"1e309",
    "more than 64 bits": b"9223372036854775808",
    "less than 64 bits": b"-9223372036854775809",
    "five thousand digits": b"1" * 5000,
    "a NUL": rb'"a\u0000b"',
    "half a surrogate pair": rb'"\ud800"',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, spelt twice": rb'{"a": 1, "\u0061": 2}',
    "too many values": b"[" + b"1," * MAX_COMMAS + b"1]",
    "a trailing comma": b"[1,]",
    "a comment": b"1 /* one */",
    "no UTF-8": b'"\xff"',
    "half a body": b'"',
}
#: Whole bodies that are no call.
BAD_BODIES = {
    "nothing": b"",
    "white space": b" \n",
    "null": b"null",
    "a text": b'"x"',
    "a number": b"7",
    "a mark": b"\xef\xbb\xbf{}",
}


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Return each dialect in turn."""
    return DIALECTS[request.param]


@pytest.fixture
def good(dialect: Dialect) -> tuple[Route, Call]:
    """Return a submission of the dialect, the first that its golden file has."""
    [first, *_] = json.loads((GOLDEN / dialect.name / "calls.json").read_text(encoding="utf-8"))
    return golden_call(dialect, first["call"])


def refusals_of(dialect: Dialect, route: Route, call: Call) -> Iterator[CallRefused]:
    """Yield every refusal that a call meets before anything is looked up."""
    try:
        operation = dialect.parse(route, call)
    except CallRefused as refusal:
        yield refusal
        return
    operations = [part.operation for part in operation.parts] if isinstance(operation, Batch) else [operation]
    for each in operations:
        if isinstance(each, CallRefused):
            yield each
        if isinstance(each, Refuse):
            yield each.refusal


def with_value(body: bytes, value: bytes) -> bytes:
    """Put a value into the innermost object at the end of a body, under a name that nobody knows."""
    end = body.rstrip(b"]} \n")
    return end + body[len(end) :].replace(b"}", b', "unheard_of": ' + value + b"}", 1)


@pytest.mark.parametrize("wrong", BAD_VALUES)
def test_a_value_that_two_readers_could_understand_differently(
    dialect: Dialect, good: tuple[Route, Call], wrong: str
) -> None:
    """One such value anywhere spoils the body, also in a member that nobody reads; the answer is a 4xx."""
    route, call = good

    refused = list(refusals_of(dialect, route, replace(call, body=with_value(call.body, BAD_VALUES[wrong]))))

    assert refused
    assert all(is_plain(dialect, refusal, call) for refusal in refused)
    # Not for its name: the dialect that refuses unknown members must have seen the value first.
    assert not any("unheard_of" in refusal.message for refusal in refused)


@pytest.mark.parametrize("wrong", BAD_BODIES)
def test_a_body_that_is_no_call(dialect: Dialect, good: tuple[Route, Call], wrong: str) -> None:
    """What is no object, or no list where the dialect wants one, is refused with a 4xx."""
    route, call = good

    refused = list(refusals_of(dialect, route, replace(call, body=BAD_BODIES[wrong])))

    assert refused
    assert all(is_plain(dialect, refusal, call) for refusal in refused)


def test_the_edges_are_allowed(dialect: Dialect, good: tuple[Route, Call]) -> None:
    """A body of just as many levels, and whole numbers of just 64 bits, are read; if anything, the name is unknown."""
    route, call = good
    deep = b"[" * (MAX_DEPTH - 6) + b"9223372036854775807, -9223372036854775808, 1e308" + b"]" * (MAX_DEPTH - 6)

    refused = list(refusals_of(dialect, route, replace(call, body=with_value(call.body, deep))))

    assert all("unheard_of" in refusal.message for refusal in refused)


def test_fifty_megabytes_of_references_are_read(dialect: Dialect) -> None:
    """As many references as a call may have, sent along as data URIs, together 50 MB, are what is asked for."""
    written = max(calls_of(dialect), key=lambda each: json.dumps(each["json"]).count('"http'))
    count = len(list(places_of(written["json"])))
    picture = "data:image/png;base64," + "A" * (50_000_000 // count + 4)
    large = copy.deepcopy(written)
    for holder, place in places_of(large["json"]):
        holder[place] = picture

    route, call = golden_call(dialect, large)

    assert 50_000_000 < len(call.body) < 64 * 1024 * 1024
    assert sum(len(reference.source) for reference in submission_of(dialect.parse(route, call))) > 50_000_000


def is_plain(dialect: Dialect, refusal: CallRefused, call: Call) -> bool:
    """Whether a refusal is written as JSON with a status of the caller's mistakes."""
    reply = dialect.render_refusal(refusal, call)
    return 400 <= reply.status < 500 and refusal.message in json.dumps(json.loads(reply.body), ensure_ascii=False)


def calls_of(dialect: Dialect) -> list[dict[str, Any]]:
    """Return the golden submissions of a dialect that are JSON alone, have several references and tell nobody."""
    entries = json.loads((GOLDEN / dialect.name / "calls.json").read_text(encoding="utf-8"))
    calls = [entry["call"] for entry in entries if "json" in entry["call"] and "binary" not in entry["call"]]
    return [
        call for call in calls if not any(word in json.dumps(call["json"]) for word in ("webhook", "uploadEndpoint"))
    ]


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where the references of a body stand: what holds each, and its name or number there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, each in inside:
        if isinstance(each, str) and each.startswith("http"):
            yield value, place
        yield from places_of(each)


def submission_of(operation: Operation) -> Any:
    """Return the references of the submission in an operation."""
    found = operation.parts[0].operation if isinstance(operation, Batch) else operation
    assert isinstance(found, Submit)
    return found.request.references
