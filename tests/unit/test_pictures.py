"""The bundled pictures are what the script draws."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from deployments.decoding.pixels import decode
from deployments.pictures import read_picture
from deployments.pictures.draw import SIDE, draw_mug, draw_waves

DRAWN = {"mug": draw_mug, "waves": draw_waves}


@pytest.mark.parametrize(("name", "draw"), DRAWN.items(), ids=DRAWN)
def test_the_script_draws_the_bundled_picture(name: str, draw: Callable[[], Image.Image]) -> None:
    """Drawing again gives the committed picture, pixel for pixel, so nobody can change one without the other."""
    bundled = Image.open(io.BytesIO(read_picture(name)))

    drawn = draw()

    assert (drawn.size, drawn.mode) == (bundled.size, bundled.mode)
    assert ImageChops.difference(drawn, bundled).getbbox() is None


@pytest.mark.parametrize("name", DRAWN)
def test_a_bundled_picture_is_a_good_reference(name: str) -> None:
    """The service takes its own pictures as references."""
    picture = decode(read_picture(name))

    assert (picture.size, picture.mode) == ((SIDE, SIDE), "RGB")
