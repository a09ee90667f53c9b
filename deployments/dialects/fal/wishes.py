"""Reads what a caller of fal's USO wants: the input, and the headers and query parameters beside it.

fal converts where nothing is lost: ``"2"`` counts as 2 and ``"true"`` as true. Unknown fields are nobody's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call
from deployments.dialects.fal.mistakes import DETAIL_NOTE, MalformedCall, failed_call
from deployments.dialects.fields import Fields
from deployments.errors import BadCall, BadField, Problem
from deployments.json_body import read_object
from deployments.operations.operation import GrantUpload, Keep, Refuse, Submit
from deployments.outbound.urls import MAX_CALLBACK_BYTES, UnreadableUrl, read_callback
from deployments.tasks.task import Webhook
from models.catalog import MAX_SIDE, MIN_SIDE, SIZE_PRESETS, USO
from models.request import GenerationRequest, ImageFormat, Reference, Role, Safety

NAME = "fal"
#: Longest prompt in bytes of UTF-8; the text encoders read a few hundred words of it.
MAX_PROMPT_BYTES = 24 * 1024
#: Largest seed a caller may choose; the last of four pictures still has one of 64 bits.
MAX_SEED = 2**63 - 4
#: A side of a size that does not name it, in pixels.
DEFAULT_SIDE = 512
#: Longest life time of a picture, in seconds: a hundred years, which is what fal's packages write for "never".
MAX_LIFETIME_S = 3_153_600_000
#: Longest file name and media type that an upload may announce, in bytes.
MAX_NAME_BYTES = 1024

_ROLES = (Role.CONTENT, Role.STYLE, Role.STYLE)
_OUTPUT_FORMATS = MappingProxyType({"jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG})
_SAFETY = MappingProxyType({True: Safety.COVER, False: Safety.SKIP})
_REFERENCE_SCHEME = re.compile(r"(?:https?://|data:)", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,18})?", re.ASCII)
_TIMEOUT_HEADER = "x-fal-request-timeout"
_LIFETIME_HEADER = "x-fal-object-lifecycle-preference"
_SWITCHES = MappingProxyType(
    dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True)
    | dict.fromkeys(("false", "f", "no", "n", "off", "0"), False)
)


def read_run(call: Call) -> Submit:
    """Read a call that is held until its pictures are there."""
    return _submit(call, wait=True, webhook=None)


def read_submit(call: Call) -> Submit | Refuse:
    """Read a call for the queue; a wrong input is accepted too, and told when the result is read."""
    webhook = _webhook(call)
    try:
        return _submit(call, wait=False, webhook=webhook)
    except BadField as mistake:
        detail = json.dumps(failed_call(mistake, call.base_url).body["detail"])
        return Refuse(refusal=mistake, model=USO.name, dialect=NAME, notes={DETAIL_NOTE: detail}, webhook=webhook)


def read_upload(call: Call) -> Keep:
    """Read a picture that is to be kept.

    Raises:
        MalformedCall: when there is none.
    """
    if not call.body:
        raise MalformedCall("the file to upload is empty")
    return Keep(content=call.body, file_name=call.headers.get("x-fal-file-name", "")[:MAX_NAME_BYTES])


def read_announcement(call: Call) -> GrantUpload:
    """Read which picture is going to be put."""
    fields = Fields(read_object(call.body))
    return GrantUpload(
        content_type=fields.text("content_type", max_bytes=MAX_NAME_BYTES),
        file_name=fields.text("file_name", default="", max_bytes=MAX_NAME_BYTES),
    )


def _submit(call: Call, *, wait: bool, webhook: Webhook | None) -> Submit:
    start_within_s, lifetime_s = _start_within_s(call), _lifetime_s(call)
    fields = Fields(_converted(read_object(call.body), _LAX))
    request = _request(fields, call.fresh_seed)
    is_inline = fields.switch("sync_mode")
    return Submit(
        request=request,
        dialect=NAME,
        sinks=("inline",) if is_inline else ("files",),
        notes={"prompt": request.prompt, "width": str(request.width), "height": str(request.height)},
        wait=wait,
        with_place=not wait,
        cancel_with_caller=wait,
        webhook=webhook,
        lifetime_s=lifetime_s,
        start_within_s=start_within_s,
    )


def _request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    width, height = _size(fields)
    seed = fields.whole("seed", default=-1, low=-1, high=MAX_SEED, is_lax=True)
    return GenerationRequest(
        model=USO.name,
        references=_references(fields),
        prompt=fields.text("prompt", default="", max_bytes=MAX_PROMPT_BYTES),
        negative_prompt=fields.text("negative_prompt", default="", max_bytes=MAX_PROMPT_BYTES),
        width=width,
        height=height,
        keep_size=fields.switch("keep_size"),
        num_images=fields.whole("num_images", default=1, low=1, high=4, is_lax=True),
        num_inference_steps=fields.whole("num_inference_steps", default=28, low=1, high=50, is_lax=True),
        guidance_scale=fields.number("guidance_scale", default=4.0, low=1, high=10),
        seed=fresh_seed if seed == -1 else seed,
        output_format=fields.choice("output_format", default="png", among=_OUTPUT_FORMATS),
        safety=_SAFETY[fields.switch("enable_safety_checker", default=True)],
    )


def _references(fields: Fields) -> tuple[Reference, ...]:
    name = "input_image_urls"
    sources = fields.texts(name, low=1, high=len(_ROLES))
    for index, source in enumerate(sources):
        if not _REFERENCE_SCHEME.match(source):
            fields.refuse_entry(name, index, "must be an http, https or data URL", Problem.BAD_ADDRESS)
    return tuple(Reference(role=role, source=source) for role, source in zip(_ROLES, sources, strict=False))


def _size(fields: Fields) -> tuple[int, int]:
    if not isinstance(fields.raw("image_size"), Mapping):
        return fields.choice("image_size", default="square_hd", among=SIZE_PRESETS)
    sides = fields.fields("image_size")
    return (_side(sides, "width"), _side(sides, "height"))


def _side(sides: Fields, name: str) -> int:
    return sides.whole(name, default=DEFAULT_SIDE, low=MIN_SIDE, high=MAX_SIDE, is_lax=True)


def _webhook(call: Call) -> Webhook | None:
    url = call.query.get("fal_webhook")
    if not url:
        return None
    try:
        return Webhook(url=read_callback(url), base_url=call.base_url)
    except UnreadableUrl as error:
        words = f"fal_webhook must be an http or https URL of at most {MAX_CALLBACK_BYTES} bytes"
        raise MalformedCall(words) from error


def _start_within_s(call: Call) -> float | None:
    shown = call.headers.get(_TIMEOUT_HEADER)
    if shown is None:
        return None
    if not _SECONDS.fullmatch(shown) or float(shown) <= 1:
        raise MalformedCall(f"{_TIMEOUT_HEADER} must be a number of seconds, more than 1")
    return float(shown)


def _lifetime_s(call: Call) -> float | None:
    shown = call.headers.get(_LIFETIME_HEADER)
    if shown is None:
        return None
    try:
        wish = Fields(read_object(shown.encode("utf-8", "replace")))
        if not wish.has("expiration_duration_seconds"):
            return None
        return wish.number("expiration_duration_seconds", default=0, low=1, high=MAX_LIFETIME_S)
    except BadCall as mistake:
        raise MalformedCall(f"{_LIFETIME_HEADER}: {mistake.message}") from mistake


Converter = Callable[[Any], Any]


def _converted(members: Mapping[str, Any], converters: Mapping[str, Converter]) -> Mapping[str, Any]:
    """Convert what can be converted without loss; whatever cannot stays, to be refused by its name."""
    return {name: converters[name](value) if name in converters else value for name, value in members.items()}


def _lax_whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


def _lax_number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _lax_switch(value: Any) -> Any:
    if isinstance(value, str):
        return _SWITCHES.get(value.lower(), value)
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


def _lax_size(value: Any) -> Any:
    return _converted(value, {"width": _lax_whole, "height": _lax_whole}) if isinstance(value, Mapping) else value


_LAX: Mapping[str, Converter] = MappingProxyType(
    {
        "image_size": _lax_size,
        "seed": _lax_whole,
        "num_images": _lax_whole,
        "num_inference_steps": _lax_whole,
        "guidance_scale": _lax_number,
        "keep_size": _lax_switch,
        "sync_mode": _lax_switch,
        "enable_safety_checker": _lax_switch,
    }
)
