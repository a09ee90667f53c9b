"""What work costs: milliseconds of a device, bytes on it, and the work units that fair shares count.

Pure arithmetic on a table that the HTTP tier can afford to read. The tables lie in ``models/costs``, one JSON file for
each kind of device; ``python -m loadtest.fit_costs`` writes them.

One unit is one denoising step of one 1024x1024 picture without references. Fair shares, caps and estimates count in
units, so that a tenant who asks for large pictures with many references takes no more than one who asks for small ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from models.request import GenerationRequest, Role

#: Version of the files' form that is read here.
FORM = 1
#: The table that is read where none is named.
USUAL_TABLE = "h100_tile_model"
#: Tokens of a prompt, after padding.
TEXT_TOKENS = 512
#: Tokens of one square reference that is alone, and of one of several: their long sides are 512 and 320 pixels.
LONE_REFERENCE_TOKENS, ONE_OF_MANY_TOKENS = 1024, 400
#: Tokens of one style reference.
STYLE_TOKENS = 192
#: Tokens of the sequence that a unit is measured by.
UNIT_TOKENS = 64 * 64 + TEXT_TOKENS

#: Bytes of a token of the text or of a reference, as wide as the transformer in bfloat16.
#: Source: FLUX.1-dev's geometry, as for the other sizes here.
TOLD_TOKEN_BYTES = 3072 * 2
#: Bytes of the modulations of a step: 12 widths for each of 19 blocks, 3 for each of 38, and 2, in bfloat16.
TOLD_STEP_BYTES = (19 * 12 + 38 * 3 + 2) * 3072 * 2
#: Bytes of every token of a sequence: cosine and sine of 64 angles in float32.
PLACE_BYTES = 2 * 64 * 4
#: Bytes of every target token of every picture: 64 channels in float32, as latents and as an estimate of the result.
SAMPLE_TOKEN_BYTES = 2 * 64 * 4
#: Bytes of every token of every row while it steps: what a single block reads and makes, and as much beside it.
#: Source: FLUX.1-dev's geometry, 7 and 4 widths of 3072 in bfloat16. An estimate, not measured.
STEP_TOKEN_BYTES = 2 * (7 + 4) * 3072 * 2
#: Bytes of every pixel that is decoded: the last blocks of the decoder hold some features of 256 channels in float32.
#: An estimate, not measured.
DECODE_PIXEL_BYTES = 3 * 256 * 4


class UnreadableCosts(ValueError):
    """The file is no cost table of this form; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """Time on one kind of device; every figure is in milliseconds and at least 0."""

    #: What it was fitted to.
    device: str
    #: Every step, for reading the weights, whatever is in the group.
    step_ms: float
    #: Every row of a group.
    row_ms: float
    #: Every 1000 tokens of every row: the linear layers.
    kilotoken_ms: float
    #: Every million pairs of tokens of every row: attention.
    megapair_ms: float
    #: Decoding a megapixel of 1024x1024.
    decode_ms: float
    #: Encoding a prompt.
    text_ms: float
    #: Encoding 1000 tokens of references.
    reference_ms: float
    #: Encoding a style picture.
    style_ms: float
    #: Where the figures are from, such as a command on a machine, or that they were only computed.
    source: str = ""

    def step(self, tokens: int, *, rows: int = 1) -> float:
        """Return milliseconds of one step of a group.

        Args:
            tokens: of one row: style, text, target and references.
            rows: in the group; a picture with a negative prompt is two.
        """
        return self.step_ms + rows * (
            self.row_ms + self.kilotoken_ms * tokens / 1e3 + self.megapair_ms * tokens**2 / 1e6
        )

    def decode(self, pixels: int) -> float:
        """Return milliseconds of decoding one picture."""
        return self.decode_ms * pixels / 1024**2

    def request(self, request: GenerationRequest) -> float:
        """Return milliseconds of all that a request needs when it runs alone, from prompt to pixels."""
        steps = request.num_inference_steps * self.step(tokens_of(request), rows=rows_of(request))
        return self._encode(request) + request.num_images * (steps + self.decode(request.width * request.height))

    def _encode(self, request: GenerationRequest) -> float:
        styles = _styles(request)
        pictures = _picture_tokens(len(request.references) - styles)
        return rows_of(request) * self.text_ms + self.reference_ms * pictures / 1e3 + self.style_ms * styles


