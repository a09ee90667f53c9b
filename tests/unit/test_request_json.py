"""Requests as JSON: nothing is lost, nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.tasks.request_json import UnreadableRequest, decode_request, encode_request
from models.request import GenerationRequest, ImageFormat, Reference, Role, Safety

MakeRequest = Callable[..., GenerationRequest]

TEXTS = st.text(st.characters(codec=None), max_size=20)
REQUESTS = st.builds(
    GenerationRequest,
    model=TEXTS,
    prompt=TEXTS,
    references=st.lists(st.builds(Reference, role=st.sampled_from(Role), source=TEXTS), max_size=3).map(tuple),
    width=st.integers(),
    height=st.integers(),
    num_images=st.integers(),
    num_inference_steps=st.integers(),
    guidance_scale=st.floats(allow_nan=False, allow_infinity=False),
    seed=st.integers(),
    output_format=st.sampled_from(ImageFormat),
    safety=st.sampled_from(Safety),
)


@given(request=REQUESTS)
def test_what_is_written_is_read_back(request: GenerationRequest) -> None:
    """Every request survives being written and read, in text that any database can hold."""
    text = encode_request(request)

    assert decode_request(text) == request
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("guidance_scale", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_not_written(make_request: MakeRequest, guidance_scale: float) -> None:
    """What JSON has no word for is refused at the writing."""
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_request(make_request(guidance_scale=guidance_scale))


@pytest.mark.parametrize("text", ["", "null", "[]", "7", "{", '{"prompt": "a cat"}', "\0"])
def test_other_texts_are_not_requests(text: str) -> None:
    """Text that is no request is unreadable, whatever else it is."""
    with pytest.raises(UnreadableRequest):
        decode_request(text)


@pytest.mark.parametrize(
    "change",
    [
        {"width": "256"},
        {"width": 256.0},
        {"width": True},
        {"seed": None},
        {"guidance_scale": "3.5"},
        {"guidance_scale": True},
        {"prompt": 7},
        {"model": None},
        {"references": {}},
        {"references": "data:"},
        {"references": ["https://example.org/cat.png"]},
        {"references": [{"role": "subject"}]},
        {"references": [{"role": "subject", "source": "data:", "weight": 1}]},
        {"references": [{"role": "master", "source": "data:"}]},
        {"references": [{"role": "subject", "source": 7}]},
        {"output_format": "gif"},
        {"strength": 0.5},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(make_request: MakeRequest, change: dict[str, Any]) -> None:
    """A field of another type, an unknown one or an unknown word makes the request unreadable."""
    record = json.loads(encode_request(make_request()))

    with pytest.raises(UnreadableRequest):
        decode_request(json.dumps(record | change))


@pytest.mark.parametrize(
    "field", ["model", "prompt", "references", "num_images", "num_inference_steps", "output_format"]
)
def test_a_missing_field_is_refused(make_request: MakeRequest, field: str) -> None:
    """Nothing is filled in: a default of today may not be the one the request was accepted with."""
    record = json.loads(encode_request(make_request()))
    del record[field]

    with pytest.raises(UnreadableRequest, match=field):
        decode_request(json.dumps(record))


def test_a_whole_number_is_a_good_guidance(make_request: MakeRequest) -> None:
    """Guidance written without a point is read as the number it is."""
    record = json.loads(encode_request(make_request()))

    assert decode_request(json.dumps(record | {"guidance_scale": 4})).guidance_scale == 4.0


def test_the_reason_does_not_quote_the_prompt(make_request: MakeRequest) -> None:
    """Reasons go to the log, where no prompt belongs."""
    record = json.loads(encode_request(make_request(prompt="a secret cat")))

    with pytest.raises(UnreadableRequest) as refusal:
        decode_request(json.dumps(record | {"width": "wide"}))

    assert "width" in str(refusal.value)
    assert "secret" not in str(refusal.value)
