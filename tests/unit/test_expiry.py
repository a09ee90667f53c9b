"""Until when signed addresses hold, in every vendor's way of saying it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deployments.errors import UploadAddressRefused
from deployments.outbound.expiry import check_upload, expires_at

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "moment"),
    [
        ("X-Amz-Date=20261120T115500Z&X-Amz-Expires=300&X-Amz-Signature=00", NOON),
        ("x-amz-date=20261120T115500Z&x-amz-expires=300&x-amz-signature=00", NOON),
        ("X-Goog-Date=20261120T115500Z&X-Goog-Expires=300&X-Goog-Signature=00", NOON),
        (f"AWSAccessKeyId=AK&Expires={int(NOON.timestamp())}&Signature=a%2Bb", NOON),
        (f"GoogleAccessId=a%40b&Expires={int(NOON.timestamp())}&Signature=00", NOON),
        ("sv=2024-11-04&sr=b&se=2026-11-20T12%3A00%3A00Z&sp=w&sig=00", NOON),
        ("sv=2024-11-04&sr=b&se=2026-11-20T12:00Z&sp=w&sig=00", NOON),
        ("sv=2024-11-04&sr=b&se=2026-11-20&sp=w&sig=00", NOON.replace(hour=0)),
    ],
)
def test_a_signed_address_says_when_it_ends(query: str, moment: datetime) -> None:
    """Each vendor's parameters are read, whatever the case of their names."""
    assert expires_at(f"https://pictures.example/a.jpg?{query}") == moment


@pytest.mark.parametrize(
    "query",
    [
        "",
        "token=secret",
        "Expires=5",
        "se=2026-11-20",
        "X-Amz-Date=20261120T115500Z&X-Amz-Expires=300",
        "X-Amz-Date=today&X-Amz-Expires=300&X-Amz-Signature=00",
        "X-Amz-Date=20261120T115500Z&X-Amz-Expires=-1&X-Amz-Signature=00",
        "X-Amz-Date=99991231T235959Z&X-Amz-Expires=99999999999&X-Amz-Signature=00",
        "Expires=99999999999999999999&Signature=00",
        "se=soon&sig=00",
    ],
)
def test_what_cannot_be_read_is_not_judged(query: str) -> None:
    """An address without a known signature, or with nonsense in it, is left to the store behind it."""
    assert expires_at(f"https://pictures.example/a.jpg?{query}") is None


def link(left_s: int) -> str:
    """Return an address that holds for so long from noon."""
    return f"https://pictures.example/a.jpg?Expires={int(NOON.timestamp()) + left_s}&Signature=00"


@pytest.mark.parametrize("url", ["http://[127.0.0.1]/?sig=a&se=2026-11-20", "http://[::1/?a=b", "?", ""])
def test_an_address_that_is_none_is_left_to_the_guard(url: str) -> None:
    """Reading until when an address holds raises nothing, however broken it is."""
    check_upload(url, now=NOON - timedelta(days=1))


@pytest.mark.parametrize("left_s", [60, 3600])
def test_time_enough_is_taken(left_s: int) -> None:
    """An address that holds for a minute is taken, and so is one that does not say."""
    check_upload(link(left_s), now=NOON)
    check_upload("https://pictures.example/a.jpg", now=NOON)


@pytest.mark.parametrize(
    ("left_s", "words"),
    [
        (-1, "expired at 2026-11-20T11:59:59Z"),
        (0, "expired at 2026-11-20T12:00:00Z"),
        (59, "expires in 59 s, and has to hold for 60"),
    ],
)
def test_too_little_time_is_refused(left_s: int, words: str) -> None:
    """An address that has ended, or ends before a picture could be there, is refused with its time and not itself."""
    with pytest.raises(UploadAddressRefused, match=words) as refusal:
        check_upload(link(left_s), now=NOON)

    assert "pictures.example" not in refusal.value.message
