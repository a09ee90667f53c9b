"""Makes a request of input tensors: what each of them means, in which range, and what holds where it is absent."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any, NoReturn

from PIL import Image

from deployments.dialects.kserve.tensors import Tensor
from deployments.errors import BadField, Problem
from deployments.picture_files import recognised
from models.catalog import (
    MAX_GUIDANCE,
    MAX_IMAGES,
    MAX_SIDE,
    MAX_STEPS,
    MIN_GUIDANCE,
    MIN_SIDE,
    MIN_STEPS,
    UNO,
    ModelSpec,
)
from models.request import GenerationRequest, ImageFormat, Reference, Role

#: Longest prompt in bytes of UTF-8; the text encoders read a few hundred words of it.
MAX_PROMPT_BYTES = 24 * 1024
#: Longest side of a picture that comes as pixels; references are scaled to a few hundred pixels a side anyway.
MAX_PIXELS_SIDE = 4096
#: Pictures of one call; each of them is in the answer.
MAX_PICTURES = 4
#: Largest seed: the seeds of the further pictures have to fit into 64 bits as well.
MAX_SEED = 2**63 - 1 - MAX_IMAGES
#: A side in pixels where the caller says nothing.
DEFAULT_SIDE = 1024

_FORMATS: Mapping[bytes, ImageFormat] = MappingProxyType({each.value.encode(): each for each in ImageFormat})
_ADDRESS = re.compile(rb"(?:https?://|data:)", re.IGNORECASE)


class Wish:
    """The inputs of one call to one model.

    Args:
        spec: the model.
        tensors: the inputs by name, each of the form that is described for it.
    """

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> None:
        self._spec = spec
        self._tensors = tensors

    def __repr__(self) -> str:
        """Name the model and the inputs, without their values."""
        return f"<Wish {self._spec.name} [{', '.join(self._tensors)}]>"

    def request(self, fresh_seed: int) -> GenerationRequest:
        """Return the complete request.

        Raises:
            BadField: when an input is missing or out of its range.
        """
        spec = self._spec
        return GenerationRequest(
            model=spec.name,
            prompt=self._prompt(),
            references=self._references(),
            width=self._whole("width", default=DEFAULT_SIDE, low=MIN_SIDE, high=MAX_SIDE),
            height=self._whole("height", default=DEFAULT_SIDE, low=MIN_SIDE, high=MAX_SIDE),
            num_images=self._whole("num_images", default=1, low=1, high=MAX_PICTURES),
            num_inference_steps=self._whole(
                "num_inference_steps", default=spec.default_steps, low=MIN_STEPS, high=MAX_STEPS
            ),
            guidance_scale=self._guidance(),
            seed=self._whole("seed", default=fresh_seed, low=0, high=MAX_SEED),
            output_format=self._output_format(),
            negative_prompt=self._text("negative_prompt"),
        )

    def _prompt(self) -> str:
        if "prompt" not in self._tensors:
            _refuse("prompt", "is required", Problem.MISSING)
        prompt = self._text("prompt")
        if not prompt and self._spec.name == UNO.name:
            _refuse("prompt", "must not be empty", Problem.TOO_SHORT)
        return prompt

    def _references(self) -> tuple[Reference, ...]:
        """Return the pictures, with the roles that the model has for them in their order."""
        name = "image_pixels" if "image_pixels" in self._tensors else "images"
        if name not in self._tensors:
            _refuse("images", "or 'image_pixels' is required", Problem.MISSING)
        if name == "image_pixels" and "images" in self._tensors:
            _refuse(name, "cannot be combined with 'images'", Problem.NOT_A_CHOICE)
        roles = [role for role in Role for _ in range(self._spec.max_references.get(role, 0))]
        sources = self._sources(name, most=len(roles))
        return tuple(Reference(role=role, source=source) for role, source in zip(roles, sources, strict=False))

    def _sources(self, name: str, *, most: int) -> list[str]:
        tensor = self._tensors[name]
        # Counted before any is looked at: a body has room for millions of pictures of one pixel.
        count = 1 if len(tensor.shape) == 3 else tensor.shape[0]
        if count > most:
            _refuse(name, f"must have at most {most} pictures for this model", Problem.TOO_MANY)
        return _drawn(tensor) if name == "image_pixels" else [_source(element) for element in tensor.elements]

    def _output_format(self) -> ImageFormat:
        [word] = self._elements("output_format", default=b"png")
        if word not in _FORMATS:
            words = ", ".join(known.decode("ascii") for known in _FORMATS)
            _refuse("output_format", f"must be one of {words}", Problem.NOT_A_CHOICE)
        return _FORMATS[word]

    def _guidance(self) -> float:
        [value] = self._elements("guidance_scale", default=self._spec.default_guidance)
        if not MIN_GUIDANCE <= value <= MAX_GUIDANCE:
            _refuse("guidance_scale", f"must be between {MIN_GUIDANCE:g} and {MAX_GUIDANCE:g}", Problem.TOO_LARGE)
        return float(value)

    def _whole(self, name: str, *, default: int, low: int, high: int) -> int:
        [value] = self._elements(name, default=default)
        if not low <= value <= high:
            problem = Problem.TOO_SMALL if value < low else Problem.TOO_LARGE
            _refuse(name, f"must be between {low} and {high}", problem)
        return int(value)

    def _text(self, name: str) -> str:
        [content] = self._elements(name, default=b"")
        if len(content) > MAX_PROMPT_BYTES:
            _refuse(name, f"must be at most {MAX_PROMPT_BYTES} bytes long", Problem.TOO_LONG)
        return _decoded(name, content)

    def _elements(self, name: str, *, default: float | bytes) -> Sequence[Any]:
        return self._tensors[name].elements if name in self._tensors else (default,)


def _source(content: bytes) -> str:
    """Return where a picture is: the address that is given, or the file that is given as a data URI."""
    kind = recognised(content)
    if kind:
        return _data_uri(kind.media_type, content)
    if not _ADDRESS.match(content):
        _refuse("images", "must hold http, https or data URLs, or PNG, JPEG or WebP files", Problem.BAD_ADDRESS)
    return _decoded("images", content)


def _drawn(tensor: Tensor) -> list[str]:
    """Write pixels as PNG files."""
    height, width, _ = tensor.shape[-3:]
    if max(height, width) > MAX_PIXELS_SIDE:
        _refuse("image_pixels", f"must have sides of at most {MAX_PIXELS_SIDE} pixels", Problem.TOO_LARGE)
    size_bytes = height * width * 3
    pixels = memoryview(bytes(tensor.elements))
    return [_png(pixels[start : start + size_bytes], width, height) for start in range(0, len(pixels), size_bytes)]


def _png(pixels: memoryview, width: int, height: int) -> str:
    file = BytesIO()
    # Level 1: the file is read once, on the same machine or the next, and its maker waits for it.
    Image.frombytes("RGB", (width, height), bytes(pixels)).save(file, format="PNG", compress_level=1)
    return _data_uri("image/png", file.getvalue())


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _decoded(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(name, "must be UTF-8", Problem.BAD_FORM) from error
    if "\0" in text:
        _refuse(name, "must not hold a NUL character", Problem.BAD_FORM)
    return text


def _refuse(name: str, words: str, problem: Problem) -> NoReturn:
    raise _bad(name, words, problem)


def _bad(name: str, words: str, problem: Problem) -> BadField:
    return BadField(f"input {name!r} {words}", field=("inputs", name), problem=problem)
