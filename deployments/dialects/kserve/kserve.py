"""The KServe v2 dialect: where its calls arrive, what they ask for, and how an answer or a refusal looks.

An inference blocks until it ends; what its answer needs to know of the call travels in the task's notes. Health and
descriptions are for everybody, as probes and dashboards show no key. Other than the four hosted dialects it is for
clients of a company's own inference servers: tritonclient works unchanged with a header for the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from deployments.dialects.dialect import Call, Reply, Route
from deployments.dialects.fields import Fields
from deployments.dialects.headers import authorization_key, retry_after
from deployments.dialects.kserve.answer import answered, wanted
from deployments.dialects.kserve.model_text import (
    VERSION,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    statistics,
)
from deployments.dialects.kserve.tensors import parameters, read_inputs, split, unpacked
from deployments.dialects.kserve.wish import Wish
from deployments.errors import CallRefused, FaultKind, NotFound
from deployments.json_body import read_object
from deployments.operations.operation import CheckHealth, Operation, ReadStatistics, Submit, Tell
from deployments.operations.outcome import Healthy, Outcome, Statistics, TaskOutcome, Told
from deployments.tasks.task import Fault, TaskState
from models.catalog import CATALOG

#: Longest time that a call may wait to be started, in microseconds: a day.
MAX_TIMEOUT_US = 24 * 3600 * 1_000_000

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
#: What is not here is the server's own trouble, a 500.
_FAULT_STATUS: Mapping[FaultKind, int] = MappingProxyType(
    {FaultKind.REFUSED: 400, FaultKind.REFERENCE_UNREACHABLE: 400, FaultKind.REFERENCE_UNUSABLE: 400}
)
_UNKNOWN_FAULT = Fault(kind=FaultKind.ENGINE_FAILED, message="Inference failed")


def _of_model(method: str, ending: str, name: str, *, is_public: bool = False) -> Iterator[Route]:
    for start in ("/v2/models/{model}/versions/{version}", "/v2/models/{model}"):
        yield Route(method=method, path=start + ending, name=name, is_public=is_public)


class Kserve:
    """KServe v2, with Triton's extensions for binary tensors, configuration and statistics."""

    name: str = "kserve"
    roots: Sequence[str] = ("/v2",)
    routes: Sequence[Route] = (
        Route(method="GET", path="/v2", name="server", is_public=True),
        Route(method="GET", path="/v2/health/live", name="live", is_public=True),
        Route(method="GET", path="/v2/health/ready", name="ready", is_public=True),
        Route(method="POST", path="/v2/repository/index", name="index"),
        Route(method="GET", path="/v2/models/stats", name="all_stats"),
        *_of_model("POST", "/infer", "infer"),
        *_of_model("GET", "/ready", "model_ready", is_public=True),
        *_of_model("GET", "/config", "config", is_public=True),
        *_of_model("GET", "/stats", "stats"),
        *_of_model("GET", "", "metadata", is_public=True),
    )

    def api_key(self, call: Call) -> str:
        """Return the bearer key of the ``Authorization`` header."""
        return authorization_key(call)

    def parse(self, route: Route, call: Call) -> Operation:
        """Read what is asked for, of a model that is there."""
        _check_model(call)
        match route.name:
            case "infer":
                return _submit(call)
            case "ready":
                return CheckHealth()
            case "model_ready":
                return CheckHealth(of_replicas=True)
            case "stats" | "all_stats":
                return ReadStatistics()
            case "index" if call.body:
                read_object(call.body)  # whether only models that are ready are wanted: here, all are
        return Tell(subject=route.name)

    def render(self, outcome: Outcome, call: Call) -> Reply:
        """Write tensors, a description or numbers; a task that failed is an HTTP error."""
        match outcome:
            case TaskOutcome():
                return _task(outcome)
            case Healthy(draws=False):
                return _reply(503, {"error": "no replica is up that draws; calls are taken, and wait for one"})
            case Healthy():
                return _reply(200, _named(call) | {"ready": True})
            case Statistics():
                return _reply(200, statistics(outcome, call.path_params.get("model")))
            case Told(subject=subject):
                return _reply(200, _told(subject, call))
        raise TypeError(f"{type(outcome).__name__} is no answer to anything that is asked here")

    def render_refusal(self, refusal: CallRefused, call: Call) -> Reply:  # noqa: ARG002 -- the protocol's argument
        """Write the refusal's words, under its own status."""
        return _reply(refusal.http_status, {"error": refusal.message}, retry_after(refusal.retry_after_s))


def _check_model(call: Call) -> None:
    """Refuse models and versions that are not there, which some routes do not speak of at all."""
    model = call.path_params.get("model")
    version = call.path_params.get("version", VERSION)
    if model is not None and (model not in CATALOG or version != VERSION):
        raise NotFound("Request for unknown model or version; POST /v2/repository/index lists what is there")


def _submit(call: Call) -> Submit:
    body = unpacked(call.body, call.headers.get("content-encoding", "").strip().lower())
    fields, behind = split(body, call.headers.get("inference-header-content-length"))
    notes = wanted(fields)
    start_within_s = _start_within_s(fields)
    wish = Wish(CATALOG[call.path_params["model"]], read_inputs(fields, behind))
    return Submit(
        request=wish.request(call.fresh_seed),
        dialect=Kserve.name,
        sinks=("inline",),
        notes=notes,
        wait=True,
        cancel_with_caller=True,
        cancel_when_given_up=True,
        start_within_s=start_within_s,
    )


def _start_within_s(fields: Fields) -> float | None:
    """Return Triton's time-out, which is about waiting and in microseconds; 0 is none."""
    timeout_us = parameters(fields).whole("timeout", default=0, low=0, high=MAX_TIMEOUT_US)
    return timeout_us / 1_000_000 or None


def _task(outcome: TaskOutcome) -> Reply:
    fault = outcome.task.fault or _UNKNOWN_FAULT
    match outcome.task.state:
        case TaskState.SUCCEEDED:
            return answered(outcome)
        case TaskState.FAILED:
            return _reply(_FAULT_STATUS.get(fault.kind, 500), {"error": fault.message})
        case TaskState.CANCELLED if not outcome.gave_up_waiting:
            # By an operator, or because it was not started in time: Triton calls both "unavailable".
            return _reply(503, {"error": "Request cancelled before it ended"})
    return _reply(504, {"error": "Request timed out; the server has stopped waiting for it"})


def _told(subject: str, call: Call) -> Any:
    match subject:
        case "metadata":
            return model_metadata(call.path_params["model"])
        case "config":
            return model_config(call.path_params["model"])
        case "index":
            return repository_index()
        case "live":
            return {"live": True}
    return server_metadata()


def _named(call: Call) -> dict[str, Any]:
    return {"name": call.path_params["model"]} if "model" in call.path_params else {}


def _reply(status: int, answer: Any, headers: Mapping[str, str] = _NO_HEADERS) -> Reply:
    return Reply(status=status, body=json.dumps(answer).encode("ascii"), headers=headers)
