"""Which members each kind of task may have, and of which JSON type they are. Knows no values and no defaults.

Source: Runware API reference, and what the packages runware 0.5.24, runware-sdk 1.8.0 and @runware/sdk-js 1.3.2 send,
seen 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NAMED = {"taskType": "string", "taskUUID": "string"}
# runware-sdk adds a delivery method to whatever is passed to its run().
_TASK = _NAMED | {"deliveryMethod": "string"}

_INPUTS = {"seedImage": "string", "referenceImages": "array"}
_INFERENCE: Mapping[str, str | Mapping[str, str]] = {
    **_TASK,
    **_INPUTS,  # their old places
    "model": "string",
    "positivePrompt": "string",
    "negativePrompt": "string",
    "outputType": "string",
    "outputFormat": "string",
    "outputQuality": "integer",
    "webhookURL": "string",
    "uploadEndpoint": "string",
    "safety": {"checkContent": "boolean", "mode": "string"},
    "checkNSFW": "boolean",
    "ttl": "integer",
    "includeCost": "boolean",
    "numberResults": "integer",
    "inputs": _INPUTS,
    "width": "integer",
    "height": "integer",
    "settings": {"search": "boolean", "style": "string"},
    "seed": "integer",
    "steps": "integer",
    "CFGScale": "number",
    "scheduler": "string",
    "strength": "number",
    "acceleration": "string",
}

#: The members of each kind of task, with their types; an inner object's type is the mapping of its own members.
SCHEMA: Mapping[str, Mapping[str, str | Mapping[str, str]]] = MappingProxyType(
    {
        "authentication": {**_NAMED, "apiKey": "string", "connectionSessionUUID": "string"},
        "ping": {**_NAMED, "ping": "boolean"},
        "imageInference": _INFERENCE,
        "getResponse": _TASK,
        "getTaskDetails": _TASK,
        "imageUpload": {**_TASK, "image": "string"},
        "mediaStorage": {**_TASK, "operation": "string", "media": "string"},
        "accountManagement": {**_TASK, "operation": "string"},
    }
)


def type_of(task_type: str, path: tuple[str, ...]) -> str | None:
    """Return the JSON type of a member; None where there is no such member."""
    found: str | Mapping[str, str | Mapping[str, str]] | None = SCHEMA.get(task_type, _NAMED)
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return "object" if isinstance(found, Mapping) else found
