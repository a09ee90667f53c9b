"""Reads the tensors of a call, from its JSON or from the bytes behind it; knows their form and not what they mean.

    JSON of Inference-Header-Content-Length bytes ║ bytes of the first binary input ║ of the second ║ ...

Source: KServe Open Inference Protocol v2, REST, "Inference Request JSON Object"; Triton's binary tensor data
extension; both seen 2026-11.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from deployments.dialects.fields import Fields
from deployments.dialects.kserve.model_text import INPUTS, TensorText
from deployments.errors import BadCall, BadField, BodyTooLarge, Problem
from deployments.json_body import read_object

#: Bytes that a compressed body may grow to; as much as one may have that is not compressed.
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
#: Texts of one tensor; a body has room for millions of empty ones.
MAX_TEXTS = 64

# gzip and zlib are told apart by their first bytes. Source: zlib manual, inflateInit2, windowBits + 32.
_EITHER_FORMAT = 32 + zlib.MAX_WBITS
_ENCODINGS = ("gzip", "deflate")
#: How each kind of number is packed, little endian.
_CODES: Mapping[str, str] = MappingProxyType({"INT64": "q", "INT32": "i", "FP32": "f", "UINT8": "B"})
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor that has the form it is described to have."""

    #: The lengths of its axes.
    shape: tuple[int, ...]
    #: Texts as bytes, small numbers as one ``bytes``, others as numbers; row by row.
    elements: Sequence[Any]


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was compressed.

    Raises:
        BadCall: when its encoding is none that is known here, or it is broken.
        BodyTooLarge: when it grows beyond 64 MB.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in _ENCODINGS:
        raise BadCall("Content-Encoding must be gzip or deflate")
    unpacking = zlib.decompressobj(_EITHER_FORMAT)
    try:
        content = unpacking.decompress(body, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise BadCall("the body is not compressed as Content-Encoding says") from error
    if unpacking.unconsumed_tail:
        raise BodyTooLarge
    if not unpacking.eof:
        raise BadCall("the compressed body is cut short")
    return content


def split(body: bytes, header_length: str | None) -> tuple[Fields, memoryview]:
    """Return the JSON object of a call, and the bytes behind it.

    Raises:
        BadCall: when the length is no number or beyond the body, or the object cannot be read.
    """
    if header_length is None:
        return Fields(read_object(body)), memoryview(b"")
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
        raise BadCall("Inference-Header-Content-Length must be a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise BadCall("Inference-Header-Content-Length is beyond the end of the body")
    return Fields(read_object(body[:length])), memoryview(body)[length:]


def read_inputs(call: Fields, behind: memoryview) -> dict[str, Tensor]:
    """Return the input tensors by their names.

    Raises:
        BadCall: when one is unknown, there twice or of another form, or the bytes behind the JSON do not add up.
    """
    tensors: dict[str, Tensor] = {}
    for entry in entries(call, "inputs"):
        name = _known(entry)
        if name in tensors:
            entry.refuse("name", f"{name!r} is there twice", Problem.NOT_A_CHOICE)
        size = _binary_size(entry)
        if size is not None and size > len(behind):
            _refuse(name, "has more binary data than the body")
        content = None if size is None else bytes(behind[:size])
        tensors[name] = _read(INPUTS[name], entry, content)
        behind = behind[size or 0 :]
    if behind:
        raise BadCall(f"the body holds {len(behind)} bytes that belong to no input")
    return tensors


def entries(call: Fields, name: str) -> list[Fields]:
    """Return the objects of a list; none where it is absent."""
    value = call.raw(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        call.refuse(name, "must be a list of objects", Problem.WRONG_TYPE)
    return [Fields(entry, path=(name, index)) for index, entry in enumerate(value)]


def parameters(entry: Fields) -> Fields:
    """Return the parameters of a tensor; those that would place it elsewhere are refused."""
    given = entry.fields("parameters")
    if given.has("shared_memory_region"):
        given.refuse("shared_memory_region", "is not available on this server", Problem.UNKNOWN)
    return given


def _known(entry: Fields) -> str:
    name = entry.text("name", max_bytes=256)
    if name not in INPUTS:
        entry.refuse("name", f"{name!r} is no input of this model", Problem.NOT_A_CHOICE)
    return name


def _binary_size(entry: Fields) -> int | None:
    given = parameters(entry)
    if not given.has("binary_data_size"):
        return None
    return given.whole("binary_data_size", default=None, low=0, high=MAX_UNPACKED_BYTES)


def _read(text: TensorText, entry: Fields, content: bytes | None) -> Tensor:
    if entry.raw("datatype") != text.datatype:
        _refuse(text.name, f"must have datatype {text.datatype}")
    shape = _shape(text, entry)
    values = _from_json(text, entry) if content is None else _from_bytes(text, content, math.prod(shape))
    if len(values) != math.prod(shape):
        _refuse(text.name, f"has {len(values)} elements, and its shape {math.prod(shape)}")
    return Tensor(shape=shape, elements=values)


def _shape(text: TensorText, entry: Fields) -> tuple[int, ...]:
    value = entry.raw("shape")
    if not isinstance(value, list) or not all(type(length) is int for length in value):
        _refuse(text.name, "must have a shape, a list of integers")
    shape = tuple(value)
    if not text.fits(shape):
        _refuse(text.name, f"must have shape {list(text.shape)}, -1 being any length")
    if text.datatype == "BYTES" and math.prod(shape) > MAX_TEXTS:
        _refuse(text.name, f"must have at most {MAX_TEXTS} elements")
    return shape


def _from_json(text: TensorText, entry: Fields) -> Sequence[Any]:
    value = entry.raw("data")
    if not isinstance(value, list):
        _refuse(text.name, "must have data, a list")
    flat = _flat(value)
    if not all(_is_element(text, element) for element in flat):
        _refuse(text.name, f"must have data of datatype {text.datatype}")
    if text.datatype == "BYTES":
        return [element.encode("utf-8") for element in flat]
    return bytes(flat) if text.datatype == "UINT8" else flat


def _flat(value: list[Any]) -> list[Any]:
    """Return the elements of lists within lists, row by row; ``read_object`` has bounded how deep they are."""
    while any(isinstance(element, list) for element in value):
        value = [inner for element in value for inner in (element if isinstance(element, list) else [element])]
    return value


def _is_element(text: TensorText, value: object) -> bool:
    match text.datatype:
        case "BYTES":
            return isinstance(value, str)
        case "FP32":
            return type(value) in (int, float)
        case "UINT8":
            return type(value) is int and 0 <= value <= 255
    return type(value) is int


def _from_bytes(text: TensorText, content: bytes, count: int) -> Sequence[Any]:
    if text.datatype == "BYTES":
        return _texts(text, content, count)
    code = _CODES[text.datatype]
    if len(content) != count * struct.calcsize(f"<{code}"):
        _refuse(text.name, "has binary data of another length than its shape")
    return content if text.datatype == "UINT8" else struct.unpack(f"<{count}{code}", content)


def _texts(text: TensorText, content: bytes, count: int) -> list[bytes]:
    """Read texts that each come behind their length."""
    texts, start = [], 0
    for _ in range(count):
        begin = start + _LENGTH_BYTES
        end = begin + int.from_bytes(content[start:begin], "little")
        if end > len(content):
            _refuse(text.name, "has binary data that is cut short")
        texts.append(content[begin:end])
        start = end
    if start < len(content):
        _refuse(text.name, "has binary data of another length than its shape")
    return texts


def _refuse(name: str, words: str) -> NoReturn:
    raise BadField(f"input {name!r} {words}", field=("inputs", name), problem=Problem.WRONG_TYPE)
