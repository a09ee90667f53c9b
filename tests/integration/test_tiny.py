"""The tiny models through the real pipelines: sizes, determinism, and that everything a caller says can be seen."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deployments.pictures import read_picture
from models.catalog import CATALOG
from models.flux.pipeline import FluxPipeline
from models.loading import TINY, load_pipeline
from models.request import GenerationRequest, Reference, Role
from models.tiny import components
from models.tiny.tokenizer import END, FIRST_BYTE, PAD, ByteTokenizer

#: Mean difference in grey levels from which two pictures look different side by side.
VISIBLE = 3.0

ORANGE, BLUE, GREEN = (240, 120, 30), (30, 70, 200), (40, 160, 60)
#: Each way to give a picture to a model.
ROLES = [("uno", Role.SUBJECT), ("uso", Role.CONTENT), ("uso", Role.STYLE)]
PROMPT = "a red fox in the snow, painted in watercolour"
PLAIN = GenerationRequest(
    model="uno", prompt=PROMPT, references=(), width=256, height=256, num_inference_steps=8, guidance_scale=3.5, seed=7
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread: how a sum is cut over threads changes its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pipelines() -> dict[str, FluxPipeline]:
    """Build both tiny pipelines, as a replica does."""
    built = {name: load_pipeline(spec, weights=TINY, device="cpu") for name, spec in CATALOG.items()}
    return {name: pipeline for name, pipeline in built.items() if isinstance(pipeline, FluxPipeline)}


def draw(
    pipelines: dict[str, FluxPipeline], request: GenerationRequest, images: Sequence[Image.Image] = ()
) -> Image.Image:
    """Run a request to its first picture."""
    pipeline = pipelines[request.model]
    samples = pipeline.prepare("test", request, images)
    for _ in range(request.num_inference_steps):
        samples = pipeline.step(samples)
    return pipeline.decode(samples)[0].image


def with_pictures(request: GenerationRequest, *roles: Role) -> GenerationRequest:
    """Ask for the same with references of these roles."""
    return replace(request, references=tuple(Reference(role=role, source="https://example.org/a") for role in roles))


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Paint a reference: one colour, darker to the right."""
    shades = np.linspace(1, 0.6, size[0])[None, :, None] * np.array(colour)[None, None, :]
    return Image.fromarray(np.broadcast_to(shades, (size[1], size[0], 3)).astype(np.uint8))


