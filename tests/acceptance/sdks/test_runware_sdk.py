"""The runware-sdk package (1.8), unmodified, gets its pictures from this service over REST and over a WebSocket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from acceptance.sdks.letterbox import Letterbox
from acceptance.sdks.told import Play, Told, unsigned

SQUARE = ("PNG", (512, 512))

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("by", ["rest", "websocket"])]


@pytest.fixture(scope="module")
def told(play_user: Play) -> Told:
    """Return what came of the script."""
    return play_user("runware_sdk", {})


@pytest.mark.parametrize("case", ["run", "again", "inline", "upload", "image_upload"])
def test_the_same_seed_gives_the_same_bytes(told: Told, by: str, case: str) -> None:
    """Asked for in whichever way, the picture has the size of the wish and the bytes it had before."""
    assert told.seen(f"{by}_{case}") == [SQUARE]
    assert told.pictures(f"{by}_{case}") == told.pictures("rest_run")


def test_four_references_and_three_pictures(told: Told, by: str) -> None:
    """Every result has an id, a seed that counts on, and a cost."""
    images = told.answer(f"{by}_four_references")["images"]

    assert told.seen(f"{by}_four_references") == [("WEBP", (320, 208))] * 3
    assert [image["seed"] for image in images] == [5, 6, 7]
    assert len({image["imageUUID"] for image in images}) == 3
    assert all(image["cost"] > 0 for image in images)


def test_an_inline_picture_comes_without_an_address(told: Told, by: str) -> None:
    """What is asked for as base64 is not also on the web."""
    assert "imageURL" not in told.answer(f"{by}_inline")["members"]


def test_what_is_stored_can_be_used_fetched_and_deleted(told: Told, by: str) -> None:
    """The package's own way of uploading, from begin to end."""
    answer = told.answer(f"{by}_upload")

    assert answer["is_what_was_sent"]
    assert answer["deleted"] == "delete"


def test_a_webhook_besides_the_answer(told: Told, letterbox: Letterbox, by: str) -> None:
    """Who waits and names an address gets the result in both places."""
    images = told.answer(f"{by}_webhook")["images"]

    [arrival] = letterbox.until(1, f"/runware-sdk-{by}")

    assert unsigned_all(json.loads(arrival.body)["data"]) == unsigned_all(images)


def test_a_task_can_be_looked_up(told: Told, by: str) -> None:
    """Its details hold the wish and its results, which can be had again and are the same."""
    answer = told.answer(f"{by}_details")

    assert answer["prompt"] == "a cup"
    assert unsigned_all(answer["told"]) == unsigned_all(answer["repeated"]) == unsigned_all(answer["images"])


def unsigned_all(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return results whose links have no signature."""
    return [result | {"imageURL": unsigned(result["imageURL"])} for result in results]


def test_the_account_is_told(told: Told, by: str) -> None:
    """The balance counts what was spent."""
    balance = told.answer(f"{by}_account")

    assert balance["currency"] == "USD"
    assert balance["spent"] > 0


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("wrong_key", "auth", "API key"),
        ("used_twice", "validation", "this taskUUID was used"),
        ("foreign_task", "notFound", "not found"),
        ("bad_field", "validation", "steps must be between 1 and 50"),
        ("unknown_field", "validation", "sparkle"),
        ("no_prompt", "validation", "positivePrompt is required"),
        ("gone_reference", "provider", "reference 1 answered 404"),
        ("unknown_model", "validation", "model must be"),
    ],
)
def test_mistakes_raise_the_packages_own_error(told: Told, by: str, case: str, code: str, text: str) -> None:
    """The package sorts the error into its kind and shows the service's words."""
    raised = told.raised(f"{by}_{case}")

    assert (raised.name, raised.has["code"]) == ("RunwareError", code)
    assert text in raised.says
