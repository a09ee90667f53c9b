"""KServe's language against written-down calls and answers, and against anything a caller could send."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import pytest
from dialect_golden import cases, made_call, made_outcome, written, written_reply
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deployments import errors
from deployments.dialects.dialect import Call, Reply
from deployments.dialects.kserve.kserve import Kserve
from deployments.dialects.kserve.model_text import INPUTS
from deployments.dialects.kserve.tensors import MAX_UNPACKED_BYTES
from deployments.errors import BadCall, BodyTooLarge, CallRefused, Unauthenticated
from deployments.operations.operation import CheckHealth, Operation, Submit
from deployments.operations.outcome import Balance, Healthy
from deployments.tasks.task import Task

DIALECT = Kserve()
[INFER] = [route for route in DIALECT.routes if route.path == "/v2/models/{model}/infer"]
PROMPT = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["x"]}
IMAGES = {"name": "images", "datatype": "BYTES", "shape": [1], "data": ["http://pictures.example/a.png"]}
LENGTH = "inference-header-content-length"


def inference(body: bytes, headers: Mapping[str, str] | None = None) -> Call:
    """Make a call that infers."""
    return Call(
        method="POST", path="/v2/models/uno/infer", path_params={"model": "uno"}, body=body, headers=headers or {}
    )


def with_pixels(pixels: bytes, shape: list[int]) -> Call:
    """Make a call whose picture comes as pixels behind the JSON."""
    text = {
        "name": "image_pixels",
        "datatype": "UINT8",
        "shape": shape,
        "parameters": {"binary_data_size": len(pixels)},
    }
    head = json.dumps({"inputs": [PROMPT, text]}).encode()
    return inference(head + pixels, {LENGTH: str(len(head))})


def submitted(call: Call) -> Submit:
    """Return what a call that infers asks for."""
    operation = DIALECT.parse(INFER, call)
    assert isinstance(operation, Submit)
    return operation


def shown(source: str) -> Image.Image:
    """Return the picture of a data URI."""
    return Image.open(BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("case", cases("kserve", "calls.json"))
def test_call_is_understood(case: Any) -> None:
    """A good call asks for exactly the operation beside it."""
    route, call = made_call(DIALECT, case["call"])

    operation = DIALECT.parse(route, call)

    assert written(operation) == case["operation"]


@pytest.mark.parametrize("case", cases("kserve", "mistakes.json"))
def test_mistake_is_named(case: Any) -> None:
    """A call with a mistake is answered with a status and a message that names the tensor or the field."""
    route, call = made_call(DIALECT, case["call"])

    with pytest.raises(CallRefused) as refusal:
        DIALECT.parse(route, call)

    assert written_reply(DIALECT.render_refusal(refusal.value, call)) == case["reply"]


@pytest.mark.parametrize("case", cases("kserve", "answers.json"))
def test_outcome_is_shown(case: Any, make_task: Callable[..., Task]) -> None:
    """Tensors come in the form they were asked for in; descriptions and numbers in Triton's shapes."""
    _, call = made_call(DIALECT, case["call"])
    outcome = made_outcome(case["outcome"], make_task)

    reply = DIALECT.render(outcome, call)

    assert written_reply(reply) == case["reply"]
    assert reply.content_type == ("application/octet-stream" if "binary" in case["reply"] else "application/json")


@pytest.mark.parametrize("case", cases("kserve", "refusals.json"))
def test_refusal_is_shown(case: Any) -> None:
    """Every refusal has its status, its words and, where waiting helps, how long to wait."""
    refusal = getattr(errors, case["refusal"])()

    reply = DIALECT.render_refusal(refusal, Call(method="GET", path="/v2/nowhere"))

    assert written_reply(reply, headers=("Retry-After",)) == case["reply"]


def test_pixels_become_pictures() -> None:
    """Each picture of a stack is the reference that shows exactly its pixels, rows first."""
    pixels = bytes(range(36))

    references = submitted(with_pixels(pixels, [2, 2, 3, 3])).request.references

    pictures = [shown(reference.source) for reference in references]
    assert [picture.size for picture in pictures] == [(3, 2), (3, 2)]
    assert b"".join(picture.tobytes() for picture in pictures) == pixels


