"""A request for people's eyes: which pictures it refers to, but not their contents and no secret of a link. Pure."""

from __future__ import annotations

from dataclasses import replace

from models.request import GenerationRequest, Reference

#: Characters that are shown of a link, and of the media type of a data URI.
LINK_CHARS, TYPE_CHARS = 200, 40


def without_contents(request: GenerationRequest) -> GenerationRequest:
    """Shorten the references of a request; it can no longer be carried out, only looked at."""
    references = tuple(Reference(role=each.role, source=shortened(each.source)) for each in request.references)
    return replace(request, references=references)


def shortened(source: str) -> str:
    """Say what a reference is.

    Returns:
        ``data:image/png… 1.2 MB`` for content, and a link without its query and without a password, where signatures
        and keys are.
    """
    if source[:5].lower() == "data:":
        return _data_uri(source)
    link, mark, _ = source.partition("?")
    scheme, slashes, rest = link.partition("://")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"
    return shown[:LINK_CHARS] + ("…" if mark or len(shown) > LINK_CHARS else "")


def _data_uri(source: str) -> str:
    head, _, content = source.partition(",")
    kind, _, encoding = head.partition(";")
    is_base64 = encoding.lower().endswith("base64")
    size_bytes = len(content) * 3 // 4 if is_base64 else len(content)
    return f"{kind[:TYPE_CHARS]}… {size(size_bytes)}"


def size(size_bytes: float) -> str:
    """Write a number of bytes as people do: ``1.2 MB``."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"
