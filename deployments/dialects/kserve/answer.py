"""Says which output tensors are asked for, and writes a task's pictures as those tensors.

``images`` are files: as bytes where binary data is asked for, and as data URIs in JSON, which cannot hold bytes.
``pixels`` are what the files show. ``seed`` holds one seed per picture, which draws it again.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from deployments.dialects.dialect import Reply
from deployments.dialects.fields import Fields
from deployments.dialects.kserve.model_text import OUTPUTS, VERSION
from deployments.dialects.kserve.tensors import entries, parameters
from deployments.errors import Problem
from deployments.operations.outcome import TaskOutcome

#: Longest id that a caller may give a call, in bytes.
MAX_ID_BYTES = 256
#: Says where an answer goes on in bytes after its JSON.
BINARY_FROM = "Inference-Header-Content-Length"

_BY_DEFAULT = ("images", "seed")
_IS_BINARY = {True: "binary", False: "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """An output tensor, both ways."""

    #: The lengths of its axes.
    shape: list[int]
    #: Its elements for JSON.
    listed: list[Any]
    #: Its elements as bytes.
    packed: bytes


def wanted(call: Fields) -> dict[str, str]:
    """Return the notes by which the answer will be written: which outputs, in which form, and the call's id.

    Raises:
        BadField: when an output is unknown, asked for twice, or cannot be had in its form.
    """
    is_binary = parameters(call).switch("binary_data_output")
    forms = dict.fromkeys(_BY_DEFAULT, is_binary) if not call.raw("outputs") else _forms(call, is_binary=is_binary)
    notes = {"outputs": " ".join(f"{name}:{_IS_BINARY[form]}" for name, form in forms.items())}
    given_id = call.text("id", default="", max_bytes=MAX_ID_BYTES)
    return notes | {"id": given_id} if given_id else notes


def _forms(call: Fields, *, is_binary: bool) -> dict[str, bool]:
    forms: dict[str, bool] = {}
    for entry in entries(call, "outputs"):
        name = entry.text("name", max_bytes=256)
        if name not in OUTPUTS or name in forms:
            entry.refuse("name", f"{name!r} is no output of this model, or is there twice", Problem.NOT_A_CHOICE)
        forms[name] = _form(name, parameters(entry), default=is_binary)
    return forms


def _form(name: str, given: Fields, *, default: bool) -> bool:
    if given.has("classification"):
        given.refuse("classification", "is not available for pictures", Problem.UNKNOWN)
    is_binary = given.switch("binary_data", default=default)
    if name == "pixels" and not is_binary:
        # Twelve million numbers for one large picture, as text.
        given.refuse("binary_data", "must be true for the output 'pixels'", Problem.NOT_A_CHOICE)
    return is_binary


def answered(outcome: TaskOutcome) -> Reply:
    """Write the outputs that were asked for."""
    notes = outcome.task.notes
    asked = notes.get("outputs", "images:json seed:json").split()
    outputs = [_written(outcome, *each.split(":")) for each in asked]
    head: dict[str, Any] = {"id": notes["id"]} if "id" in notes else {}
    head |= {"model_name": outcome.task.model, "model_version": VERSION, **_verdicts(outcome)}
    head["outputs"] = [each for each, _ in outputs]
    tail = [packed for _, packed in outputs if packed is not None]
    return _with_tail(head, tail) if tail else Reply(status=200, body=json.dumps(head).encode("ascii"))


def _verdicts(outcome: TaskOutcome) -> dict[str, Any]:
    """Return whether each picture should not be shown, as parameters of the answer; nothing where nobody has looked."""
    told = {
        f"unsafe_{number}": output.is_unsafe
        for number, output in enumerate(outcome.task.outputs)
        if output.is_unsafe is not None
    }
    return {"parameters": told} if told else {}


def _with_tail(head: Mapping[str, Any], tail: list[bytes]) -> Reply:
    text = json.dumps(head).encode("ascii")
    headers = {BINARY_FROM: str(len(text))}
    return Reply(status=200, body=b"".join([text, *tail]), headers=headers, content_type="application/octet-stream")


def _written(outcome: TaskOutcome, name: str, form: str) -> tuple[dict[str, Any], bytes | None]:
    """Return what the JSON says of an output, and the bytes that go behind it, if any."""
    output = _MAKERS[name](outcome)
    text = {"name": name, "datatype": OUTPUTS[name].datatype, "shape": output.shape}
    if form == _IS_BINARY[True]:
        return text | {"parameters": {"binary_data_size": len(output.packed)}}, output.packed
    return text | {"data": output.listed}, None


def _images(outcome: TaskOutcome) -> _Output:
    files = [base64.b64decode(picture) for picture in outcome.pictures]
    types = [output.content_type for output in outcome.task.outputs]
    uris = [f"data:{kind};base64,{each}" for kind, each in zip(types, outcome.pictures, strict=True)]
    packed = b"".join(struct.pack("<I", len(file)) + file for file in files)
    return _Output(shape=[len(files)], listed=uris, packed=packed)


def _seed(outcome: TaskOutcome) -> _Output:
    seeds = [output.seed for output in outcome.task.outputs]
    return _Output(shape=[len(seeds)], listed=seeds, packed=struct.pack(f"<{len(seeds)}q", *seeds))


def _pixels(outcome: TaskOutcome) -> _Output:
    drawn = [_drawn(base64.b64decode(picture)) for picture in outcome.pictures]
    width, height = drawn[0].size if drawn else (0, 0)
    packed = b"".join(image.tobytes() for image in drawn)
    return _Output(shape=[len(drawn), height, width, 3], listed=[], packed=packed)


def _drawn(file: bytes) -> Image.Image:
    with Image.open(BytesIO(file)) as image:
        return image.convert("RGB")


_MAKERS = {"images": _images, "seed": _seed, "pixels": _pixels}
