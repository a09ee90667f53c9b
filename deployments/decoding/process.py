"""A process that decodes: one file after another from standard input, pixels or a refusal to standard output.

Imports Pillow and the standard library alone, so that it is there in a tenth of a second and holds no secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

# Named here so that they are loaded before the process is confined; the library would look for them later.
from PIL import Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from deployments.decoding.confinement import confine, grant_cpu
from deployments.decoding.pixels import decode
from deployments.decoding.rules import MAX_BYTES, PictureRefused, Refusal
from deployments.decoding.wire import ANSWER, QUESTION, READY, READY_AND_CUT_OFF

#: Everything that the library may ask for while it decodes what is allowed.
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
#: Pixels that are copied at once on their way out: a second copy of a large picture would need memory too.
STRIP_PIXELS = 1 << 18


def main() -> None:
    """Answer until there is no more to read."""
    Image.preinit()
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(READY_AND_CUT_OFF if confine() else READY)
    answers.flush()
    for content in _contents(questions):
        grant_cpu()
        answer(content, answers)
        answers.flush()


def _contents(questions: BinaryIO) -> Iterator[bytes]:
    while len(head := questions.read(QUESTION.size)) == QUESTION.size:
        [length] = QUESTION.unpack(head)
        if length > MAX_BYTES:
            return
        content = questions.read(length)
        if len(content) < length:
            return
        yield content


def answer(content: bytes, answers: BinaryIO) -> None:
    """Write the pixels of a file, or why there are none."""
    try:
        image = decode(content)
    except PictureRefused as refusal:
        answers.write(ANSWER.pack(refusal.why, 0, 0))
    except MemoryError:
        answers.write(ANSWER.pack(Refusal.TOO_COSTLY, 0, 0))
    else:
        answers.write(ANSWER.pack(0, *image.size))
        _write_pixels(image, answers)


def _write_pixels(image: Image.Image, answers: BinaryIO) -> None:
    rows = max(STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        answers.write(strip.tobytes())