def work_units(request: GenerationRequest, costs: CostTable) -> float:
    """Return what the denoising of a request costs in all, in units of a table; more than 0."""
    steps = request.num_images * request.num_inference_steps
    return steps * costs.step(tokens_of(request), rows=rows_of(request)) / costs.step(UNIT_TOKENS)


def tokens_of(request: GenerationRequest) -> int:
    """Return the length of a request's sequence, with square references, since nobody has seen them yet."""
    styles = _styles(request)
    pictures = _picture_tokens(len(request.references) - styles)
    return target_tokens(request) + TEXT_TOKENS + styles * STYLE_TOKENS + pictures


def target_tokens(request: GenerationRequest) -> int:
    """Return the tokens of one picture that is being made."""
    return -(-request.width // 16) * -(-request.height // 16)


def rows_of(request: GenerationRequest) -> int:
    """Return how many rows of a group one picture takes."""
    return 2 if request.negative_prompt else 1


def resident_bytes(request: GenerationRequest) -> int:
    """Estimate the bytes that a request keeps on the device while it is denoised, at FLUX.1-dev's size."""
    tokens, made = tokens_of(request), target_tokens(request)
    prompt = TOLD_TOKEN_BYTES * TEXT_TOKENS + TOLD_STEP_BYTES * request.num_inference_steps
    pictures = TOLD_TOKEN_BYTES * (tokens - made - TEXT_TOKENS) + PLACE_BYTES * tokens
    return rows_of(request) * prompt + pictures + request.num_images * SAMPLE_TOKEN_BYTES * made


def peak_bytes(request: GenerationRequest) -> int:
    """Estimate the bytes of a device that a request takes at its worst moment, alone and beside the weights."""
    stepping = STEP_TOKEN_BYTES * rows_of(request) * tokens_of(request)
    decoding = DECODE_PIXEL_BYTES * request.width * request.height
    return resident_bytes(request) + max(stepping, decoding)


def _styles(request: GenerationRequest) -> int:
    return sum(reference.role is Role.STYLE for reference in request.references)


def _picture_tokens(count: int) -> int:
    return LONE_REFERENCE_TOKENS if count == 1 else count * ONE_OF_MANY_TOKENS


@cache
def cost_table(name: str = USUAL_TABLE) -> CostTable:
    """Return one of the tables that come with this package; each is read once.

    Raises:
        UnreadableCosts: when it is not of this form.
    """
    return read_costs(files("models").joinpath("costs", f"{name}.json").read_text(encoding="utf-8"))


@cache
def find_costs(words: str) -> CostTable:
    """Return the table that an operator means; each is read once.

    Args:
        words: the name of one that comes with this package, a file that ends in ``.json``, or a table's own JSON.

    Raises:
        UnreadableCosts: when there is none, or it is not of this form.
    """
    if words.lstrip().startswith("{"):
        return _read(words, named="this JSON")
    if words.endswith(".json"):
        return _read(_text_of(words), named=words)
    if words not in (names := known_tables()):
        raise UnreadableCosts(f"{words}: no such cost table; write {', '.join(names)}, a file *.json, or JSON")
    return cost_table(words)


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnreadableCosts(f"{path}: no cost table can be read there: {error}") from error


def _read(text: str, *, named: str) -> CostTable:
    try:
        return read_costs(text)
    except ValueError as error:
        raise UnreadableCosts(f"{named}: no cost table can be read there: {error}") from error


def known_tables() -> list[str]:
    """Name the tables that come with this package."""
    found = (each.name for each in files("models").joinpath("costs").iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def read_costs(text: str) -> CostTable:
    """Read a table from JSON.

    Raises:
        ValueError: when it is no JSON.
        UnreadableCosts: when a figure is missing, unknown, negative or no number, a step would take no time, or the
            form is another one.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("form") != FORM:
        raise UnreadableCosts(f"not a cost table of form {FORM}")
    device, source = str(found.get("device", "")), str(found.get("source", ""))
    costs = CostTable(device=device, source=source, **_figures(found.get("costs")))
    if not costs.step(UNIT_TOKENS):
        raise UnreadableCosts("a step takes no time by it")
    return costs


def _figures(found: object) -> Mapping[str, Any]:
    names = {field.name for field in fields(CostTable)} - {"device", "source"}
    if not isinstance(found, dict) or found.keys() != names:
        raise UnreadableCosts(f"costs are exactly {', '.join(sorted(names))}")
    for name, value in found.items():
        if type(value) not in {int, float} or not 0 <= value < math.inf:
            raise UnreadableCosts(f"{name} is not a number of at least 0")
    return found
