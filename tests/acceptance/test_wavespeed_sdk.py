"""WaveSpeed's own Python package, unmodified, gets its pictures from this service."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import wavespeed
from PIL import Image
from running_service import ALICE, Service

from models.catalog import SIZE_PRESETS


@pytest.fixture(scope="module")
def client(service: Service) -> wavespeed.Client:
    """Return the package's client, pointed at the service by its own argument."""
    return wavespeed.Client(api_key=ALICE, base_url=service.base_url)


def run(client: wavespeed.Client, model: str, **fields: Any) -> list[bytes]:
    """Run a model through the package and fetch what came of it, as its users do."""
    outputs = client.run(model, fields, poll_interval=0.2, timeout=200)["outputs"]
    return [httpx.get(url, trust_env=False).raise_for_status().content for url in outputs]


def size_of(content: bytes) -> tuple[int, int]:
    """Return a picture's width and height."""
    return Image.open(io.BytesIO(content)).size


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


def test_a_wrong_key_is_refused(service: Service, references: list[str]) -> None:
    """The package shows the 401 to its user."""
    stranger = wavespeed.Client(api_key="key-of-nobody-0123456789", base_url=service.base_url)

    with pytest.raises(Exception, match="401"):
        stranger.run("wavespeed-ai/uno", {"images": references[:1], "prompt": "a cup"})
