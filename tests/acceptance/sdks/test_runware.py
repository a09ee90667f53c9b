"""The runware package (0.5), unmodified, gets its pictures from this service over a WebSocket."""

from __future__ import annotations

import json

import pytest
from acceptance.sdks.letterbox import Letterbox
from acceptance.sdks.told import Play, Told

SQUARE = ("PNG", (512, 512))
FROM_THE_SAME_WISH = ["again", "inline", "data_uri", "upload", "store_media", "local_file", "sent_to_us"]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def told(play_user: Play) -> Told:
    """Return what came of the script."""
    return play_user("runware", {})


@pytest.mark.parametrize("case", ["run", *FROM_THE_SAME_WISH])
def test_a_picture_of_the_asked_size(told: Told, case: str) -> None:
    """However it is asked for, the picture has the size of the wish."""
    assert told.seen(case) == [SQUARE]


@pytest.mark.parametrize("case", FROM_THE_SAME_WISH)
def test_the_same_seed_gives_the_same_bytes(told: Told, case: str) -> None:
    """A wish that is repeated gives the file it gave before, wherever its reference came from and its picture goes."""
    assert told.pictures(case) == told.pictures("run")


def test_four_references_and_three_pictures(told: Told) -> None:
    """Every result has an id, a seed that counts on, a cost and a verdict."""
    answer = told.answer("four_references")

    assert told.seen("four_references") == [("WEBP", (320, 208))] * 3
    assert answer["seeds"] == [5, 6, 7]
    assert len(set(answer["uuids"])) == 3
    assert all(cost > 0 for cost in answer["costs"])
    assert answer["unsafe"] == [False] * 3


def test_asynchronous_delivery(told: Told) -> None:
    """A task is acknowledged at once, and its results are polled for."""
    answer = told.answer("asynchronous")

    assert answer["is_acknowledged"]
    assert answer["seeds"] == [5, 6]
    assert told.seen("asynchronous") == [SQUARE] * 2
    assert told.pictures("asynchronous")[0] == told.pictures("run")[0]


def test_an_inline_picture_comes_without_an_address(told: Told) -> None:
    """What is asked for as base64 is not also on the web."""
    assert told.answer("inline")["url"] is None


def test_an_upload_is_kept_as_it_is(told: Told) -> None:
    """What was uploaded can be fetched, byte for byte."""
    assert told.answer("upload")["is_what_was_sent"]


def test_one_webhook_per_result(told: Told, letterbox: Letterbox) -> None:
    """Each result comes to the very address; Runware signs nothing, so its query is the secret."""
    task = told.answer("webhook")["task"]

    arrivals = letterbox.until(2, "/runware?secret=a%2Fb")

    items = [item for arrival in arrivals for item in json.loads(arrival.body)["data"]]
    assert [arrival.line.split()[0] for arrival in arrivals] == ["POST", "POST"]
    assert {item["taskUUID"] for item in items} == {task}
    assert sorted(item["seed"] for item in items) == [5, 6]
    assert {item["status"] for item in items} == {"success"}


def test_the_file_is_put_where_its_tenant_wants_it(told: Told, letterbox: Letterbox) -> None:
    """The raw bytes come by PUT to the very address, and are what the link gives."""
    [picture] = told.pictures("sent_to_us")

    [arrival] = letterbox.until(1, "/put?signature=a%2Fb")

    assert arrival.line.startswith("PUT ")
    assert arrival.headers["content-type"] == "image/png"
    assert "authorization" not in arrival.headers
    assert arrival.body == picture


def test_a_task_is_told_as_it_was_sent(told: Told) -> None:
    """Its details hold the wish."""
    assert told.answer("details") == {"is_the_task": True, "prompt": "a cup"}


def test_a_wrong_key_is_refused_at_once(told: Told) -> None:
    """The package gives up and says that it is about the key."""
    raised = told.raised("wrong_key")

    assert raised.name == "ConnectionError"
    assert "The API key is missing or not valid" in raised.says


@pytest.mark.parametrize(
    ("case", "code", "parameter"),
    [
        ("used_twice", "conflictTaskUUID", "taskUUID"),
        ("foreign_task", "taskFailedOrNotFound", "taskUUID"),
        ("foreign_upload", "downloadFailed", "inputs.referenceImages"),
        ("bad_field", "valueTooLarge", "steps"),
        ("unknown_field", "unsupportedParameter", "sparkle"),
        ("gone_reference", "downloadFailed", "inputs.referenceImages"),
        ("unknown_model", "invalidModel", "model"),
    ],
)
def test_mistakes_raise_the_packages_own_error(told: Told, case: str, code: str, parameter: str) -> None:
    """An error finds the task that waits for it, with Runware's code and the parameter's name."""
    raised = told.raised(case)

    assert (raised.name, raised.has["code"]) == ("RunwareAPIError", code)
    assert f"'parameter': '{parameter}'" in raised.says
