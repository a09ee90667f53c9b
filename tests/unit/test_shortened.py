"""Requests for people's eyes: no content, no signature."""

from __future__ import annotations

import pytest

from deployments.tasks.shortened import shortened, size


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data:image/png;base64," + "A" * 1_600_000, "data:image/png… 1.2 MB"),
        ("DATA:image/webp;base64,AAAA", "DATA:image/webp… 3 B"),
        ("data:,hello", "data:… 5 B"),
        ("data:" + "x" * 100, "data:" + "x" * 35 + "… 0 B"),
        ("https://example.org/a.png", "https://example.org/a.png"),
        ("https://example.org/a.png?X-Amz-Signature=ab", "https://example.org/a.png…"),
        ("https://me:word@example.org/a@b.png", "https://example.org/a@b.png"),
        ("https://example.org?sig=a/b@c", "https://example.org…"),
        ("https://example.org/" + "a" * 300, "https://example.org/" + "a" * 180 + "…"),
        ("no link at all", "no link at all"),
    ],
)
def test_a_source_is_shortened(source: str, expected: str) -> None:
    """Kind and size are left of content, scheme, host and path of a link."""
    assert shortened(source) == expected


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5_000_000_000, "5.0 GB")],
)
def test_sizes_are_written_as_people_do(size_bytes: int, text: str) -> None:
    """A number of bytes has at most one digit after the point, and its unit."""
    assert size(size_bytes) == text
