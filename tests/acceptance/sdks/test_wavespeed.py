"""WaveSpeed's own Python package, unmodified, gets its pictures from this service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import wavespeed
from acceptance.sdks.letterbox import Letterbox
from acceptance.sdks.told import seen, unsigned
from receiver import Arrival
from running_service import ALICE, BOB, CALL_S, Served, client_of

from models.catalog import SIZE_PRESETS

#: One small picture of UNO, quickly.
SMALL: dict[str, Any] = {
    "prompt": "a cup",
    "seed": 5,
    "num_inference_steps": 2,
    "image_size": "square",
    "output_format": "png",
}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def secret(service: Served) -> str:
    """Return what Alice's webhooks are signed with, as she gets it."""
    with client_of(service) as client:
        told: str = client.get("/api/v3/webhook/secret").json()["data"]["secret"]
    assert told.startswith("whsec_")
    return told.removeprefix("whsec_")


@pytest.fixture(scope="module")
def client(service: Served) -> wavespeed.Client:
    """Return the package's client, pointed at the service by its own argument."""
    return wavespeed.Client(api_key=ALICE, base_url=service.base_url)


def run(client: wavespeed.Client, model: str, **fields: Any) -> list[bytes]:
    """Run a model through the package and fetch what came of it, as its users do."""
    outputs = client.run(model, fields, poll_interval=0.2, timeout=200)["outputs"]
    return [httpx.get(url, timeout=CALL_S, trust_env=False).raise_for_status().content for url in outputs]


def size_of(content: bytes) -> tuple[int, int]:
    """Return a picture's width and height."""
    return seen(content)[1]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_uno_with_one_to_four_references(client: wavespeed.Client, references: list[str], count: int) -> None:
    """UNO gives a picture for any number of references it documents."""
    [picture] = run(
        client,
        "wavespeed-ai/uno",
        images=references[:count],
        prompt="toys",
        seed=5,
        num_inference_steps=4,
        image_size="square",
    )

    assert size_of(picture) == (512, 512)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_uso_with_one_to_four_references(client: wavespeed.Client, references: list[str], count: int) -> None:
    """USO gives a megapixel JPEG for any number of references it documents."""
    [picture] = run(client, "bytedance/uso", reference_images=references[:count], prompt="a harbour", seed=5)

    assert size_of(picture) == (1024, 1024)
    assert picture.startswith(b"\xff\xd8")


@pytest.mark.parametrize("preset", SIZE_PRESETS)
def test_every_size_preset(client: wavespeed.Client, references: list[str], preset: str) -> None:
    """A preset gives exactly the pixels it stands for."""
    [picture] = run(
        client,
        "wavespeed-ai/uno",
        images=references[:1],
        prompt="a cup",
        seed=5,
        num_inference_steps=3,
        image_size=preset,
        output_format="png",
    )

    assert size_of(picture) == SIZE_PRESETS[preset]


def test_same_seed_gives_the_same_bytes_beside_seven_others(client: wavespeed.Client, references: list[str]) -> None:
    """A request repeated among seven different ones, all at once, gives the bytes it gave alone."""
    wish: dict[str, Any] = {
        "images": references[:2],
        "prompt": "two toys",
        "seed": 11,
        "num_images": 2,
        "num_inference_steps": 6,
    }
    others = [wish | {"seed": 100 + n, "prompt": f"toy {n}", "num_inference_steps": 4 + n % 3} for n in range(7)]
    alone = run(client, "wavespeed-ai/uno", **wish)

    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(lambda fields: run(client, "wavespeed-ai/uno", **fields), [wish, *others]))

    assert crowd[0] == alone
    assert len({pictures[0] for pictures in crowd}) == 8


def test_picture_i_uses_seed_plus_i(client: wavespeed.Client, references: list[str]) -> None:
    """The second picture of a request is the first of one whose seed is one higher."""
    wish: dict[str, Any] = {"images": references[:1], "prompt": "a cup", "num_inference_steps": 3}

    pair = run(client, "wavespeed-ai/uno", **wish, seed=20, num_images=2)
    single = run(client, "wavespeed-ai/uno", **wish, seed=21)

    assert pair[1:] == single


@pytest.mark.parametrize("change", [{"prompt": "a hat"}, {"seed": 6}, {"guidance_scale": 9.0}])
def test_another_wish_gives_another_picture(
    client: wavespeed.Client, references: list[str], change: dict[str, Any]
) -> None:
    """Prompt, seed and guidance each change the picture."""
    wish: dict[str, Any] = {"images": references[:1], "prompt": "a cup", "seed": 5, "num_inference_steps": 3}

    before = run(client, "wavespeed-ai/uno", **wish)
    after = run(client, "wavespeed-ai/uno", **(wish | change))

    assert before != after


def test_sync_mode_with_base64(client: wavespeed.Client, references: list[str]) -> None:
    """In sync mode one call brings the picture itself, as naked base64."""
    fields = {
        "images": references[:1],
        "prompt": "a cup",
        "seed": 5,
        "num_inference_steps": 3,
        "enable_base64_output": True,
    }

    outputs = client.run("wavespeed-ai/uno", fields, enable_sync_mode=True)["outputs"]

    assert size_of(base64.b64decode(outputs[0], validate=True)) == (1024, 1024)


