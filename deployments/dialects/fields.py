"""Reads the members of a JSON object strictly, for dialects that do not convert: an integer is no boolean and no text.

Every refusal is a ``BadCall`` that names the field. null counts as absent, and unknown members are nobody's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from deployments.errors import BadCall

Choice = TypeVar("Choice")


class Fields:
    """The members of one JSON object."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    def text(self, name: str, *, default: str | None = None, max_bytes: int) -> str:
        """Return a text of at most ``max_bytes`` of UTF-8; it is required, and not empty, where there is no default."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise BadCall(f"{name} must be a string")
        if not value and default is None:
            raise BadCall(f"{name} must not be empty")
        if len(value.encode("utf-8")) > max_bytes:
            raise BadCall(f"{name} must be at most {max_bytes} bytes long")
        return value

    def texts(self, name: str, *, low: int, high: int) -> tuple[str, ...]:
        """Return a required list of ``low`` to ``high`` texts."""
        value = self._value(name, None)
        if not isinstance(value, list):
            raise BadCall(f"{name} must be a list of strings")
        if not low <= len(value) <= high:
            raise BadCall(f"{name} must have between {low} and {high} entries")
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                raise BadCall(f"{name}[{index}] must be a string")
        return tuple(value)

    def whole(self, name: str, *, default: int, low: int, high: int) -> int:
        """Return an integer in [low, high]; 2.0 is none."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadCall(f"{name} must be an integer")
        _check_range(name, value, low, high)
        return value

    def number(self, name: str, *, default: float, low: float, high: float) -> float:
        """Return a number in [low, high]."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadCall(f"{name} must be a number")
        _check_range(name, value, low, high)
        return float(value)

    def switch(self, name: str) -> bool:
        """Return true or false; absent is false."""
        value = self._value(name, default=False)
        if not isinstance(value, bool):
            raise BadCall(f"{name} must be true or false")
        return value

    def choice(self, name: str, *, default: str, among: Mapping[str, Choice]) -> Choice:
        """Return what stands behind one of the words of ``among``."""
        value = self._value(name, default)
        if not isinstance(value, str) or value not in among:
            raise BadCall(f"{name} must be one of {', '.join(among)}")
        return among[value]

    def _value(self, name: str, default: Any) -> Any:
        value = self._members.get(name)
        if value is not None:
            return value
        if default is None:
            raise BadCall(f"{name} is required")
        return default


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise BadCall(f"{name} must be between {low} and {high}")
