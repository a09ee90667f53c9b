"""The openai package, unmodified, gets its pictures from this service as AIML's users do."""

from __future__ import annotations

import pytest
from acceptance.sdks.told import Play, Told, wait_until_cancelled
from running_service import Served

SQUARE = ("PNG", (512, 512))

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def told(play_user: Play) -> Told:
    """Return what came of the script."""
    return play_user("openai", {})


@pytest.mark.parametrize("case", ["run", "inline", "sync_mode", "data_uri", "asynchronous"])
def test_a_picture_of_the_asked_size(told: Told, case: str) -> None:
    """However it is asked for, the picture has the size of the wish."""
    assert told.seen(case) == [SQUARE]


def test_three_references_and_two_pictures(told: Told) -> None:
    """AIML's own fields are heard through ``extra_body``."""
    answer = told.answer("three_references")

    assert told.seen("three_references") == [("JPEG", (320, 200))] * 2
    assert answer["images"] == [
        {name: image[name] for name in ("url", "content_type", "file_name", "file_size", "width", "height")}
        for image in answer["data"]
    ]


@pytest.mark.parametrize("case", ["again", "inline", "sync_mode", "data_uri", "asynchronous"])
def test_the_same_seed_gives_the_same_bytes(told: Told, case: str) -> None:
    """A wish that is repeated, in whichever mode and wherever its reference is, gives the file it gave before."""
    assert told.pictures(case) == told.pictures("run")


def test_two_pictures_are_two(told: Told) -> None:
    """The pictures of one call differ, as their seeds do."""
    assert len(set(told.pictures("three_references"))) == 2


def test_the_answer_has_what_aiml_adds(told: Told) -> None:
    """Seed, timings and usage reach the user as further members."""
    answer = told.answer("asynchronous")

    assert answer["status"] == 201
    assert answer["seed"] == 5
    assert answer["has_nsfw_concepts"] == [False]
    assert answer["timings"]["inference"] > 0
    assert answer["meta"]["usage"]["tokens_used"] > 0
    assert answer["created"] > 1_700_000_000


def test_inline_pictures_come_without_an_address(told: Told) -> None:
    """OpenAI's ``b64_json`` replaces the address; AIML's ``sync_mode`` gives the same bytes as a data URI as well."""
    assert told.answer("inline")["url"] is None
    assert told.answer("sync_mode")["is_the_same"]


@pytest.mark.parametrize(
    ("case", "name", "status", "text"),
    [
        ("wrong_key", "AuthenticationError", 401, "API key"),
        ("bad_field", "BadRequestError", 400, "n must be between 1 and 4"),
        ("no_references", "BadRequestError", 400, "image_urls is required"),
        ("gone_reference", "BadRequestError", 400, "reference 1 answered 404"),
        ("unknown_model", "BadRequestError", 400, "model must be"),
        ("unknown_path", "NotFoundError", 404, "404"),
    ],
)
def test_mistakes_raise_the_packages_own_errors(told: Told, case: str, name: str, status: int, text: str) -> None:
    """The package sorts the answer into its class, and shows the service's words."""
    raised = told.raised(case)

    assert (raised.name, raised.has["status_code"]) == (name, status)
    assert text in raised.says


def test_hanging_up_cancels(told: Told, service: Served) -> None:
    """A caller who stops waiting is not worked for any longer."""
    assert told.answer("hang_up")

    wait_until_cancelled(service, "aiml", noted="nobody waits for this")