def test_a_failed_task_raises_with_the_services_words(client: wavespeed.Client, references: list[str]) -> None:
    """A reference that is not there fails the task, and the package tells its user which one."""
    wish = {"images": [references[0], references[0] + "-gone"], "prompt": "a cup"}

    with pytest.raises(Exception, match="reference 2 answered 404"):
        client.run("wavespeed-ai/uno", wish, poll_interval=0.2)


def test_a_wrong_key_is_refused(service: Served, references: list[str]) -> None:
    """The package shows the 401 to its user."""
    stranger = wavespeed.Client(api_key="key-of-nobody-0123456789", base_url=service.base_url)

    with pytest.raises(Exception, match="401"):
        stranger.run("wavespeed-ai/uno", {"images": references[:1], "prompt": "a cup"})


def test_sync_mode_with_links(client: wavespeed.Client, references: list[str]) -> None:
    """In sync mode one call brings the links, and the picture is the one that polling gives."""
    wish = SMALL | {"images": references[:1]}

    [url] = client.run("wavespeed-ai/uno", wish, enable_sync_mode=True)["outputs"]

    assert [httpx.get(url, timeout=CALL_S, trust_env=False).content] == run(client, "wavespeed-ai/uno", **wish)


def test_an_upload_can_be_used(client: wavespeed.Client, picture: Path, references: list[str]) -> None:
    """A file that the package uploads is kept as it is, and does as a reference what it does from the web."""
    url = client.upload(str(picture))

    assert httpx.get(url, timeout=CALL_S, trust_env=False).content == picture.read_bytes()
    assert run(client, "wavespeed-ai/uno", **SMALL, images=[url]) == run(
        client, "wavespeed-ai/uno", **SMALL, images=references[:1]
    )


def test_a_signed_webhook_brings_the_task(
    client: wavespeed.Client, letterbox: Letterbox, references: list[str], secret: str
) -> None:
    """One call comes to the very address, signed with the account's secret, with the task and its input."""
    wish = SMALL | {"images": references[:1]}
    told = client.run_no_throw(f"wavespeed-ai/uno?webhook={letterbox.base_url}/wavespeed", wish, poll_interval=0.2)

    [arrival] = letterbox.until(1, "/wavespeed")

    body = json.loads(arrival.body)
    assert arrival.headers["webhook-signature"] == signature(arrival, secret)
    assert arrival.line.startswith("POST ")
    assert (body["id"], body["status"]) == (told["task_id"], "completed")
    assert list(map(unsigned, body["outputs"])) == list(map(unsigned, told["outputs"]))
    assert body["input"] == wish


def test_a_webhook_tells_of_a_failure(
    client: wavespeed.Client, letterbox: Letterbox, references: list[str], secret: str
) -> None:
    """The address may stand in the body, and hears of tasks that fail."""
    wish = {"images": [references[0] + "-gone"], "prompt": "a cup", "webhook_url": f"{letterbox.base_url}/failed?a=%2F"}
    told = client.run_no_throw("wavespeed-ai/uno", wish, poll_interval=0.2)

    [arrival] = letterbox.until(1, "/failed?a=%2F")

    body = json.loads(arrival.body)
    assert arrival.headers["webhook-signature"] == signature(arrival, secret)
    assert (body["id"], body["status"], body["code"]) == (told["task_id"], "failed", 1402)


def signature(arrival: Arrival, secret: str) -> str:
    """Sign a webhook as WaveSpeed tells its users to check."""
    signed = f"{arrival.headers['webhook-id']}.{arrival.headers['webhook-timestamp']}.".encode() + arrival.body
    return f"v3,{hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def test_another_tenants_task_is_not_there(service: Served, client: wavespeed.Client, references: list[str]) -> None:
    """Who was given an id of someone else sees what an unknown one gives."""
    told = client.run_no_throw("wavespeed-ai/uno", SMALL | {"images": references[:1]}, poll_interval=0.2)
    stranger = wavespeed.Client(api_key=BOB, base_url=service.base_url)

    with pytest.raises(RuntimeError, match="HTTP 404"):
        stranger.get_result(told["task_id"])

    assert client.get_result(told["task_id"])["data"]["status"] == "completed"


def test_a_deleted_task_is_stopped_and_gone(service: Served, client: wavespeed.Client, references: list[str]) -> None:
    """A task that is deleted while it runs ends, and the package hears that it is not there."""
    wish = SMALL | {"images": references[:1], "prompt": "nobody wants this", "num_inference_steps": 50, "num_images": 4}
    with client_of(service) as plain:
        task = plain.post("/api/v3/wavespeed-ai/uno", json=wish).json()["data"]["id"]

        deleted = plain.delete(f"/api/v3/predictions/{task}").json()["data"]

    assert deleted == {"id": task, "status": "deleted"}
    with pytest.raises(RuntimeError, match="HTTP 404"):
        client.get_result(task)
    assert service.states("wavespeed", task_id=task) == ["cancelled"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_images": 9}, "num_images must be between 1 and 4"),
        ({"images": None}, "images is required"),
        ({"prompt": ""}, "prompt"),
        ({"image_size": "huge"}, "image_size must be one of"),
    ],
)
def test_bad_input_is_refused(
    client: wavespeed.Client, references: list[str], change: dict[str, Any], text: str
) -> None:
    """The package shows the 400 and the service's words, which name the field."""
    with pytest.raises(Exception, match=f"HTTP 400.*{text}"):
        client.run("wavespeed-ai/uno", SMALL | {"images": references[:1]} | change)
