"""What was encoded before is not encoded again, and makes the same picture to the last bit."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from models.flux.components import FluxComponents
from models.flux.encodings import KEPT_S, Encodings, digest_of_picture, digest_of_text
from models.flux.group import FluxSample
from models.request import GenerationRequest, Reference, Role
from models.uso import UsoPipeline


def _wish(seed: int, prompt: str = "a cat") -> GenerationRequest:
    roles = (Role.CONTENT, Role.STYLE)
    return GenerationRequest(
        model="uso",
        prompt=prompt,
        references=tuple(Reference(role=role, source="painted") for role in roles),
        width=32,
        height=32,
        num_inference_steps=1,
        guidance_scale=4,
        seed=seed,
        negative_prompt="fog",
    )


@pytest.fixture
def encodings(uso: UsoPipeline) -> Encodings:
    """Return what the pipeline remembers."""
    parts: FluxComponents = uso._parts
    return parts.encodings


def test_the_second_time_everything_is_found(uso: UsoPipeline, encodings: Encodings) -> None:
    """A request with the same prompts and pictures encodes nothing, and its step is the same as afresh."""
    pictures = [Image.new("RGB", (40, 4), "red"), Image.new("RGB", (9, 9), "blue")]
    [fresh] = uso.step(uso.prepare("a", _wish(7), pictures))

    [found] = uso.step(uso.prepare("b", _wish(7), [picture.copy() for picture in pictures]))

    assert encodings.misses == {"text": 2, "reference": 1, "style": 1}
    assert encodings.hits == encodings.misses
    assert isinstance(fresh, FluxSample)
    assert isinstance(found, FluxSample)
    assert found.tokens.equal(fresh.tokens)


def test_bytes_are_bounded_and_the_oldest_goes_first() -> None:
    """With room for two, the one asked for least recently is forgotten; what alone is too large is not kept."""
    encodings = Encodings(max_bytes=16)
    for name in ("a", "b", "a", "c", "a", "b"):
        encodings.get("text", name, lambda: (torch.zeros(2),))
    encodings.get("text", "huge", lambda: (torch.zeros(99),))

    assert (encodings.hits["text"], encodings.misses["text"]) == (2, 5)
    assert encodings.size_bytes == 16


def test_everything_that_is_asked_for_is_heard() -> None:
    """Whoever listens hears each kind, and whether it had to be made."""
    encodings, heard = Encodings(), []
    encodings.hear = lambda kind, is_hit: heard.append((kind, is_hit))

    for kind, content in (("text", "a"), ("text", "a"), ("style", "a")):
        encodings.get(kind, content, lambda: (torch.zeros(2),))

    assert heard == [("text", False), ("text", True), ("style", False)]


def test_digests_tell_contents_apart() -> None:
    """Texts of any kind, and pictures of the same bytes but another size, have digests of their own."""
    texts = ["", "a", "A", "\ud800", "\x00"]
    pictures = [Image.new("RGB", size) for size in ((2, 3), (3, 2), (6, 1))]

    assert len({digest_of_text(text) for text in texts}) == len(texts)
    assert len({digest_of_picture(picture) for picture in pictures}) == len(pictures)


def test_nothing_is_remembered_for_long() -> None:
    """Ten minutes after it was encoded, however often it was asked for meanwhile, a prompt is encoded anew."""
    now_s = 0.0
    encodings = Encodings(clock=lambda: now_s)
    for moment_s in (0.0, KEPT_S - 1, KEPT_S + 1):
        now_s = moment_s
        encodings.get("text", "a", lambda: (torch.zeros(2),))

    assert (encodings.hits["text"], encodings.misses["text"]) == (1, 2)
