"""A request as JSON text and back, strictly: what was not written by ``encode_request`` is refused.

Pure; knows neither store nor HTTP, and checks shape and types only. Whether a model can do it is the catalog's to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from models.request import GenerationRequest, ImageFormat, Reference, Role, Safety

#: Fields that are written as they are.
_PLAIN = ("model", "prompt", "width", "height", "num_images", "num_inference_steps", "guidance_scale", "seed")
#: Fields that came later, and what they are where nothing is written of them.
_LATER: Mapping[str, Any] = MappingProxyType(
    {
        "output_quality": 95,
        "negative_prompt": "",
        "true_cfg_scale": 2.0,
        "keep_size": False,
        "safety": Safety.TELL,
    }
)


class UnreadableRequest(ValueError):
    """The stored text is not a request that this version can read."""


def encode_request(request: GenerationRequest) -> str:
    """Write a request as JSON.

    Returns:
        ASCII text. Whatever a caller put into a prompt, half a surrogate pair or NUL, is escaped and can be stored.
    """
    written = {name: getattr(request, name) for name in _PLAIN}
    written["references"] = [{"role": each.role.value, "source": each.source} for each in request.references]
    written["output_format"] = request.output_format.value
    # What is as it always was stays unwritten, so that versions that do not know it can read on.
    written |= {name: getattr(request, name) for name, usual in _LATER.items() if getattr(request, name) != usual}
    return json.dumps(written, allow_nan=False)


def decode_request(text: str) -> GenerationRequest:
    """Read a request from JSON.

    Raises:
        UnreadableRequest: when a field is missing, unknown, or of another type.
    """
    try:
        return _request(json.loads(text))
    except ValueError as error:
        raise UnreadableRequest(f"{UnreadableRequest.__doc__} {error}") from error


def _request(found: object) -> GenerationRequest:
    record = _record(found, GenerationRequest)
    return GenerationRequest(
        model=_text(record, "model"),
        prompt=_text(record, "prompt"),
        references=tuple(_reference(each) for each in _list(record, "references")),
        width=_whole(record, "width"),
        height=_whole(record, "height"),
        num_images=_whole(record, "num_images"),
        num_inference_steps=_whole(record, "num_inference_steps"),
        guidance_scale=_number(record, "guidance_scale"),
        seed=_whole(record, "seed"),
        output_format=ImageFormat(_text(record, "output_format")),
        **{name: _alike(record, name, usual) for name, usual in _LATER.items() if name in record},
    )


def _reference(found: object) -> Reference:
    record = _record(found, Reference)
    return Reference(role=Role(_text(record, "role")), source=_text(record, "source"))


def _record(found: object, of: type[GenerationRequest | Reference]) -> Mapping[str, Any]:
    expected = {field.name for field in fields(of)}
    if not isinstance(found, dict) or not expected - set(_LATER) <= set(found) <= expected:
        raise ValueError(f"A {of.__name__} has exactly the fields {sorted(expected)}.")
    return found


def _text(record: Mapping[str, Any], field: str) -> str:
    return str(_typed(record, field, str))


def _whole(record: Mapping[str, Any], field: str) -> int:
    return int(_typed(record, field, int))


def _number(record: Mapping[str, Any], field: str) -> float:
    return float(_typed(record, field, int, float))


def _alike(record: Mapping[str, Any], field: str, usual: Any) -> Any:
    """Read a field of the type of its usual value; words are texts in JSON."""
    kind = type(usual)
    return kind(_typed(record, field, str if issubclass(kind, str) else kind))


def _list(record: Mapping[str, Any], field: str) -> list[object]:
    return list(_typed(record, field, list))


def _typed(record: Mapping[str, Any], field: str, *kinds: type) -> Any:
    value = record[field]
    # By exact type: to Python true is an int, to a reader of requests it is a mistake.
    if type(value) not in kinds:
        raise ValueError(f"{field} is not of type {kinds[-1].__name__}.")
    return value
