"""Picture files that mean harm, and sound ones that were damaged by dice: always the same for a seed.

Nothing here was found elsewhere; every file is made from Pillow's own writing and from chunks put together by hand.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

GIBIBYTE = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A file and what may become of it."""

    #: What it is, in a few words.
    name: str
    #: Its bytes.
    content: bytes
    #: Whether it has to be refused, has to be decoded, or may be either.
    must: str = "either"


def sound_files() -> list[bytes]:
    """Return sound files of every kind, mode and way of writing, most of them small."""
    noise = drawn_by_dice(96, 80)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a place" * 20
    alpha, grey = noise.convert("RGBA"), Image.new("I;16", (96, 80), 40_000)
    frames = {"save_all": True, "append_images": [noise.rotate(90).resize((96, 80))]}
    large = noise.resize((1024, 1024))
    return [
        *(saved(large, kind) for kind in ("PNG", "JPEG", "WEBP")),
        *(saved(noise, kind, exif=exif) for kind in ("PNG", "JPEG", "WEBP")),
        *(saved(noise.convert(mode), "PNG") for mode in ("P", "L", "LA", "1")),
        *(saved(noise.convert(mode), "JPEG") for mode in ("L", "CMYK")),
        saved(noise, "JPEG", progressive=True, quality=30),
        *(saved(alpha, kind) for kind in ("PNG", "WEBP")),
        saved(grey, "PNG"),
        saved(alpha, "WEBP", lossless=True),
        *(saved(noise, kind, **frames) for kind in ("PNG", "WEBP")),
    ]


def drawn_by_dice(width: int, height: int) -> Image.Image:
    """Draw a picture of noise, always the same of a size."""
    draw = random.Random(width * height)  # noqa: S311 -- a load, not a secret
    return Image.frombytes("RGB", (width, height), draw.randbytes(3 * width * height))


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """Write a picture as a file."""
    file = BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def mutated(count: int, *, seed: int) -> Iterator[Hostile]:
    """Yield sound files that were damaged, one way after another."""
    draw = random.Random(seed)  # noqa: S311 -- a load, not a secret
    sound = sound_files()
    for number in range(count):
        content = bytearray(draw.choice(sound))
        for _ in range(draw.randint(1, 3)):
            draw.choice(DAMAGES)(content, draw)
        yield Hostile(name=f"mutation {number}", content=bytes(content))


def _change_bytes(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)


def _change_head(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(min(len(content), 64))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randint(1, len(content)) :]


