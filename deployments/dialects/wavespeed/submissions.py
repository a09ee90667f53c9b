"""Reads what a caller wants drawn, and what drawing it would cost; knows what WaveSpeedAI's models may be told.

Limits and defaults are the vendor's, field by field; what the engine could do beyond them is not offered here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType

from deployments.dialects.dialect import Call
from deployments.dialects.fields import Fields
from deployments.dialects.wavespeed.vocabulary import CATALOG_NAMES, NAME
from deployments.errors import BadCall, BadField, Problem
from deployments.json_body import read_object
from deployments.operations.operation import Quote, Submit
from deployments.outbound.urls import MAX_CALLBACK_BYTES, UnreadableUrl, read_callback
from deployments.tasks.task import Webhook
from models.catalog import CATALOG, SIZE_PRESETS, UNO, USO
from models.request import GenerationRequest, ImageFormat, Reference, Role

#: Longest prompt in bytes of UTF-8; the text encoders read a few hundred words of it.
MAX_PROMPT_BYTES = 24 * 1024
#: Largest seed a caller may choose.
MAX_SEED = 2**31 - 1

_OUTPUT_FORMATS = MappingProxyType({"jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG})
_SYNC_SWITCHES = ("enable_sync_mode", "sync_mode", "sync_model")
_REFERENCE_SCHEME = re.compile(r"(?:https?://|data:)", re.ASCII | re.IGNORECASE)


class WebhookWithBase64(BadCall):
    """A webhook cannot be combined with enable_base64_output."""


def submit_uno(call: Call) -> Submit:
    """Read a request for ``wavespeed-ai/uno``.

    Raises:
        BadCall: when a field is missing, of another type or out of range.
    """
    return _submit(_uno_request, call)


def submit_uso(call: Call) -> Submit:
    """Read a request for ``bytedance/uso``; refuses what ``submit_uno`` refuses."""
    return _submit(_uso_request, call)


def quote(call: Call) -> Quote:
    """Read for which request a price is asked; of its inputs only those count that the price depends on.

    Raises:
        BadCall: when the model is unknown, or such an input is of another type or out of range.
    """
    fields = Fields(read_object(call.body))
    if not fields.has("model_id"):
        fields.refuse("model_id", "is required", Problem.MISSING)
    model = fields.choice("model_id", default="", among=CATALOG_NAMES)
    inputs = fields.fields("inputs")
    is_uno = model == UNO.name
    width, height = _uno_size(inputs) if is_uno else SIZE_PRESETS["square_hd"]
    return Quote(
        request=GenerationRequest(
            model=model,
            prompt="",
            references=(),
            width=width,
            height=height,
            num_images=_uno_count(inputs) if is_uno else 1,
            guidance_scale=CATALOG[model].default_guidance,
            seed=call.fresh_seed,
        )
    )


def _submit(read_request: Callable[[Fields, int], GenerationRequest], call: Call) -> Submit:
    fields = Fields(read_object(call.body))
    request = read_request(fields, call.fresh_seed)
    switches = [fields.switch(name) for name in _SYNC_SWITCHES]
    wants_base64 = fields.switch("enable_base64_output")
    webhook = _webhook(fields, call)
    if webhook and wants_base64:
        raise WebhookWithBase64
    return Submit(
        request=request,
        dialect=NAME,
        sinks=("inline",) if wants_base64 else ("files",),
        wait=any(switches),
        webhook=webhook,
        # Only webhooks show it again; it may hold pictures, and is not kept for nothing.
        body=call.body.decode("utf-8") if webhook else None,
    )


def _uno_request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    width, height = _uno_size(fields)
    return GenerationRequest(
        model=UNO.name,
        references=_references(fields, "images", Role.SUBJECT),
        prompt=fields.text("prompt", max_bytes=MAX_PROMPT_BYTES),
        width=width,
        height=height,
        num_images=_uno_count(fields),
        num_inference_steps=fields.whole("num_inference_steps", default=28, low=1, high=50),
        guidance_scale=fields.number("guidance_scale", default=3.5, low=1, high=20),
        seed=_seed(fields, fresh_seed),
        output_format=fields.choice("output_format", default="jpeg", among=_OUTPUT_FORMATS),
    )


def _uso_request(fields: Fields, fresh_seed: int) -> GenerationRequest:
    width, height = SIZE_PRESETS["square_hd"]
    return GenerationRequest(
        model=USO.name,
        references=_references(fields, "reference_images", Role.STYLE),
        prompt=fields.text("prompt", default="", max_bytes=MAX_PROMPT_BYTES),
        width=width,
        height=height,
        guidance_scale=4.0,
        seed=_seed(fields, fresh_seed),
    )


def _uno_size(fields: Fields) -> tuple[int, int]:
    return fields.choice("image_size", default="square_hd", among=SIZE_PRESETS)


def _uno_count(fields: Fields) -> int:
    return fields.whole("num_images", default=1, low=1, high=4)


def _references(fields: Fields, name: str, role: Role) -> tuple[Reference, ...]:
    sources = fields.texts(name, low=1, high=4)
    for index, source in enumerate(sources):
        if not _REFERENCE_SCHEME.match(source):
            fields.refuse_entry(name, index, "must be an http, https or data URL", Problem.BAD_ADDRESS)
    return tuple(Reference(role=role, source=source) for source in sources)


def _seed(fields: Fields, fresh_seed: int) -> int:
    seed = fields.whole("seed", default=-1, low=-1, high=MAX_SEED)
    return fresh_seed if seed == -1 else seed


def _webhook(fields: Fields, call: Call) -> Webhook | None:
    """Return whom to tell of the end; the query's address counts before the body's."""
    url = Fields(call.query).text("webhook", default="", max_bytes=MAX_CALLBACK_BYTES)
    url = url or fields.text("webhook_url", default="", max_bytes=MAX_CALLBACK_BYTES)
    if not url:
        return None
    try:
        return Webhook(url=read_callback(url), base_url=call.base_url)
    except UnreadableUrl as error:
        words = "webhook must be an http or https URL"
        raise BadField(words, field=("webhook",), problem=Problem.BAD_ADDRESS) from error