def test_pixels_of_one_picture_need_no_count() -> None:
    """A picture without the axis that counts pictures is one reference, the same as with it."""
    alone = submitted(with_pixels(bytes(18), [2, 3, 3]))

    assert alone == submitted(with_pixels(bytes(18), [1, 2, 3, 3]))


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_call_is_unpacked(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A body that the client has compressed means what it means otherwise."""
    body = json.dumps({"inputs": [PROMPT, IMAGES]}).encode()

    operation = DIALECT.parse(INFER, inference(compress(body), {"content-encoding": encoding}))

    assert operation == DIALECT.parse(INFER, inference(body))


def test_compressed_bomb_is_refused() -> None:
    """A body that grows beyond what an uncompressed one may have is too large."""
    packing = zlib.compressobj()
    bomb = packing.compress(bytes(MAX_UNPACKED_BYTES + 1)) + packing.flush()

    with pytest.raises(BodyTooLarge):
        DIALECT.parse(INFER, inference(bomb, {"content-encoding": "deflate"}))


def test_compressed_call_must_be_whole() -> None:
    """A compressed body that ends too early is a mistake of its sender."""
    body = gzip.compress(json.dumps({"inputs": [PROMPT, IMAGES]}).encode())[:-9]

    with pytest.raises(BadCall, match="cut short"):
        DIALECT.parse(INFER, inference(body, {"content-encoding": "gzip"}))


@pytest.mark.parametrize(("name", "of_replicas"), [("ready", False), ("model_ready", True)])
def test_replicas_are_asked_for_where_a_model_is(*, name: str, of_replicas: bool) -> None:
    """The server is ready while it takes calls that wait, so its probe asks nobody for replicas; a model's does."""
    [route, *_] = [route for route in DIALECT.routes if route.name == name]

    assert DIALECT.parse(route, inference(b"")) == CheckHealth(of_replicas=of_replicas)


def test_a_model_is_not_ready_while_nothing_draws_it() -> None:
    """Where no replica is up a model is not ready."""
    assert DIALECT.render(Healthy(draws=False), inference(b"")).status == 503


def test_probes_and_descriptions_are_public() -> None:
    """Health, the server and what describes a model need no key; work, numbers and the list of models do."""
    public = {route.name for route in DIALECT.routes if route.is_public}

    assert public == {"server", "live", "ready", "model_ready", "metadata", "config"}


@pytest.mark.parametrize("header", ["Bearer some-key", "bearer some-key", "BEARER   some-key "])
def test_bearer_key_is_read(header: str) -> None:
    """The scheme's case does not count, nor do blanks around the key."""
    assert DIALECT.api_key(inference(b"", {"authorization": header})) == "some-key"


@pytest.mark.parametrize("header", [None, "", "some-key", "Basic c29tZTprZXk=", "Bearer", "Bearer ", "Bearer two keys"])
def test_other_key_is_refused(header: str | None) -> None:
    """No key, another scheme or something that is no key is a 401."""
    headers = {} if header is None else {"authorization": header}

    with pytest.raises(Unauthenticated):
        DIALECT.api_key(inference(b"", headers))


def test_other_outcome_is_a_mistake_of_ours() -> None:
    """What cannot be asked for here cannot be answered either."""
    with pytest.raises(TypeError, match="Balance"):
        DIALECT.render(Balance(left=None, spent=0, held=0), inference(b""))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ANY_TENSOR = st.fixed_dictionaries(
    {"name": st.sampled_from([*INPUTS, "mask"])},
    optional={
        "datatype": st.sampled_from(["BYTES", "INT64", "INT32", "FP32", "UINT8", "BOOL"]) | ANY_JSON,
        "shape": st.sampled_from([[1], [2], [1, 1, 3], [1, 1, 1, 3]]) | ANY_JSON,
        "data": st.lists(st.integers(0, 300) | st.text() | st.floats(), max_size=4) | ANY_JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)}) | ANY_JSON,
    },
)


def answer_to(call: Call) -> Operation | Reply:
    """Return what a call asks for, or the reply to a call that is refused."""
    try:
        return DIALECT.parse(INFER, call)
    except CallRefused as refusal:
        return DIALECT.render_refusal(refusal, call)


@given(
    body=st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()),
    length=st.none() | st.integers(-1, 200).map(str) | st.text(),
    encoding=st.none() | st.sampled_from(["gzip", "deflate", "identity"]) | st.text(),
)
def test_any_body_is_understood_or_refused(body: bytes, length: str | None, encoding: str | None) -> None:
    """No body and no header raises anything but CallRefused."""
    given_headers = {LENGTH: length, "content-encoding": encoding}
    headers = {name: value for name, value in given_headers.items() if value is not None}

    answer = answer_to(inference(body, headers))

    assert isinstance(answer, Submit) or (isinstance(answer, Reply) and answer.status == 400)


@given(
    tensors=st.lists(ANY_TENSOR, max_size=3),
    behind=st.binary(max_size=24),
    rest=st.dictionaries(
        st.sampled_from(["id", "outputs", "parameters"]),
        ANY_JSON,
        max_size=2,
    ),
)
def test_any_tensor_is_understood_or_refused(tensors: list[Any], behind: bytes, rest: dict[str, Any]) -> None:
    """No tensor, no bytes behind the JSON and no parameter raises anything but CallRefused."""
    head = json.dumps({"inputs": [PROMPT, IMAGES, *tensors], **rest}).encode()

    answer = answer_to(inference(head + behind, {LENGTH: str(len(head))}))

    assert isinstance(answer, Submit) or (isinstance(answer, Reply) and answer.status == 400)
