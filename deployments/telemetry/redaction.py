"""Takes secrets and content out of texts that are on their way into a log, whoever wrote them.

    known secrets    the operator's keys and passwords, wherever they stand
    known forms      keys, signatures, credentials, data URIs, queries of links, links that are a permission
    known names      fields and ``name=value`` that are called like a secret, and prompts

A name or a form that nobody thought of passes, so nothing here excuses logging a secret. Knows no logger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What stands where something was taken out.
HIDDEN = "[hidden]"
#: Known secrets shorter than this are not looked for: they would be found in words.
MIN_SECRET_CHARS = 8

# How names end that are secrets'; what stands before that, as in aws_secret_access_key, does not matter.
_TELLING_NAME = (
    r"(?:authorization|api[_-]?key|secret|passw(?:or)?d|signature|credential|access[_-]?key|cookie|websocket-key)"
    r"[\w-]{0,32}|idempotency-key|token"
)
_PROMPT_NAME = "prompt"
_ASSIGNED = r"""["']?\s*[:=]\s*(?!\[hidden\])"""
_VALUE = r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|[^\s"',;&}\])]+)"""
_IS_SECRET_NAME = re.compile(rf".*(?:{_TELLING_NAME})", re.IGNORECASE)
_IS_PROMPT_NAME = re.compile(rf".*{_PROMPT_NAME}", re.IGNORECASE)

# In this order: the later ones would leave half of what the earlier ones know as a whole.
_FORMS = [
    (re.compile(r"data:([\w.+/;=-]{0,200}),[\w+/=%.~-]*"), rf"data:\1,{HIDDEN}"),
    (re.compile(r"\b(uxo_[0-9a-f]{8})_\w+"), rf"\1_{HIDDEN}"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"), HIDDEN),
    # Scheme and credentials of an Authorization header, which may stand alone.
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=:-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(Key)\s+[\w.~+/=:-]{16,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^/\s@\"'<>]{1,500}@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"([\w/.~%\]-]\?)[^\s\"'<>?=]*=[^\s\"'<>]*"), rf"\1{HIDDEN}"),
    # Files and upload addresses of ours: a moment and 128 bits, which are the permission.
    (re.compile(r"\b(\d{1,12})-[0-9a-f]{32}\b"), rf"\1-{HIDDEN}"),
    (re.compile(rf"({_TELLING_NAME})({_ASSIGNED}){_VALUE}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
]
_PROMPTS = re.compile(rf"({_PROMPT_NAME})({_ASSIGNED}){_VALUE}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redactor:
    """Takes out what must not be logged."""

    #: Texts that are secrets wherever they stand.
    secrets: tuple[str, ...] = ()
    #: Whether prompts may be logged.
    shows_prompts: bool = False

    @classmethod
    def knowing(cls, secrets: Iterable[str], *, shows_prompts: bool = False) -> Redactor:
        """Take known secrets, the longest first, so that none is left in part when it begins with another one."""
        long_enough = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
        return cls(secrets=tuple(sorted(long_enough, key=len, reverse=True)), shows_prompts=shows_prompts)

    def text(self, text: str) -> str:
        """Return a text without what must not be logged; a clean one is returned as it is."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        for form, shown in _FORMS:
            text = form.sub(shown, text)
        return text if self.shows_prompts else _PROMPTS.sub(rf"\1\2{HIDDEN}", text)

    def value(self, value: object, *, name: str = "") -> Any:
        """Return what may be logged of a value under a name, in the form that it has.

        What is no text, number, list or mapping is returned as its text if there is something to take out of that.
        """
        if value is None or isinstance(value, bool | int | float):
            return value
        if self._is_hidden(name):
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {each: self.value(one, name=str(each)) for each, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.value, value)) if type(value) in {list, tuple} else self._as_text(value)
        return self._as_text(value)

    def _as_text(self, value: object) -> object:
        text = str(value)
        clean = self.text(text)
        return value if clean == text else clean

    def _is_hidden(self, name: str) -> bool:
        if _IS_SECRET_NAME.fullmatch(name):
            return True
        return not self.shows_prompts and _IS_PROMPT_NAME.fullmatch(name) is not None
