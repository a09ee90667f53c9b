"""One engine under mixed work: every picture is what it is alone, and nothing stays behind."""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from PIL import Image

from models.engine import Engine
from models.flux.group import FluxSample
from models.flux.pipeline import FluxPipeline
from models.rehearsal import rehearse
from models.request import GeneratedImage, GenerationRequest, Reference, Role
from models.resident import Standing
from models.sample import Sample, ShapeKey
from models.sharing import Sharing
from models.uno import UnoPipeline
from models.uso import UsoPipeline

#: Requests that go through one engine, and how many more, of the same kinds, are cancelled on the way.
REQUESTS, CANCELLED = 64, 16
#: How many may share a call where that is found to leave no trace, and the size for which that is found out.
MAX_GROUP, REHEARSED = 4, (64, 64)
#: Requests of which nothing may stay; tests/unit/models runs thousands on a pipeline that costs nothing.
MANY = 40

Wish = tuple[GenerationRequest, Sequence[Image.Image]]


def _strip(seed: int) -> Image.Image:
    """Paint a long thin picture, so that a reference is few tokens."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (3, 40, 3), dtype=np.uint8))


def _wish(number: int) -> Wish:
    """Wish for something of another model, shape, prompt, length and guidance for every number."""
    draw = random.Random(number)  # noqa: S311 -- repeatable, not a secret
    model = ("uno", "uso")[number % 2]
    roles = [Role.SUBJECT] * draw.randint(0, 2) if model == "uno" else draw.choice([[], [Role.CONTENT], [Role.STYLE]])
    request = GenerationRequest(
        model=model,
        prompt=f"wish {number}",
        negative_prompt=draw.choice(["", "fog"]),
        references=tuple(Reference(role=role, source="painted") for role in roles),
        width=draw.choice([16, 40, 64]),
        height=draw.choice([16, 64]),
        num_images=draw.randint(1, 2),
        num_inference_steps=draw.randint(1, 4),
        guidance_scale=draw.choice([1.0, 4.0, 20.0]),
        seed=number,
    )
    return request, [_strip(number + place) for place in range(len(roles))]


def _pixels(images: Sequence[GeneratedImage]) -> list[bytes]:
    return [each.image.tobytes() for each in images]


def _alone(pipelines: Mapping[str, FluxPipeline], wish: Wish) -> list[bytes]:
    engine = Engine(pipelines)
    engine.admit("r", *wish)
    finished: Mapping[str, Sequence[GeneratedImage]] = {}
    while not engine.is_idle:
        finished = engine.step().finished
    return _pixels(finished["r"])


def test_64_mixed_requests_are_what_they_are_alone(uno: UnoPipeline, uso: UsoPipeline) -> None:
    """Whoever comes, goes, overtakes, is cancelled or shares a call with them, they are those of an idle engine.

    As in a replica in exact mode, pictures share calls where a rehearsal on this very processor allows it.
    """
    pipelines = {"uno": uno, "uso": uso}
    proven = rehearse(pipelines, max_group=MAX_GROUP, sizes=[REHEARSED]).proven
    wishes = [_wish(number) for number in range(REQUESTS)]
    alone = [_alone(pipelines, wish) for wish in wishes]
    engine = Engine(pipelines, sharing=Sharing(MAX_GROUP, proven=proven))
    draw = random.Random(64)  # noqa: S311 -- repeatable, not a secret
    coming = draw.sample(range(REQUESTS + CANCELLED), REQUESTS + CANCELLED)
    made: dict[str, list[bytes]] = {}
    shared: set[ShapeKey] = set()

    while coming or not engine.is_idle:
        for number in [coming.pop() for _ in range(min(draw.randint(0, 3), len(coming)))]:
            standing = Standing(rank=draw.randint(0, 2), tenant=draw.choice("abc"), preview_every=draw.randint(0, 2))
            engine.admit(str(number), *wishes[number % REQUESTS], standing=standing)
        engine.evict(str(draw.randrange(REQUESTS, REQUESTS + CANCELLED)))
        report = engine.step(first=draw.choice([(), (str(draw.randrange(REQUESTS)),)]))
        assert report.failed == {}
        made |= {name: _pixels(images) for name, images in report.finished.items() if int(name) < REQUESTS}
        if report.timed and report.timed.group > 1:
            shared.add(report.timed.shape)

    may_share = {shape for shape, most in proven.items() if most > 1}
    assert shared <= may_share
    assert shared or not may_share
    assert made == {str(number): alone[number % REQUESTS] for number in range(REQUESTS)}


class Sketched(UnoPipeline):
    """Makes its pictures of a digest of their latents, since decoding them would take most of the time."""

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Show the digest as a column of pixels."""
        return [GeneratedImage(seed=sample.seed, image=_digest(sample)) for sample in samples]


def _digest(sample: Sample) -> Image.Image:
    assert isinstance(sample, FluxSample)
    return Image.frombytes("L", (1, 32), hashlib.sha256(sample.tokens.numpy().tobytes()).digest())


@pytest.fixture
def sketched(uno: UnoPipeline) -> Sketched:
    """Build UNO without its decoder."""
    return Sketched(uno._parts)


def test_no_tensor_of_a_request_stays_behind(sketched: Sketched) -> None:
    """After many small requests, every other one cancelled at its first step, no sample of them is left."""
    engine = Engine({"uno": sketched})
    for number in range(MANY):
        is_cancelled = number % 2 == 1
        engine.admit(f"small-{number}", _small(number, steps=2 if is_cancelled else 1), [])
        engine.step()
        if is_cancelled:
            engine.evict(f"small-{number}")

    gc.collect()
    samples = [each for each in gc.get_objects() if type(each) is FluxSample]
    left = [each for each in samples if each.request_id.startswith("small-")]  # a test that failed keeps its own

    assert engine.is_idle
    assert left == []


def _small(number: int, *, steps: int) -> GenerationRequest:
    return GenerationRequest(
        model="uno",
        prompt=f"{number % 8}",
        references=(),
        width=16,
        height=16,
        num_inference_steps=steps,
        guidance_scale=4.0,
        seed=number,
    )
