"""References on their way in: which trouble is whose, and how large a result is that keeps its size."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from running_replica import decode_here

from deployments.errors import FaultKind, ReferenceUnusable
from deployments.outbound.refused import ReferenceRefused
from deployments.replica.bringing import GRID, bring, fitted, sized
from models.catalog import MAX_SIDE, MIN_SIDE
from models.request import GenerationRequest, Reference, Role

MakeRequest = Callable[..., GenerationRequest]


class Shelf:
    """A small place that has two references."""

    async def fetch(self, source: str, *, tenant_id: str) -> bytes:  # noqa: ARG002 -- the protocol's argument
        """Return a picture, something else, or nothing."""
        if source == "picture":
            return png(640, 480)
        if source == "text":
            return b"no picture at all"
        raise ReferenceRefused("answered 404")


def png(width: int, height: int) -> bytes:
    """Draw a grey picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, format="PNG")
    return file.getvalue()


def references(*sources: str) -> tuple[Reference, ...]:
    """Refer to some sources."""
    return tuple(Reference(role=Role.SUBJECT, source=source) for source in sources)


async def test_pictures_come_in_their_order() -> None:
    """Every reference is brought as a picture of its size."""
    images = await bring(Shelf(), references("picture", "picture"), tenant_id="alice", decode=decode_here)

    assert [image.size for image in images] == [(640, 480), (640, 480)]


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("nowhere", FaultKind.REFERENCE_UNREACHABLE, "reference 2 answered 404"),
        ("text", FaultKind.REFERENCE_UNUSABLE, "reference 2 "),
    ],
)
async def test_trouble_names_the_reference_and_its_kind(source: str, kind: FaultKind, words: str) -> None:
    """What cannot be fetched is told apart from what cannot be used, and people count from one."""
    with pytest.raises(ReferenceUnusable) as trouble:
        await bring(Shelf(), references("picture", source), tenant_id="alice", decode=decode_here)

    assert trouble.value.kind is kind
    assert trouble.value.message.startswith(words)


def test_a_result_keeps_its_size_only_where_that_is_asked(make_request: MakeRequest) -> None:
    """The first picture decides; without a wish or a picture the request stays as it is."""
    request = make_request(width=256, height=128)
    images = [Image.new("RGB", (640, 483)), Image.new("RGB", (99, 99))]

    kept = sized(replace(request, keep_size=True), images)

    assert (kept.width, kept.height) == (640, 483)
    assert sized(request, images) is request
    assert sized(replace(request, keep_size=True), []).width == 256


@given(st.integers(16, 8192), st.integers(16, 8192))
def test_every_size_is_fitted(width: int, height: int) -> None:
    """The models can draw it; what they could draw before is left alone, anything else is on the grid."""
    fit_width, fit_height = fitted(width, height)

    assert all(MIN_SIDE <= side <= MAX_SIDE for side in (fit_width, fit_height))
    if min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE:
        assert (fit_width, fit_height) == (width, height)
    else:
        assert fit_width % GRID == fit_height % GRID == 0


def test_a_large_picture_keeps_its_shape() -> None:
    """It is scaled down to the largest side, in proportion."""
    assert fitted(4096, 3072) == (2048, 1536)
    assert fitted(100, 200) == (128, 256)
