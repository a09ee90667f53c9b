"""Reads the members of a JSON object strictly, for dialects that do not convert: an integer is no boolean and no text.

Every refusal is a ``BadField`` that names the field, says what is wrong with it, and can be put into any dialect's
words. null counts as absent, and members that nobody reads are nobody's business unless a dialect asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn, TypeVar

from deployments.errors import BadField, Problem

Choice = TypeVar("Choice")

#: Longest text that a refusal shows again.
MAX_SHOWN = 100


class Fields:
    """The members of one JSON object.

    Args:
        members: the object.
        path: where it stands in the body; empty for the body itself.
    """

    def __init__(self, members: Mapping[str, Any], *, path: tuple[str | int, ...] = ()) -> None:
        self._members = members
        self._path = path

    def __repr__(self) -> str:
        """Name the members, without their values."""
        return f"<Fields {'.'.join(map(str, self._path))} [{', '.join(self._members)}]>"

    def has(self, name: str) -> bool:
        """Whether a member is there and not null."""
        return self._members.get(name) is not None

    def raw(self, name: str) -> Any:
        """Return a member as it is; None where it is absent."""
        return self._members.get(name)

    def fields(self, name: str) -> Fields:
        """Return the members of an inner object; of none where it is absent."""
        value = self._value(name, {})
        if not isinstance(value, Mapping):
            self.refuse(name, "must be an object", Problem.WRONG_TYPE)
        return Fields(value, path=(*self._path, name))

    def only(self, names: Collection[str]) -> None:
        """Refuse members that are not among ``names``."""
        for name in self._members:
            if name not in names:
                self.refuse(name, "is not known here", Problem.UNKNOWN)

    def text(self, name: str, *, default: str | None = None, max_bytes: int) -> str:
        """Return a text of at most ``max_bytes`` of UTF-8; it is required, and not empty, where there is no default."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self.refuse(name, "must be a string", Problem.WRONG_TYPE)
        if not value and default is None:
            self.refuse(name, "must not be empty", Problem.TOO_SHORT, bound=1)
        if len(value.encode("utf-8", "surrogatepass")) > max_bytes:
            self.refuse(name, f"must be at most {max_bytes} bytes long", Problem.TOO_LONG, bound=max_bytes)
        return value

    def sentence(self, name: str, *, default: str | None = None, low: int = 0, high: int) -> str:
        """Return a text of ``low`` to ``high`` characters; it is required where there is no default."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self.refuse(name, "must be a string", Problem.WRONG_TYPE)
        if not low <= len(value) <= high:
            problem, bound = (Problem.TOO_SHORT, low) if len(value) < low else (Problem.TOO_LONG, high)
            self.refuse(name, f"must have {low} to {high} characters", problem, bound=bound)
        return value

    def matching(self, name: str, pattern: re.Pattern[str], *, form: str) -> str:
        """Return a required text that ``pattern`` matches whole; ``form`` says in words which that is."""
        value = self._value(name, None)
        if not isinstance(value, str):
            self.refuse(name, "must be a string", Problem.WRONG_TYPE)
        if not pattern.fullmatch(value):
            self.refuse(name, f"must be {form}", Problem.BAD_FORM)
        return value

    def texts(self, name: str, *, low: int, high: int) -> tuple[str, ...]:
        """Return a list of ``low`` to ``high`` texts; it is required unless ``low`` is 0."""
        value = self._value(name, None if low else [])
        if not isinstance(value, list):
            self.refuse(name, "must be a list of strings", Problem.WRONG_TYPE)
        if not low <= len(value) <= high:
            problem, bound = (Problem.TOO_FEW, low) if len(value) < low else (Problem.TOO_MANY, high)
            self.refuse(name, f"must have between {low} and {high} entries", problem, bound=bound)
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                self.refuse_entry(name, index, "must be a string", Problem.WRONG_TYPE)
        return tuple(value)

    def whole(self, name: str, *, default: int | None, low: int, high: int, is_lax: bool = False) -> int:
        """Return an integer in [low, high]; it is required where the default is None; 2.0 is one only if ``is_lax``."""
        value = self._value(name, default)
        if is_lax and isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, "must be an integer", Problem.WRONG_TYPE)
        self._check_range(name, value, low, high)
        return value

    def number(self, name: str, *, default: float, low: float, high: float) -> float:
        """Return a number in [low, high]."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, "must be a number", Problem.WRONG_TYPE)
        self._check_range(name, value, low, high)
        return float(value)

    def switch(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self._value(name, default=default)
        if not isinstance(value, bool):
            self.refuse(name, "must be true or false", Problem.WRONG_TYPE)
        return value

    def choice(self, name: str, *, default: str | None, among: Mapping[str, Choice]) -> Choice:
        """Return what stands behind one of the words of ``among``; it is required where the default is None."""
        value = self._value(name, default)
        if not isinstance(value, str) or value not in among:
            self.refuse(name, f"must be one of {', '.join(among)}", Problem.NOT_A_CHOICE)
        return among[value]

    def refuse(self, name: str, words: str, problem: Problem, *, bound: float | None = None) -> NoReturn:
        """Refuse a member: ``words`` follow its name.

        Raises:
            BadField: always.
        """
        path = (*self._path, name)
        given = _shown(self._members.get(name))
        raise BadField(f"{_written(path)} {words}", field=path, problem=problem, bound=bound, given=given)

    def refuse_entry(self, name: str, index: int, words: str, problem: Problem) -> NoReturn:
        """Refuse an entry of a list.

        Raises:
            BadField: always.
        """
        path = (*self._path, name, index)
        given = _shown(self._members[name][index])
        raise BadField(f"{_written(path)} {words}", field=path, problem=problem, given=given)

    def _value(self, name: str, default: Any) -> Any:
        value = self._members.get(name)
        if value is not None:
            return value
        if default is None:
            self.refuse(name, "is required", Problem.MISSING)
        return default

    def _check_range(self, name: str, value: float, low: float, high: float) -> None:
        if low <= value <= high:
            return
        problem, bound = (Problem.TOO_SMALL, low) if value < low else (Problem.TOO_LARGE, high)
        self.refuse(name, f"must be between {low} and {high}", problem, bound=bound)


def _written(path: tuple[str | int, ...]) -> str:
    """Write a path as programmers do: ``inputs.referenceImages[2]``."""
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return written.removeprefix(".")


def _shown(value: Any) -> Any:
    """Return what a refusal may show again: short texts and numbers."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return value if isinstance(value, str) and len(value) <= MAX_SHOWN else None
