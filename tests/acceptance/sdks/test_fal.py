"""fal-client, unmodified, gets its pictures from this service over TLS, with fal's own variables for the address."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from acceptance.sdks.letterbox import Letterbox
from acceptance.sdks.told import Play, Told
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from receiver import Arrival
from running_service import CALL_S, Served

SQUARE = ("PNG", (512, 512))

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def told(play_user: Play, tls_front: tuple[str, Path]) -> Told:
    """Return what came of the script."""
    front, authority = tls_front
    hosts = {"FAL_RUN_HOST": f"{front}/fal/run", "FAL_QUEUE_RUN_HOST": f"{front}/fal/queue"}
    return play_user("fal", {**hosts, "SSL_CERT_FILE": str(authority)})


@pytest.fixture(scope="module")
def public_key(service: Served) -> Ed25519PublicKey:
    """Return the key of the service's webhooks, as a receiver gets it: from the JWKS, without an API key."""
    url = f"{service.base_url}/fal/rest/.well-known/jwks.json"
    [key] = httpx.get(url, timeout=CALL_S, trust_env=False).json()["keys"]
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))


@pytest.mark.parametrize("case", ["run", "again", "asynchronous", "inline", "upload_to_cdn", "upload_to_storage"])
def test_a_picture_of_the_asked_size(told: Told, case: str) -> None:
    """However it is asked for, the picture has the size of the wish."""
    assert told.seen(case) == [SQUARE]


def test_the_answer_has_all_that_fal_documents(told: Told) -> None:
    """The five members are there, and an image says what it is."""
    answer = told.answer("run")
    [image] = answer["images"]

    assert {"images", "seed", "has_nsfw_concepts", "prompt", "timings"} <= set(answer)
    assert (answer["seed"], answer["prompt"], answer["has_nsfw_concepts"]) == (5, "a cup", [False])
    assert (image["width"], image["height"], image["content_type"]) == (512, 512, "image/png")
    assert image["file_size"] == len(told.pictures("run")[0])


def test_links_lead_through_the_proxy(told: Told, tls_front: tuple[str, Path]) -> None:
    """What the service says of itself begins with the address by which it was called."""
    assert told.answer("upload_to_cdn")["url"].startswith(f"https://{tls_front[0]}/")


def test_three_references_and_a_size_of_ones_own(told: Told) -> None:
    """Content, style and extra style are taken, and the picture is exactly as large as was asked for."""
    assert told.seen("three_references") == [("JPEG", (320, 200))]


@pytest.mark.parametrize("case", ["again", "inline", "upload_to_cdn", "upload_to_storage"])
def test_the_same_seed_gives_the_same_bytes(told: Told, case: str) -> None:
    """A wish that is repeated, by another way and with an uploaded reference, gives the file it gave before."""
    assert told.pictures(case) == told.pictures("run")


def test_the_queue_is_followed(told: Told) -> None:
    """The package sees states that it knows, the last one completed; picture i uses seed + i."""
    answer = told.answer("subscribe")

    assert {step["status"] for step in answer["seen"]} <= {"Queued", "InProgress", "Completed"}
    assert answer["seen"][-1]["status"] == "Completed"
    assert answer["seen"][-1]["metrics"]["inference_time"] > 0
    assert isinstance(answer["seen"][-1]["logs"], list)
    assert told.seen("subscribe") == [SQUARE, SQUARE]
    assert told.pictures("subscribe") == [*told.pictures("run"), *told.pictures("asynchronous")]


def test_an_inline_picture_is_a_data_uri(told: Told) -> None:
    """With ``sync_mode`` there is nothing left to fetch."""
    assert told.answer("inline")["begins"] == "data:image/png;base64,"


@pytest.mark.parametrize("case", ["upload_to_cdn", "upload_to_storage"])
def test_uploads_are_kept_as_they_are(told: Told, case: str) -> None:
    """Either way of uploading gives an address where the very bytes are."""
    assert told.answer(case)["is_what_was_sent"]


def test_a_signed_webhook_brings_the_result(told: Told, letterbox: Letterbox, public_key: Ed25519PublicKey) -> None:
    """One call comes to the very address, signed with a key of the JWKS, with the result that polling gives."""
    answer = told.answer("webhook")

    [arrival] = letterbox.until(1, "/fal?secret=a%2Fb")

    body = json.loads(arrival.body)
    verify(arrival, public_key)
    assert arrival.line.startswith("POST ")
    assert arrival.headers["content-type"] == "application/json"
    assert arrival.headers["x-fal-webhook-request-id"] == answer["request_id"]
    assert (body["request_id"], body["status"], body["error"]) == (answer["request_id"], "OK", None)
    assert body["payload"] == answer["result"]


def test_a_webhook_tells_of_a_failure(told: Told, letterbox: Letterbox, public_key: Ed25519PublicKey) -> None:
    """A wish that cannot be is told with what is wrong with it."""
    answer = told.answer("webhook_of_a_failure")

    [arrival] = letterbox.until(1, "/fal-failure")

    body: dict[str, Any] = json.loads(arrival.body)
    verify(arrival, public_key)
    assert (body["request_id"], body["status"]) == (answer["request_id"], "ERROR")
    assert body["payload"]["detail"][0]["loc"] == ["body", "num_images"]


def test_a_changed_webhook_is_found_out(told: Told, letterbox: Letterbox, public_key: Ed25519PublicKey) -> None:
    """The signature holds for this body and no other."""
    told.answer("webhook")
    [arrival] = letterbox.until(1, "/fal?secret=a%2Fb")

    with pytest.raises(InvalidSignature):
        verify(Arrival(line=arrival.line, headers=arrival.headers, body=arrival.body + b" "), public_key)


def verify(arrival: Arrival, key: Ed25519PublicKey) -> None:
    """Check a webhook as fal tells its users to."""
    headers = [arrival.headers[f"x-fal-webhook-{name}"] for name in ("request-id", "user-id", "timestamp")]
    message = "\n".join([*headers, hashlib.sha256(arrival.body).hexdigest()])
    key.verify(bytes.fromhex(arrival.headers["x-fal-webhook-signature"]), message.encode())


def test_a_cancelled_request_ends(told: Told) -> None:
    """What was cancelled is completed with an error, and its result says so."""
    answer = told.answer("cancel")

    assert answer["error_type"] == answer["type"] == "client_cancelled"
    assert answer["result"] == 499


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("cancel_too_late", 400),
        ("wrong_key", 401),
        ("foreign_request", 404),
        ("foreign_result", 404),
        ("foreign_cancel", 404),
        ("unknown_application", 404),
        ("bad_field", 422),
        ("bad_field_in_the_queue", 422),
        ("no_references", 422),
        ("gone_reference", 422),
    ],
)
def test_mistakes_raise_the_packages_own_error(told: Told, case: str, status: int) -> None:
    """The package knows the status, and repeats nothing."""
    raised = told.raised(case)

    assert (raised.name, raised.has["status_code"]) == ("FalClientHTTPError", status)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("bad_field", "'num_images'"),
        ("bad_field_in_the_queue", "'num_images'"),
        ("no_references", "'type': 'missing'"),
        ("gone_reference", "'type': 'file_download_error'"),
    ],
)
def test_a_mistake_in_the_input_names_its_field(told: Told, case: str, text: str) -> None:
    """The details reach the user as fal writes them."""
    assert text in told.raised(case).says
