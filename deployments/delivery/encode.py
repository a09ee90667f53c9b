"""Writes a finished picture as a file, alike every time: nothing but the pixels and the settings decides its bytes.

Blocking work for a thread; the library lets others run while it compresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PIL.PngImagePlugin import PngInfo

from deployments.delivery.sink import EncodedImage
from deployments.picture_files import JPEG, PNG, WEBP, PictureFile
from models.request import GeneratedImage, ImageFormat

if TYPE_CHECKING:
    from PIL import Image

#: Says in a file that a model has drawn it; the same for every picture.
#: Source: IPTC Photo Metadata Standard, property Digital Source Type, and the IPTC's vocabulary of that name; the
#: packet around it is XMP's, ISO 16684-1.
DISCLOSURE = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="r"?>'
)


#: Quality of previews as JPEG, [1, 100].
PREVIEW_QUALITY = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoding:
    """How one format is written."""

    #: The kind of file.
    kind: PictureFile
    #: What to tell the library besides the quality.
    settings: Mapping[str, Any]
    #: What to tell it besides, for a file that says that a model has drawn it.
    disclosure: Mapping[str, Any]


def _png_text() -> PngInfo:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", DISCLOSURE)
    return text


_PACKET = {"xmp": DISCLOSURE.encode()}
_ENCODINGS = MappingProxyType(
    {
        ImageFormat.JPEG: _Encoding(kind=JPEG, settings={}, disclosure=_PACKET),
        # Level 1 with run-length matching: several times faster than the library's default for much the same size.
        ImageFormat.PNG: _Encoding(
            kind=PNG,
            settings={"compress_level": 1, "compress_type": 3},
            disclosure={"pnginfo": _png_text()},
        ),
        ImageFormat.WEBP: _Encoding(kind=WEBP, settings={}, disclosure=_PACKET),
    }
)


def encode(
    image: GeneratedImage, output_format: ImageFormat, quality: int = 95, *, discloses: bool = False
) -> EncodedImage:
    """Encode a picture.

    Args:
        image: the picture; RGB.
        output_format: the format to write.
        quality: of JPEG and WebP, [1, 100]; PNG loses nothing and ignores it.
        discloses: whether the file says that a model has drawn it.
    """
    encoding = _ENCODINGS[output_format]
    # A copy without the notes a picture carries: the library would write some of them into the file.
    bare = image.image.copy()
    bare.info = {}
    file = BytesIO()
    disclosure = encoding.disclosure if discloses else {}
    bare.save(file, format=encoding.kind.name, quality=quality, **encoding.settings, **disclosure)
    return EncodedImage(
        content=file.getvalue(), content_type=encoding.kind.media_type, extension=encoding.kind.extension
    )


def encode_preview(image: Image.Image) -> bytes:
    """Encode a small picture of an unfinished one as JPEG; few bytes count for more than fine ones."""
    file = BytesIO()
    image.save(file, format=JPEG.name, quality=PREVIEW_QUALITY)
    return file.getvalue()
