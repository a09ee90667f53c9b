"""Encoding finished pictures: right formats, equal bytes for equal pixels, and nothing in the file but the picture."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from deployments.delivery.encode import encode
from models.request import GeneratedImage, ImageFormat

#: Begins the names of the IPTC's vocabularies.
IPTC = "http://cv.iptc.org/newscodes"


def generated(*, seed: int = 1) -> GeneratedImage:
    """Make a picture with some detail."""
    red, green, blue = (Image.linear_gradient("L").rotate(angle).resize((96, 64)) for angle in (0, 90, 180))
    return GeneratedImage(seed=seed, image=Image.merge("RGB", (red, green, blue)))


@pytest.mark.parametrize(
    ("output_format", "content_type", "extension"),
    [
        (ImageFormat.JPEG, "image/jpeg", "jpg"),
        (ImageFormat.PNG, "image/png", "png"),
        (ImageFormat.WEBP, "image/webp", "webp"),
    ],
)
def test_format(output_format: ImageFormat, content_type: str, extension: str) -> None:
    """The file is what its media type and its extension say, of the picture's size."""
    encoded = encode(generated(), output_format)

    image = Image.open(BytesIO(encoded.content))
    assert (encoded.content_type, encoded.extension) == (content_type, extension)
    assert (image.get_format_mimetype(), image.size) == (content_type, (96, 64))


@pytest.mark.parametrize("output_format", ImageFormat)
def test_equal_pixels_give_equal_bytes(output_format: ImageFormat) -> None:
    """Neither the seed nor what a picture remembers gets into the file, and the picture is left as it was."""
    remembering = generated(seed=2)
    remembering.image.info = {"comment": b"x", "dpi": (9, 9), "icc_profile": b"y", "exif": b"z", "Software": "w"}

    plain, noted = encode(generated(), output_format), encode(remembering, output_format)

    assert plain == noted
    assert remembering.image.info["comment"] == b"x"


@pytest.mark.parametrize("output_format", ImageFormat)
def test_no_metadata(output_format: ImageFormat) -> None:
    """The file holds no EXIF, no text and no profile."""
    image = Image.open(BytesIO(encode(generated(), output_format).content))

    assert not image.getexif()
    assert not {"exif", "comment", "icc_profile", "Software", "dpi", "xmp"} & image.info.keys()


@pytest.mark.parametrize("output_format", ImageFormat)
def test_a_file_discloses_that_a_model_drew_it_if_it_is_told_to(output_format: ImageFormat) -> None:
    """The mark is well-formed XMP with the IPTC's term, says nothing else, and leaves the pixels alone."""
    plain = Image.open(BytesIO(encode(generated(), output_format).content))

    marked = Image.open(BytesIO(encode(generated(seed=2), output_format, discloses=True).content))

    packet = ET.fromstring(marked.info["xmp"])  # noqa: S314 -- our own words
    [[description]] = packet
    assert list(description.attrib.values()) == ["", f"{IPTC}/digitalsourcetype/trainedAlgorithmicMedia"]
    assert marked.tobytes() == plain.tobytes()
    assert not marked.getexif()


@pytest.mark.parametrize("output_format", ImageFormat)
def test_every_file_is_marked_alike(output_format: ImageFormat) -> None:
    """Nothing of a request is in the mark."""
    one, other = (encode(generated(seed=seed), output_format, discloses=True) for seed in (1, 2))

    assert one == other


def test_png_keeps_every_pixel() -> None:
    """PNG brings back exactly the pixels that went in."""
    source = generated()

    encoded = encode(source, ImageFormat.PNG)

    assert Image.open(BytesIO(encoded.content)).tobytes() == source.image.tobytes()


@pytest.mark.parametrize("output_format", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_lower_quality_is_smaller(output_format: ImageFormat) -> None:
    """The quality reaches the encoder."""
    fine, coarse = encode(generated(), output_format, 95), encode(generated(), output_format, 20)

    assert len(coarse.content) < len(fine.content)


def test_default_quality_is_95() -> None:
    """Whoever names no quality gets 95."""
    assert encode(generated(), ImageFormat.JPEG) == encode(generated(), ImageFormat.JPEG, 95)