def _take_out(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    if len(content) > 64:
        del content[start : start + draw.randint(1, 64)]


def _repeat(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    content[start:start] = content[start : start + draw.randint(1, 2_000)]


def _grow(content: bytearray, draw: random.Random) -> None:
    """Put a large number where a length or a size may be."""
    start = draw.randrange(min(len(content), 256))
    content[start : start + 4] = draw.choice(
        (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x40\0", b"\x00\x00\x00\x00")
    )


def _mend(content: bytearray, _draw: random.Random) -> None:
    """Make the checksums of a PNG file right again, so that what is damaged gets further in."""
    at = 8
    while content.startswith(b"\x89PNG") and at + 12 <= len(content):
        [length] = struct.unpack_from(">I", content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            return
        struct.pack_into(">I", content, end, zlib.crc32(content[at + 4 : end]))
        at = end + 4


DAMAGES = (_change_bytes, _change_head, _cut, _take_out, _repeat, _grow, _mend)


def hostile_files() -> list[Hostile]:
    """Return the files that are made by hand."""
    plain = saved(Image.new("RGB", (64, 64), "red"), "PNG")
    refused = {
        "text": b"this is no picture" * 10,
        "an SVG file": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "a GIF file": saved(Image.new("P", (64, 64)), "GIF"),
        "a TIFF file called PNG": b"\x89PNG\r\n\x1a\n" + saved(Image.new("L", (64, 64)), "TIFF"),
        "a PNG file of 30,000 pixels a side": png((30_000, 30_000), bits=1, kind=0),
        "a PNG file of 2 billion pixels a side": png((2**31 - 1, 2**31 - 1)),
        "a PNG file one pixel wide": saved(Image.new("RGB", (1, 1)), "PNG"),
        "a PNG file of nothing": png((0, 0)),
        "a strip": saved(Image.new("RGB", (4_000, 16)), "PNG"),
        "a JPEG file of 65,500 pixels": saved(Image.new("L", (65_500, 16)), "JPEG"),
        "a WebP canvas of 16,384 pixels a side": webp_canvas(16_384, 16_384),
        "a PNG file without pixels": png((5_000, 5_000)),
        "half a PNG file": plain[: len(plain) // 2],
        "a head alone": plain[:8],
        "20 MiB and more": plain + bytes(20 * 1024 * 1024),
    }
    decoded = {
        "24 megapixels of one colour": saved(Image.new("RGB", (6_000, 4_000), "blue"), "PNG"),
        "24 megapixels of JPEG": saved(Image.new("RGB", (6_000, 4_000), "blue"), "JPEG"),
        "24 megapixels of progressive JPEG": saved(Image.new("RGB", (6_000, 4_000)), "JPEG", progressive=True),
        "24 megapixels of WebP": saved(Image.new("RGB", (6_000, 4_000)), "WEBP", method=0),
        "a CMYK JPEG file": saved(Image.new("CMYK", (64, 64)), "JPEG"),
        "16 bits a channel": saved(Image.new("I;16", (64, 64)), "PNG"),
        "an animation of 200 frames": _animation(200),
        "JPEG with broken EXIF": saved(Image.new("RGB", (64, 64)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "something after the end": plain + b"PK\x03\x04" + bytes(10_000),
    }
    either = {
        "a palette with too few colours": png(
            (64, 64), kind=3, extra=[(b"PLTE", b"\0\0\0")], rows=b"\0" + b"\xff" * 64
        ),
        "a text of a gigabyte": png((64, 64), extra=[(b"zTXt", b"a\0\0" + bomb(GIBIBYTE))]),
        "an XMP packet of a gigabyte": png((64, 64), extra=[(b"iTXt", b"a\0\1\0\0\0" + bomb(GIBIBYTE))]),
        "a colour profile of a gigabyte": png((64, 64), extra=[(b"iCCP", b"a\0\0" + bomb(GIBIBYTE))]),
        "a thousand texts": png((64, 64), extra=[(b"zTXt", b"a\0\0" + bomb(1 << 20))] * 1_000),
        "rows without end": png((64, 64), packed=bomb(GIBIBYTE)),
        "JPEG with a thousand scans": _many_scans(1_000),
    }
    return [
        *(Hostile(name=name, content=content, must="refuse") for name, content in refused.items()),
        *(Hostile(name=name, content=content, must="decode") for name, content in decoded.items()),
        *(Hostile(name=name, content=content) for name, content in either.items()),
    ]


def png(
    size: tuple[int, int],
    *,
    bits: int = 8,
    kind: int = 2,
    extra: list[tuple[bytes, bytes]] | None = None,
    rows: bytes = b"",
    packed: bytes = b"",
) -> bytes:
    """Put a PNG file together that says what its chunks say, true or not."""
    header = struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0)
    pixels = packed or zlib.compress(rows * size[1])
    chunks = [(b"IHDR", header), *(extra or []), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


@cache
def bomb(size_bytes: int) -> bytes:
    """Compress so many zeros, about a thousand to one."""
    packer = zlib.compressobj(1)
    piece = bytes(1 << 20)
    packed = [packer.compress(piece) for _ in range(size_bytes // len(piece))]
    return b"".join([*packed, packer.flush()])


def webp_canvas(width: int, height: int) -> bytes:
    """Put the start of an extended WebP file together that claims a canvas and has no frame."""
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas


def _animation(frames: int) -> bytes:
    shades = [Image.new("RGB", (256, 256), (shade, 0, 0)) for shade in range(frames)]
    return saved(shades[0], "WEBP", save_all=True, append_images=shades[1:])


def _many_scans(scans: int) -> bytes:
    """Repeat the last scan of a large progressive JPEG file: each makes the decoder look at every block again."""
    content = saved(drawn_by_dice(100, 100).convert("L").resize((4_000, 4_000)), "JPEG", progressive=True, quality=5)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + b"\xff\xd9"