def visible(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures differ to the eye."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()) > VISIBLE


@pytest.mark.parametrize("size", [(130, 500), (500, 130), (128, 128), (512, 320), (333, 129)])
def test_exact_size(pipelines: dict[str, FluxPipeline], size: tuple[int, int]) -> None:
    """A picture is exactly as large as asked, also where tokens do not divide it."""
    request = replace(PLAIN, width=size[0], height=size[1], num_inference_steps=1)

    drawn = draw(pipelines, request)

    assert drawn.size == size
    assert drawn.mode == "RGB"


@pytest.mark.parametrize("model", ["uno", "uso"])
def test_same_request_same_picture(pipelines: dict[str, FluxPipeline], model: str) -> None:
    """Models built twice draw the same bytes."""
    request = replace(PLAIN, model=model, num_inference_steps=2)
    again = {model: FluxPipeline(components(model), rule=pipelines[model]._rule)}

    assert draw(pipelines, request).tobytes() == draw(again, request).tobytes()


#: Draws a picture in a process of its own and prints its digest.
OTHER_PROCESS = """
import hashlib, random, sys, torch
from models.catalog import CATALOG
from models.loading import load_pipeline
from models.request import GenerationRequest
torch.manual_seed(random.randrange(10**6))
torch.set_num_threads(1)
pipeline = load_pipeline(CATALOG["uso"], weights="tiny", device="cpu")
request = GenerationRequest(model="uso", prompt="a fox", references=(), width=192, height=128,
                            num_inference_steps=3, guidance_scale=4.0, seed=5)
samples = pipeline.prepare("other", request, [])
for _ in range(3):
    samples = pipeline.step(samples)
print(hashlib.sha256(pipeline.decode(samples)[0].image.tobytes()).hexdigest())
"""


def test_same_picture_in_another_process(pipelines: dict[str, FluxPipeline]) -> None:
    """Another process, with another random state and hash seed, draws the same bytes."""
    request = replace(
        PLAIN, model="uso", prompt="a fox", width=192, height=128, num_inference_steps=3, guidance_scale=4.0, seed=5
    )

    finished = subprocess.run([sys.executable, "-c", OTHER_PROCESS], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == hashlib.sha256(draw(pipelines, request).tobytes()).hexdigest()


def test_building_leaves_the_random_state_alone() -> None:
    """Building a model neither reads nor moves torch's own random state."""
    before = torch.get_rng_state()

    components("uso")

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "a red fox in the snow, painted in oil"},
        {"prompt": ""},
        {"seed": 8},
        {"guidance_scale": 5.0},
        {"num_inference_steps": 5},
        {"model": "uso"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_field_can_be_seen(pipelines: dict[str, FluxPipeline], changed: dict[str, object]) -> None:
    """Another prompt, seed, guidance, step count or model gives a visibly other picture."""
    other = replace(PLAIN, **changed)  # type: ignore[arg-type]  # fields of several types

    assert visible(draw(pipelines, PLAIN), draw(pipelines, other))


def test_late_words_count(pipelines: dict[str, FluxPipeline]) -> None:
    """A word far beyond CLIP's 77 tokens but within T5's 512 still changes the picture."""
    harbour = "a harbour at dawn with many boats and birds and a tall lighthouse on an island, " * 5
    red, blue = (replace(PLAIN, prompt=harbour + colour) for colour in ("red", "blue"))

    assert visible(draw(pipelines, red), draw(pipelines, blue))


def test_words_beyond_the_last_token_are_cut(pipelines: dict[str, FluxPipeline]) -> None:
    """What does not fit into 512 tokens changes nothing: prompts are cut, not refused."""
    long = "x" * 600
    red, blue = (replace(PLAIN, prompt=long + colour, num_inference_steps=1) for colour in ("red", "blue"))

    assert draw(pipelines, red).tobytes() == draw(pipelines, blue).tobytes()


@pytest.mark.parametrize(("model", "role"), ROLES)
@pytest.mark.parametrize(("colour", "channel"), [(ORANGE, 0), (GREEN, 1), (BLUE, 2)])
def test_palette_follows_the_reference(
    pipelines: dict[str, FluxPipeline], model: str, role: Role, colour: tuple[int, int, int], channel: int
) -> None:
    """A reference's strongest colour gets stronger in the picture than in a grey reference's picture."""
    request = with_pictures(replace(PLAIN, model=model), role)

    coloured = np.asarray(draw(pipelines, request, [picture(colour)]), float).mean(axis=(0, 1))
    grey = np.asarray(draw(pipelines, request, [picture((128, 128, 128))]), float).mean(axis=(0, 1))

    tint = (coloured - coloured.mean()) - (grey - grey.mean())
    assert tint.argmax() == channel
    assert tint[channel] > VISIBLE


@pytest.mark.parametrize("prompt", [PROMPT, "a lighthouse", ""])
@pytest.mark.parametrize("model", ["uno", "uso"])
def test_a_picture_has_the_palette_of_its_own_reference(
    pipelines: dict[str, FluxPipeline], model: str, prompt: str
) -> None:
    """Of four references unlike each other, a picture's colour is nearest to that of the one it was made with."""
    role = Role.SUBJECT if model == "uno" else Role.STYLE
    request = with_pictures(replace(PLAIN, model=model, prompt=prompt), role)
    references = [waves(), *(picture(colour) for colour in (ORANGE, BLUE, GREEN))]

    made = [mean_colour(draw(pipelines, request, [reference])) for reference in references]

    theirs = np.array([mean_colour(reference) for reference in references])
    nearest = [int(np.linalg.norm(theirs - np.array(colour), axis=1).argmin()) for colour in made]
    assert nearest == [0, 1, 2, 3]


@pytest.mark.parametrize(("model", "role"), ROLES)
def test_a_palette_comes_from_the_reference_whatever_the_prompt_and_the_seed(
    pipelines: dict[str, FluxPipeline], model: str, role: Role
) -> None:
    """Over prompts and seeds, a picture's colour is less than half as far from its reference's as one without it."""
    references = [waves(), picture(ORANGE), picture(GREEN)]
    theirs = np.array([mean_colour(reference) for reference in references])
    wishes = [
        replace(PLAIN, model=model, prompt=prompt, seed=seed) for prompt in (PROMPT, "a lighthouse") for seed in (7, 8)
    ]

    without = np.array([[mean_colour(draw(pipelines, wish))] for wish in wishes])
    made = np.array(
        [
            [mean_colour(draw(pipelines, with_pictures(wish, role), [reference])) for reference in references]
            for wish in wishes
        ]
    )

    distance = np.linalg.norm(made - theirs, axis=2).mean(axis=0)
    assert (distance < np.linalg.norm(without - theirs, axis=2).mean(axis=0) / 2).all()


@pytest.mark.parametrize("changed", [{"prompt": "a lighthouse"}, {"seed": 8}], ids=lambda changed: next(iter(changed)))
@pytest.mark.parametrize(("model", "role"), ROLES)
def test_prompt_and_seed_can_be_seen_beside_a_reference(
    pipelines: dict[str, FluxPipeline], model: str, role: Role, changed: dict[str, object]
) -> None:
    """With one and the same reference, another prompt or seed still gives a visibly other picture."""
    one = with_pictures(replace(PLAIN, model=model), role)
    other = replace(one, **changed)  # type: ignore[arg-type]  # fields of several types

    assert visible(draw(pipelines, one, [waves()]), draw(pipelines, other, [waves()]))


def waves() -> Image.Image:
    """Open the bundled style picture."""
    return Image.open(io.BytesIO(read_picture("waves"))).convert("RGB")


def mean_colour(image: Image.Image) -> list[float]:
    """Return the mean red, green and blue."""
    return [float(mean) for mean in np.asarray(image, float).mean(axis=(0, 1))]


def test_order_of_references_counts(pipelines: dict[str, FluxPipeline]) -> None:
    """Two subjects swapped are another request and another picture."""
    request = with_pictures(PLAIN, Role.SUBJECT, Role.SUBJECT)
    orange, blue = picture(ORANGE), picture(BLUE, (200, 300))

    one, other = draw(pipelines, request, [orange, blue]), draw(pipelines, request, [blue, orange])

    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("size", [(1600, 90), (90, 1600), (499, 499), (31, 17)])
def test_odd_references(pipelines: dict[str, FluxPipeline], size: tuple[int, int]) -> None:
    """References whose tokens do not fill the coarse autoencoder's are taken all the same."""
    request = with_pictures(replace(PLAIN, num_inference_steps=1), Role.SUBJECT)

    drawn = draw(pipelines, request, [picture(ORANGE, size)])

    assert drawn.size == (256, 256)


@pytest.mark.parametrize("model", ["uno", "uso"])
def test_pictures_have_contrast(pipelines: dict[str, FluxPipeline], model: str) -> None:
    """A picture is neither grey nor flat, and mostly within the range of colours."""
    drawn = np.asarray(draw(pipelines, replace(PLAIN, model=model, width=512, height=512)), float)

    assert drawn.std(axis=(0, 1)).mean() > 10
    assert (drawn.max(axis=2) - drawn.min(axis=2)).mean() > 20
    assert ((drawn == 0) | (drawn == 255)).mean() < 0.3


def test_bytes_are_tokens() -> None:
    """A text becomes its UTF-8 bytes, an end and padding; a long one is cut before its end."""
    tokenizer = ByteTokenizer()

    ids = tokenizer(["aä", "abcdef"], padding="max_length", truncation=True, max_length=5, return_tensors="pt")

    assert ids["input_ids"].tolist() == [
        [FIRST_BYTE + 0x61, FIRST_BYTE + 0xC3, FIRST_BYTE + 0xA4, END, PAD],
        [*(FIRST_BYTE + byte for byte in b"abcd"), END],
    ]


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({"prompt": "a fox, " * 857 + "a"}, []),
        ({"prompt": ""}, []),
        ({"num_inference_steps": 1}, []),
        ({}, [(1600, 100), (100, 1600), (16, 256), (256, 16)]),
    ],
    ids=["6,000 characters", "no prompt", "one step", "four extreme references"],
)
def test_what_is_at_the_edge_is_pictured(
    pipelines: dict[str, FluxPipeline], changes: dict[str, Any], sides: list[tuple[int, int]]
) -> None:
    """A long or empty prompt, a single step, and four pictures that are all long and thin give a picture."""
    wish = replace(
        PLAIN, width=128, height=128, references=(Reference(role=Role.SUBJECT, source=""),) * len(sides), **changes
    )

    picture = draw(pipelines, wish, [Image.new("RGB", size, ORANGE) for size in sides])

    assert picture.size == (128, 128)
    assert len(picture.getcolors(128 * 128) or ()) > 1
