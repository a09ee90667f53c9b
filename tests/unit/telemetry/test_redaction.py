"""What is taken out of a text before it is logged, and what is left as it is."""

from __future__ import annotations

import pytest

from deployments.telemetry.redaction import HIDDEN, Redactor

PLAIN = Redactor()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh"),
        ("Authorization: Key 01234567-89ab:cdef0123456789", "89ab"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'authorization': b'AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0badc0de'}", "0badc0de"),
        ("x-api-key=9f8e7d6c5b4a", "9f8e7d6c"),
        ('{"apiKey": "with \\" a quote"}', "a quote"),
        ("X-Fal-Webhook-Signature: 00ff00ff", "00ff00ff"),
        ("webhook-signature: v1,abcdef0123", "v1"),
        ("Cookie: session=abc", "session"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalr"),
        ("ASIAIOSFODNN7EXAMPLE signs", "EXAMPLE"),
        ("uxo_82346787_SecretPart01 was shown", "SecretPart01"),
        ("whsec_c2VjcmV0+/=", "c2VjcmV0"),
        ("postgresql+asyncpg://uxo:pa:ss@db:5432/uxo", "pa:ss"),
        ("https://user:pass@hooks.example/x", "pass"),
        ("PUT https://b.example/k?X-Amz-Signature=ff&X-Amz-Expires=60 failed", "X-Amz"),
        ('"GET /files/x?token=abc HTTP/1.1" 200', "abc"),
        ("/uploads/1763640000-0123456789abcdef0123456789abcdef/x", "0123456789abcdef"),
        ("/files/task-1-0-1763640000-0123456789abcdef0123456789abcdef.jpg", "0123456789abcdef"),
        ("data:image/png;base64,iVBORw0KGgo= is one", "iVBOR"),
        ("data:,plain", "plain"),
        ('{"prompt": "a red \\"mug\\""}', "mug"),
        ("positivePrompt='a red mug'", "red"),
    ],
)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    """Whatever has the form or the name of a secret is hidden, and something says that it was."""
    shown = PLAIN.text(text)

    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task_claimed",
        "https://hooks.example/path could not be reached",
        "Is this a question? Yes.",
        "revoked key 82346787; every process refuses it within 3 s",
        "uxo_82346787",
        "the upload address answered 403",
        "{'task_id': '0123456789abcdef0123456789abcdef', 'attempt': 3}",
        "sqlite:////srv/uxo.db",
        "3 tokens of text",
    ],
)
def test_what_is_no_secret_is_left(text: str) -> None:
    """Ids, hosts, paths and words stay readable."""
    assert PLAIN.text(text) == text


@pytest.mark.parametrize("text", ["Authorization: Bearer abcdefgh12345678", "https://a:b@c/d?e=f", "prompt: 'x'"])
def test_a_redacted_text_stays_as_it_is(text: str) -> None:
    """What passes two doors is the same behind the second."""
    once = PLAIN.text(text)

    assert PLAIN.text(once) == once


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    """Even within other text, whole where one secret begins with another; words are not taken for short secrets."""
    redactor = Redactor.knowing(["correct-horse", "correct-horse-battery", "uno"])

    assert redactor.text("x=correct-horse-battery! and uno") == f"x={HIDDEN}! and uno"


def test_values_are_redacted_by_their_names() -> None:
    """What a field is called counts, however deep it lies; what it holds keeps its form."""
    event = {"headers": {"Cookie": "a=b", "Host": "x"}, "urls": ["https://x.example/?a=b"], "steps": 4, "none": None}

    assert PLAIN.value(event) == {
        "headers": {"Cookie": HIDDEN, "Host": "x"},
        "urls": [f"https://x.example/?{HIDDEN}"],
        "steps": 4,
        "none": None,
    }


def test_prompts_are_shown_to_who_asks_for_them() -> None:
    """By default a prompt is hidden; whoever has opted in sees it, and no secret besides."""
    opted_in = Redactor.knowing([], shows_prompts=True)
    event = {"prompt": "a mug", "token": "abc"}

    assert PLAIN.value(event) == {"prompt": HIDDEN, "token": HIDDEN}
    assert opted_in.value(event) == {"prompt": "a mug", "token": HIDDEN}
    assert opted_in.text("prompt='a mug'") == "prompt='a mug'"


@pytest.mark.parametrize("text", ["a-" * 500_000, "https://" * 100_000, "x?" * 500_000, "secret" * 100_000])
def test_a_hostile_text_is_read_in_one_go(text: str) -> None:
    """A text of half a megabyte that nearly is a secret again and again is done with, as any other."""
    assert len(PLAIN.text(text)) <= len(text)
