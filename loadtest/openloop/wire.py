"""The HTTP client of a load: connections without bound, no repeats, and answers of strangers read with care."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, errorcode
from typing import Any

import aiohttp

from loadtest.openloop.speech import SAMPLE, Ask, mapping, sample

#: What a connection fails with that this machine has no files, ports or memory left for; no server is to blame for it.
OWN_LIMITS = frozenset({EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS})
#: Bytes of an answer that are read; a picture in base64 has room.
MAX_BYTES = 64 * 2**20


class NoAnswer(Exception):
    """A call was not answered; the message says how that came, in words that can be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    #: HTTP status.
    status: int
    #: The JSON object it held; empty when it held none.
    body: Mapping[str, Any]
    #: Its first bytes, whatever it was.
    beginning: bytes = b""

    @property
    def text(self) -> str:
        """Return how it began, cut by ``sample``; worked out when asked for, which of most answers nobody does."""
        return sample(self.beginning.decode("utf-8", "replace"))


class Wire:
    """A way to one server; made by ``connected``."""

    def __init__(self, session: aiohttp.ClientSession, target: str) -> None:
        self._session = session
        self._target = target.rstrip("/")

    async def send(self, ask: Ask, *, authorization: str, timeout_s: float | None = None) -> Answer:
        """Send a call once.

        Raises:
            NoAnswer: when there was none, or it broke off, or ``timeout_s`` passed.
        """
        headers = {"Authorization": authorization} | ({"Content-Type": "application/json"} if ask.body else {})
        try:
            async with self._session.request(
                ask.method,
                self._target + ask.path,
                data=ask.body or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                content = await _whole(answer.content)
                return Answer(status=answer.status, body=_object(content), beginning=content[: 4 * SAMPLE])
        except aiohttp.ClientConnectorCertificateError as error:  # which is a ValueError, too
            raise NoAnswer(_distrust(error)) from error
        except aiohttp.ClientConnectorSSLError as error:
            raise NoAnswer("no TLS is spoken there; write http:// if that is so") from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            raise NoAnswer("no address that can be called; write http://HOST:PORT") from error
        except aiohttp.ClientConnectorError as error:
            raise NoAnswer(_unconnected(error)) from error
        except TimeoutError as error:
            raise NoAnswer("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer("the connection broke") from error


@asynccontextmanager
async def connected(target: str) -> AsyncIterator[Wire]:
    """Open a way to a server for the length of the block; ``target`` is the start of every address."""
    # An unbounded connector: one that made calls wait for a free connection would be a closed loop again.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Wire(session, target)


async def _whole(stream: aiohttp.StreamReader) -> bytes:
    """Read an answer to its end; the library's ``read`` with a bound returns what is there so far."""
    content = bytearray()
    async for some in stream.iter_any():
        content += some
        if len(content) > MAX_BYTES:
            raise NoAnswer("an answer that is too long")
    return bytes(content)


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    """Say whose fault it is that there is no connection."""
    code = error.os_error.errno
    return f"the load generator's own: no socket left ({errorcode[code]})" if code in OWN_LIMITS else "no connection"


def _distrust(error: aiohttp.ClientConnectorCertificateError) -> str:
    why = getattr(error.certificate_error, "verify_message", "") or "no reason known"
    return f"its certificate is not trusted ({why}); SSL_CERT_FILE names a file of those that are to be"


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(content))
    except ValueError:
        return {}
