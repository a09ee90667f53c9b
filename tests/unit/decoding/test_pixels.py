"""Decoding strangers' pictures: the formats, the limits, the orientation, and that broken files are only refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.decoding.pixels import decode
from deployments.decoding.rules import MAX_PIXELS, PictureRefused

# The library remarks on broken metadata; the decoder's own filter for that is replaced by pytest's.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")

RED, GREEN = (255, 0, 0), (0, 255, 0)


def picture(mode: str = "RGB", size: tuple[int, int] = (24, 16), color: Any = RED) -> Image.Image:
    """Make a picture whose upper left 8x8 corner is green where the mode has colours."""
    image = Image.new(mode, size, color)
    if mode in {"RGB", "RGBA"}:
        image.paste(GREEN, (0, 0, 8, 8))
    return image


def saved(image: Image.Image, file_format: str, settings: Mapping[str, Any] | None = None) -> bytes:
    """Write a picture as a file."""
    file = BytesIO()
    image.save(file, file_format, **(settings or {}))
    return file.getvalue()


def pixel(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    """Return the channels of one pixel of a picture that has several."""
    channels = image.getpixel(at)
    assert isinstance(channels, tuple)
    return channels


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Write one chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width: int, height: int) -> bytes:
    """Write the start of a PNG file that claims a size and holds no pixels worth the name."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", content) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_format_is_decoded(file_format: str) -> None:
    """Each allowed format gives an RGB picture of its size."""
    image = decode(saved(picture(), file_format, {"lossless": True, "quality": 100}))

    assert (image.mode, image.size) == ("RGB", (24, 16))
    assert all(abs(is_ - should) <= 2 for is_, should in zip(pixel(image, (20, 12)), RED, strict=True))


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PDF", "EPS", "JPEG2000", "AVIF"])
def test_other_format_is_refused(file_format: str) -> None:
    """Formats that are no use here are never parsed."""
    content = saved(picture(), file_format)

    with pytest.raises(PictureRefused, match="is not a PNG, JPEG or WebP picture"):
        decode(content)


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF1234WAVE"])
def test_no_picture_is_refused(content: bytes) -> None:
    """Text, nothing and other containers are refused."""
    with pytest.raises(PictureRefused, match="is not a PNG, JPEG or WebP picture"):
        decode(content)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_file_is_refused(file_format: str, kept: float) -> None:
    """A file that ends early is an error, not a half-grey picture."""
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    content = saved(noise, file_format)

    with pytest.raises(PictureRefused, match="is a broken or incomplete"):
        decode(content[: int(len(content) * kept)])


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (5_001, 5_000, "has more than 25 megapixels"),
        (8_193, 2_000, "is more than 8192 pixels long on one side"),
        (15, 100, "has a side of less than 16 pixels"),
        (16, 129, "is too long and thin"),
        (30_000, 30_000, "."),
        (2**31 - 1, 2**31 - 1, "."),
        (0, 5, "."),
    ],
)
def test_size_is_checked_before_decoding(width: int, height: int, message: str) -> None:
    """A size over the limit is refused by the header alone: these files hold no pixels, so decoding would say so."""
    with pytest.raises(PictureRefused, match=message) as refusal:
        decode(png_claiming(width, height))

    assert "broken" not in refusal.value.message or min(width, height) == 0


def test_size_within_the_limit_is_decoded() -> None:
    """Exactly 25 megapixels are allowed, so the claim is believed and the missing pixels are found."""
    assert MAX_PIXELS == 5_000 * 5_000

    with pytest.raises(PictureRefused, match="is a broken or incomplete"):
        decode(png_claiming(5_000, 5_000))


def webp_claiming(width: int, height: int) -> bytes:
    """Write the start of an extended WebP file that claims a size and holds no frame."""
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas


def test_size_of_an_extended_webp_is_checked_before_it_is_opened() -> None:
    """The library would reserve memory for the whole canvas, so our own look at the header has to come first."""
    with pytest.raises(PictureRefused, match="is more than 8192 pixels long"):
        decode(webp_claiming(16_384, 16_384))

    with pytest.raises(PictureRefused, match="is a broken or incomplete"):
        decode(webp_claiming(64, 64))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((4_098, 520), (2_049, 260)), ((4_096, 520), (4_096, 520)), ((4_099, 520), (4_099, 520))],
)
def test_only_very_large_jpegs_are_halved(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Above 4,096 pixels a JPEG comes at exactly half its size, where its sides can be halved exactly."""
    image = decode(saved(Image.new("RGB", size, RED), "JPEG"))

    assert image.size == expected
    assert decode(saved(Image.new("RGB", size, RED), "PNG")).size == size


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_an_animation_is_its_first_frame(file_format: str) -> None:
    """Of several frames only the first is decoded."""
    frames = [Image.new("RGB", (24, 16), GREEN), Image.new("RGB", (24, 16), RED)]
    content = saved(frames[0], file_format, {"save_all": True, "append_images": frames[1:], "lossless": True})

    image = decode(content)

    assert pixel(image, (20, 12)) == GREEN


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_orientation_is_applied(file_format: str, orientation: int, turn: Image.Transpose | None) -> None:
    """A picture stored turned comes out upright, with its green corner at the upper left again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture() if turn is None else picture().transpose(turn)
    content = saved(stored, file_format, {"exif": exif, "lossless": True, "quality": 100, "subsampling": 0})

    image = decode(content)

    assert image.size == (24, 16)
    red, green, _ = pixel(image, (3, 3))
    assert green > 200
    assert red < 50


def test_unreadable_metadata_does_not_spoil_a_picture() -> None:
    """A picture with garbage where its metadata should be is still decoded."""
    content = saved(picture(), "JPEG", {"exif": b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage"})

    assert decode(content).size == (24, 16)


def test_metadata_is_dropped() -> None:
    """Nothing but pixels leaves the decoder."""
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    content = saved(picture(), "JPEG", {"exif": exif, "comment": b"hello", "dpi": (72, 72)})

    image = decode(content)

    assert image.info == {}
    assert not image.getexif()


def test_alpha_is_dropped_not_composited() -> None:
    """A fully transparent red pixel stays red, as in the models' own code."""
    image = decode(saved(picture("RGBA", color=(255, 0, 0, 0)), "PNG"))

    assert pixel(image, (20, 12)) == RED


@pytest.mark.parametrize(
    ("mode", "color", "file_format", "expected"),
    [
        ("L", 156, "PNG", (156, 156, 156)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("LA", (156, 0), "PNG", (156, 156, 156)),
        ("P", 0, "PNG", (0, 0, 0)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("L", 156, "JPEG", (156, 156, 156)),
        ("CMYK", (0, 0, 0, 0), "JPEG", (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(mode: str, color: Any, file_format: str, expected: tuple[int, int, int]) -> None:
    """Grey, palette, 16-bit and print colours come out as the RGB they show."""
    image = decode(saved(picture(mode, color=color), file_format))

    assert (image.mode, pixel(image, (20, 12))) == ("RGB", expected)


NOISE = Image.effect_noise((48, 48), 90).convert("RGB")
FILES = [saved(NOISE, "PNG"), saved(NOISE, "JPEG"), saved(NOISE, "WEBP"), saved(NOISE.convert("P"), "PNG")]


@settings(max_examples=300)
@given(
    content=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_mutated_file_is_decoded_or_refused(content: bytes, changes: list[tuple[int, int]]) -> None:
    """Changed bytes give some RGB picture or a refusal, never another error."""
    mutated = bytearray(content)
    for position, value in changes:
        mutated[position % len(mutated)] = value

    try:
        image = decode(bytes(mutated))
    except PictureRefused:
        return

    assert image.mode == "RGB"
