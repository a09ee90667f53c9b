"""Kinds of picture files: told by their first bytes alone."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from deployments.picture_files import HEAD_BYTES, JPEG, PNG, WEBP, PictureFile, recognised


@pytest.mark.parametrize("kind", [PNG, JPEG, WEBP])
def test_a_kind_is_told_by_its_head(kind: PictureFile) -> None:
    """The first twelve bytes of a real file are enough, and it is what the imaging library calls it."""
    file = BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind.name)

    assert recognised(file.getvalue()[:HEAD_BYTES]) is kind
    assert recognised(file.getvalue()) is kind
    assert Image.open(file).get_format_mimetype() == kind.media_type


@pytest.mark.parametrize("head", [b"", b"\x89PNG", b"\xff\xd8", b"RIFF....WAVE", b"GIF89a......", b" \xff\xd8\xff"])
def test_anything_else_is_none(head: bytes) -> None:
    """What begins otherwise, or ends too soon, is no picture file."""
    assert recognised(head) is None
