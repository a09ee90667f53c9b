"""NVIDIA's tritonclient, unmodified, gets its pictures from this service over the KServe v2 protocol."""

from __future__ import annotations

import pytest
from acceptance.sdks.told import Play, Told, wait_until_cancelled
from running_service import Served

SQUARE = ("PNG", (512, 512))

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def told(play_user: Play) -> Told:
    """Return what came of the script."""
    return play_user("tritonclient", {})


def test_the_service_describes_itself(told: Told) -> None:
    """Health, metadata, configuration and the list of models are what the package expects."""
    described = told.answer("described")

    assert [described[name] for name in ("live", "ready", "uso_ready", "unknown_ready")] == [True, True, True, False]
    assert described["server"]["name"] == "uxo-serve"
    assert {"prompt", "images", "seed"} <= set(described["inputs"])
    assert described["config"] == "uso"
    assert [entry["name"] for entry in described["index"]] == ["uno", "uso"]


@pytest.mark.parametrize("case", ["run", "file_inside", "not_waited_for"])
def test_a_picture_of_the_asked_size(told: Told, case: str) -> None:
    """The tensor ``images`` holds a file as bytes, with its seed and the call's id beside it."""
    assert told.seen(case) == [SQUARE]
    assert (told.answer(case)["id"], told.answer(case)["seed"]) == ("7", [5])


def test_four_references_and_two_pictures_of_the_other_model(told: Told) -> None:
    """Every picture is an element, and its seed counts on."""
    assert told.seen("uno") == [("JPEG", (320, 192))] * 2
    assert told.answer("uno")["seed"] == [5, 6]


@pytest.mark.parametrize("case", ["again", "file_inside", "not_waited_for"])
def test_the_same_seed_gives_the_same_bytes(told: Told, case: str) -> None:
    """A wish that is repeated gives the file it gave before, wherever its reference came from."""
    assert told.pictures(case) == told.pictures("run")


def test_pixels_in_and_out(told: Told) -> None:
    """Whoever has arrays needs no file."""
    assert told.answer("pixels_inside") == {"shape": [1, 512, 512, 3], "dtype": "uint8", "is_a_picture": True}


def test_a_picture_in_json(told: Told) -> None:
    """Without binary tensors, a picture is a data URI."""
    assert told.answer("as_json") == "data:image/png;base64,"


def test_what_was_inferred_is_counted(told: Told) -> None:
    """The statistics know at least the calls that were just made."""
    assert told.answer("counted") >= 6


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("wrong_key", "401", "API key"),
        ("no_key", "401", "API key"),
        ("bad_field", "400", "'num_images' must be between 1 and 4"),
        ("no_references", "400", "'images' or 'image_pixels' is required"),
        ("gone_reference", "400", "reference 1 answered 404"),
        ("unknown_model", "404", "unknown model"),
    ],
)
def test_mistakes_raise_the_packages_own_error(told: Told, case: str, status: str, text: str) -> None:
    """The package shows status and words of the service."""
    raised = told.raised(case)

    assert (raised.name, raised.has["_status"]) == ("InferenceServerException", status)
    assert text in raised.says


def test_hanging_up_cancels(told: Told, service: Served) -> None:
    """A caller who stops waiting is not worked for any longer."""
    assert told.answer("hang_up")

    wait_until_cancelled(service, "kserve")
