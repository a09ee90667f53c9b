"""The OpenAPI documents against the running service: whatever is asked for is answered as they say.

Calls are generated from each document, good ones and bad ones, the same in every run. What they ask for is made small,
and only the documents' own examples bring pictures to draw from: hundreds of drawn pictures would take minutes.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from running_service import ALICE, CALL_S, Service
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deployments.dialects import DIALECTS
from deployments.dialects.openapi import read_document

#: Generated calls of each kind and operation.
MAX_EXAMPLES = 10
#: Least and most of what makes work, by field or tensor: whatever lies between them becomes the least.
SMALL: dict[str, tuple[int, int]] = {
    "num_inference_steps": (1, 50),
    "steps": (1, 50),
    "width": (128, 2048),
    "height": (128, 2048),
    "num_images": (1, 4),
    "n": (1, 4),
    "numberResults": (1, 20),
}
#: What is added to Runware's tasks where they say nothing.
LEAST_TASK = {"width": 128, "height": 128, "steps": 1}
#: Headers that are not sent, for what they say is never true of a generated call: that its body is the same as that of
#: all others with this key, that it is compressed, that only so many bytes of it are JSON.
UNSENT = {"Idempotency-Key", "Content-Encoding", "Inference-Header-Content-Length"}
#: Characters of a query parameter, each of which may become twelve: the web server itself refuses a head of more than
#: 64 KB, in its own words, and no dialect ever sees it.
MAX_QUERY = 5000
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CONFIG: dict[str, Any] = {
    "generation": {
        "max-examples": MAX_EXAMPLES,
        "deterministic": True,
        "no-shrink": True,
        "database": "none",
        # The key is given to every call: what happens without one is tested in test_bad_input.py.
        "with-security-parameters": False,
    },
    "phases": {
        # Other methods are answered by 405, which OpenAPI has no place for; test_bad_input.py has them.
        "coverage": {"unexpected-methods": []},
        "stateful": {"enabled": False},
    },
    "request-timeout": CALL_S,
}


@pytest.fixture(scope="module")
def upload_token(service: Service) -> str:
    """Return what opens the address that takes fal's uploads, and no other."""
    url, headers = f"{service.base_url}/fal/rest/storage/auth/token", {"Authorization": f"Key {ALICE}"}
    reply = httpx.post(url, headers=headers, timeout=CALL_S, trust_env=False)
    token: str = reply.json()["token"]
    return token


def schema_of(dialect: str) -> Any:
    """Return a document as the generator reads it."""
    return schemathesis.openapi.from_dict(read_document(dialect), config=SchemathesisConfig.from_dict(CONFIG))


@schemathesis.pytest.parametrize(**{dialect: schema_of(dialect) for dialect in DIALECTS})
def test_is_answered_as_documented(case: Any, service: Service, upload_token: str) -> None:
    """No call is a server's mistake, and status, media type and body are among those the document names."""
    case.body = smaller(case.body)
    if case.meta.phase.name.value != "examples":
        case.body = without_pictures(case.body)
    case.headers = {name: value for name, value in case.headers.items() if name not in UNSENT}
    case.query = {name: value[:MAX_QUERY] if isinstance(value, str) else value for name, value in case.query.items()}
    shown = upload_token if case.path.startswith("/fal/cdn/") else ALICE

    case.call_and_validate(base_url=service.base_url, checks=CHECKS, headers={"Authorization": f"Bearer {shown}"})


def smaller(body: Any) -> Any:
    """Return a body that asks for less; what is out of bounds stays so."""
    if isinstance(body, list):
        return [smaller(each) for each in body]
    if not isinstance(body, dict):
        return body
    # Runware draws without references too, and large where nothing is said.
    body = LEAST_TASK | body if body.get("taskType") == "imageInference" else body
    made = {name: least(name, smaller(value)) for name, value in body.items()}
    name = made.get("name")
    if isinstance(name, str) and isinstance(made.get("data"), list):  # a tensor
        made["data"] = [least(name, value) for value in made["data"]]
    return made


def least(name: str, value: Any) -> Any:
    """Return the least value of a field, if it has a good one that is larger."""
    low, high = SMALL.get(name, (0, -1))
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return low
    return "square" if name == "image_size" and value == "square_hd" else value


def without_pictures(body: Any) -> Any:
    """Return a body whose pictures are none, so that whatever is asked for fails at its references."""
    if isinstance(body, list):
        return [without_pictures(each) for each in body]
    if isinstance(body, dict):
        return {name: without_pictures(value) for name, value in body.items()}
    return "data:," if isinstance(body, str) and body.startswith("data:image/") else body
