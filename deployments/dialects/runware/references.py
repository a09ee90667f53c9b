"""Reads the pictures that an ``imageInference`` task refers to, and gives each its role."""

from __future__ import annotations

from typing import Any

from deployments.dialects.fields import Fields
from deployments.dialects.runware.names import reference_source
from deployments.dialects.runware.schema import SCHEMA
from deployments.errors import Problem
from models.catalog import ModelSpec
from models.request import Reference, Role

#: Entries of ``referenceImages``, whatever the model.
MIN_REFERENCES, MAX_REFERENCES = 1, 9

_SEED, _REFERENCES = "seedImage", "referenceImages"
_KINDS = "must be an http, https or data URL, base64 of a PNG, JPEG or WebP, or the UUID of an upload"


def read_references(fields: Fields, spec: ModelSpec) -> tuple[Reference, ...]:
    """Return the seed image, if there is one, and then the other pictures, each in the next role that the model has."""
    inputs = fields.fields("inputs")
    inputs.only(SCHEMA["imageInference"]["inputs"])
    holder = _holder(fields, _REFERENCES)
    sources = [*_seed_source(_holder(fields, _SEED)), *_reference_sources(holder)]
    roles = [role for role in Role for _ in range(spec.max_references.get(role, 0))]
    if len(sources) > len(roles):
        words = f"are more pictures than this model uses: {len(roles)}, the seed image included"
        holder.refuse(_REFERENCES, words, Problem.TOO_MANY, bound=len(roles))
    return tuple(Reference(role=role, source=source) for role, source in zip(roles, sources, strict=False))


def places_of_references(fields: Fields) -> tuple[str, ...]:
    """Return the names of the members that refer to pictures, in the order in which their pictures count."""
    return tuple(
        f"inputs.{name}" if fields.fields("inputs").has(name) else name
        for name in (_SEED, _REFERENCES)
        if _holder(fields, name).has(name)
    )


def _holder(fields: Fields, name: str) -> Fields:
    """Return where a member stands: in ``inputs``, or where it stood in older versions of the API."""
    inputs = fields.fields("inputs")
    return fields if fields.has(name) and not inputs.has(name) else inputs


def _seed_source(holder: Fields) -> list[str]:
    if not holder.has(_SEED):
        return []
    source = _source(holder.raw(_SEED))
    if source is None:
        holder.refuse(_SEED, _KINDS, Problem.BAD_ADDRESS)
    return [source]


def _reference_sources(holder: Fields) -> list[str]:
    if not holder.has(_REFERENCES):
        return []
    entries = holder.raw(_REFERENCES)
    if not isinstance(entries, list):
        holder.refuse(_REFERENCES, "must be a list", Problem.WRONG_TYPE)
    if not MIN_REFERENCES <= len(entries) <= MAX_REFERENCES:
        problem = Problem.TOO_FEW if len(entries) < MIN_REFERENCES else Problem.TOO_MANY
        holder.refuse(_REFERENCES, f"must have between {MIN_REFERENCES} and {MAX_REFERENCES} entries", problem)
    return [_entry_source(holder, index, entry) for index, entry in enumerate(entries)]


def _entry_source(holder: Fields, index: int, entry: Any) -> str:
    is_wrapped = isinstance(entry, dict) and set(entry) == {"image"}
    source = _source(entry["image"] if is_wrapped else entry)
    if source is None:
        holder.refuse_entry(_REFERENCES, index, _KINDS, Problem.BAD_ADDRESS)
    return source


def _source(given: Any) -> str | None:
    return reference_source(given) if isinstance(given, str) else None
