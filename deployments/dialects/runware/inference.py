"""Reads an ``imageInference`` task: what picture is wanted, in which form, and where it is to be told and sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call
from deployments.dialects.fields import Fields
from deployments.dialects.runware.names import task_key
from deployments.dialects.runware.references import places_of_references, read_references
from deployments.dialects.runware.schema import SCHEMA
from deployments.errors import Problem
from deployments.operations.operation import Submit
from deployments.outbound.urls import UnreadableUrl, read_callback
from deployments.tasks.accept import OnceKey
from deployments.tasks.task import Webhook
from models.catalog import MAX_GUIDANCE, MAX_IMAGES, MAX_SIDE, MAX_STEPS, MIN_GUIDANCE, MIN_SIDE, MIN_STEPS, ModelSpec
from models.request import GenerationRequest, ImageFormat, Safety

#: Characters of a prompt.
MIN_PROMPT, MAX_PROMPT = 2, 6000
#: Largest seed of a task's last picture.
MAX_SEED = 2**63 - 1
#: Seconds for which a link may be wanted; ten years, beyond which dates end to make sense.
MIN_TTL_S, MAX_TTL_S = 60, 315_360_000
#: Characters of a text that ``getTaskDetails`` shows whole, and of the start of a longer one, a picture most likely.
MAX_SHOWN, SHOWN_OF_LONG = 2000, 40

#: The forms in which a picture can be answered, and the sink that each of them needs.
OUTPUT_TYPES: Mapping[str, str] = MappingProxyType({"URL": "files", "base64Data": "inline", "dataURI": "inline"})

_FORMATS = MappingProxyType({"JPG": ImageFormat.JPEG, "PNG": ImageFormat.PNG, "WEBP": ImageFormat.WEBP})
_WAITS = MappingProxyType({"sync": True, "async": False})
_IS_CHECKING = MappingProxyType({"none": False, "fast": True})


def read_inference(task: Mapping[str, Any], call: Call, models: Mapping[str, ModelSpec]) -> Submit:
    """Read what a task of known members wants.

    Raises:
        BadField: when a member cannot be used.
    """
    fields = Fields(task)
    request = _request(fields, fields.choice("model", default=None, among=models), call.fresh_seed)
    output_types = _output_types(fields)
    _check_idle(fields)
    return Submit(
        request=request,
        dialect="runware",
        sinks=tuple(dict.fromkeys(OUTPUT_TYPES[each] for each in output_types)),
        notes=_notes(fields, request, output_types),
        wait=fields.choice("deliveryMethod", default="sync", among=_WAITS),
        once=OnceKey(key=task_key(fields.raw("taskUUID")), fingerprint=_fingerprint(task), is_single=True),
        webhook=_webhook(fields, call, request.num_images),
        upload_url=_address(fields, "uploadEndpoint"),
        lifetime_s=_lifetime_s(fields, output_types),
        body=json.dumps(_shown(_without_permission(task))),
    )


def _request(fields: Fields, spec: ModelSpec, fresh_seed: int) -> GenerationRequest:
    count = fields.whole("numberResults", default=1, low=1, high=MAX_IMAGES)
    return GenerationRequest(
        model=spec.name,
        prompt=fields.sentence("positivePrompt", low=MIN_PROMPT, high=MAX_PROMPT),
        references=read_references(fields, spec),
        width=fields.whole("width", default=1024, low=MIN_SIDE, high=MAX_SIDE),
        height=fields.whole("height", default=1024, low=MIN_SIDE, high=MAX_SIDE),
        num_images=count,
        num_inference_steps=fields.whole("steps", default=spec.default_steps, low=MIN_STEPS, high=MAX_STEPS),
        guidance_scale=fields.number("CFGScale", default=spec.default_guidance, low=MIN_GUIDANCE, high=MAX_GUIDANCE),
        seed=fields.whole("seed", default=fresh_seed, low=0, high=MAX_SEED - (count - 1)),
        output_format=fields.choice("outputFormat", default="JPG", among=_FORMATS),
        output_quality=fields.whole("outputQuality", default=95, low=20, high=99),
        negative_prompt=fields.sentence("negativePrompt", default="", high=MAX_PROMPT),
        safety=Safety.TELL if _is_checked(fields) else Safety.SKIP,
    )


def _output_types(fields: Fields) -> tuple[str, ...]:
    """Return the forms that are asked for, in the order of ``OUTPUT_TYPES``; one of them may come without a list."""
    given = fields.raw("outputType") if fields.has("outputType") else "URL"
    words = given if isinstance(given, list) else [given]
    if not words:
        fields.refuse("outputType", "must name at least one type", Problem.TOO_FEW, bound=1)
    if any(word not in tuple(OUTPUT_TYPES) for word in words):
        fields.refuse("outputType", f"must be one or several of {', '.join(OUTPUT_TYPES)}", Problem.NOT_A_CHOICE)
    return tuple(word for word in OUTPUT_TYPES if word in words)


def _check_idle(fields: Fields) -> None:
    """Check the members that other models of this API use and that change nothing here."""
    settings = _inner(fields, "settings")
    settings.switch("search")
    for owner, name in ((settings, "style"), (fields, "scheduler"), (fields, "acceleration")):
        owner.text(name, default="", max_bytes=1000)
    fields.number("strength", default=0.8, low=0, high=1)


def _notes(fields: Fields, request: GenerationRequest, output_types: tuple[str, ...]) -> dict[str, str]:
    """Return what later answers need; a switch that is off is left out."""
    notes = {
        "taskUUID": fields.raw("taskUUID"),
        "numberResults": str(request.num_images),
        "outputType": ",".join(output_types),
        "references": ",".join(places_of_references(fields)),
        "includeCost": "true" if fields.switch("includeCost") else "",
        "checkContent": "true" if request.safety is Safety.TELL else "",
    }
    return {name: value for name, value in notes.items() if value}


def _is_checked(fields: Fields) -> bool:
    safety = _inner(fields, "safety")
    is_asked = safety.switch("checkContent", default=fields.switch("checkNSFW"))
    return safety.choice("mode", default="fast" if is_asked else "none", among=_IS_CHECKING)


def _inner(fields: Fields, name: str) -> Fields:
    inner = fields.fields(name)
    inner.only(SCHEMA["imageInference"][name])
    return inner


def _fingerprint(task: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()


def _webhook(fields: Fields, call: Call, pictures: int) -> Webhook | None:
    url = _address(fields, "webhookURL")
    return None if url is None else Webhook(url=url, base_url=call.base_url, pictures=pictures)


def _address(fields: Fields, name: str) -> str | None:
    if not fields.has(name):
        return None
    url = fields.raw(name)
    if not isinstance(url, str):
        fields.refuse(name, "must be a string", Problem.WRONG_TYPE)
    try:
        return read_callback(url)
    except UnreadableUrl:
        fields.refuse(name, "must be an http or https URL", Problem.BAD_ADDRESS)


def _lifetime_s(fields: Fields, output_types: tuple[str, ...]) -> float | None:
    if not fields.has("ttl"):
        return None
    ttl_s = fields.whole("ttl", default=None, low=MIN_TTL_S, high=MAX_TTL_S)
    return float(ttl_s) if "URL" in output_types else None


def _without_permission(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the query of the upload address: it is a permission, and what is shown is kept as it is."""
    url = task.get("uploadEndpoint")
    return {**task, "uploadEndpoint": url.partition("?")[0]} if isinstance(url, str) else task


def _shown(value: Any) -> Any:
    """Return what ``getTaskDetails`` shows of a value: pictures that came with the call are told by their start."""
    match value:
        case str() if len(value) > MAX_SHOWN:
            return value[:SHOWN_OF_LONG] + "…"
        case dict():
            return {name: _shown(each) for name, each in value.items()}
        case list():
            return [_shown(each) for each in value]
    return value
