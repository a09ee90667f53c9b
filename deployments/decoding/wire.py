"""What passes between the service and a process that decodes; both ends read this file.

    ──► length in 4 bytes, then the bytes of a file
    ◄── reason, width and height in 9 bytes, then width x height x 3 bytes of RGB where the reason is 0

Before the first exchange the process says in one byte that it is ready, and whether it is cut off from networks.
"""

from __future__ import annotations

from struct import Struct

from deployments.decoding.rules import Refusal, refusal_of

#: Begins what is asked: the length of the file in bytes.
QUESTION = Struct(">I")
#: Begins what is answered: 0 or a ``Refusal``, width and height in pixels.
ANSWER = Struct(">BII")
#: What a process says when it is ready.
READY, READY_AND_CUT_OFF = b"r", b"R"
#: Bytes of one pixel.
CHANNELS = 3


class NotAnAnswer(ValueError):
    """What came is nothing that a sound process would send."""


def question(content: bytes) -> bytes:
    """Return what goes before the bytes of a file."""
    return QUESTION.pack(len(content))


def answered(head: bytes) -> tuple[int, int] | Refusal:
    """Return the size of the picture that follows, or why there is none.

    Raises:
        NotAnAnswer: when it is neither; the process that sends it may be in a stranger's hands.
    """
    reason, width, height = ANSWER.unpack(head)
    if reason == 0:
        if refusal_of(width, height) is not None:
            raise NotAnAnswer(f"a picture of {width}x{height} pixels")
        return width, height
    try:
        return Refusal(reason)
    except ValueError as error:
        raise NotAnAnswer(f"reason {reason}") from error
