"""The error family; a docstring is the default message, and only a dialect knows how one looks on the wire.

UxoError
├── CallRefused                 nothing was accepted; the caller can act on it
│   ├── BadCall                 400  the call itself is wrong; the message names the field
│   │   └── KeyReused           400  the idempotency key belongs to another call
│   ├── Unauthenticated         401
│   ├── BudgetExhausted         402
│   ├── ModelNotAllowed         403
│   ├── NotFound                404  unknown, expired or another tenant's: told apart by nobody
│   ├── MethodNotAllowed        405
│   ├── BodyTooSlow             408
│   ├── BodyTooLarge            413
│   ├── Overloaded              429
│   │   └── QuotaExceeded       429  of this tenant alone
│   ├── InternalFault           500  a mistake of ours
│   └── Unavailable             503
└── TaskFault                   an accepted task failed; kept in the task as its FaultKind and message
    ├── ReferenceUnusable
    ├── EngineFailed
    └── Quarantined
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class UxoError(Exception):
    """Something went wrong in uxo-serve."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def message(self) -> str:
        """Say what happened, in words for the caller."""
        return str(self.args[0])


class CallRefused(UxoError):
    """The call was refused and has changed nothing."""

    http_status: ClassVar[int] = 400

    @property
    def retry_after_s(self) -> int | None:
        """Return when the same call may succeed, in seconds; None when repeating it is of no use."""
        return None


class BadCall(CallRefused):
    """The call is malformed."""


class KeyReused(BadCall):
    """This idempotency key was used for another call."""


class Unauthenticated(CallRefused):
    """The API key is missing or not valid."""

    http_status: ClassVar[int] = 401


class BudgetExhausted(CallRefused):
    """The budget does not cover this request."""

    http_status: ClassVar[int] = 402


class ModelNotAllowed(CallRefused):
    """This model is not available to you."""

    http_status: ClassVar[int] = 403


class NotFound(CallRefused):
    """There is nothing here."""

    http_status: ClassVar[int] = 404


class MethodNotAllowed(CallRefused):
    """This address does not answer that method."""

    http_status: ClassVar[int] = 405


class BodyTooSlow(CallRefused):
    """The body did not arrive in time."""

    http_status: ClassVar[int] = 408


class BodyTooLarge(CallRefused):
    """The body is larger than this server accepts."""

    http_status: ClassVar[int] = 413


class Overloaded(CallRefused):
    """The server has as much work as it can keep; try again shortly."""

    http_status: ClassVar[int] = 429

    def __init__(self, message: str | None = None, *, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self._retry_after_s = retry_after_s

    @property
    def retry_after_s(self) -> int | None:
        """Return when there may be room again, in seconds."""
        return self._retry_after_s


class QuotaExceeded(Overloaded):
    """You have as much work waiting as you may."""


class InternalFault(CallRefused):
    """The server made a mistake; it has been logged."""

    http_status: ClassVar[int] = 500


class Unavailable(CallRefused):
    """The server cannot answer right now; try again shortly."""

    http_status: ClassVar[int] = 503

    @property
    def retry_after_s(self) -> int | None:
        """Return when to try again, in seconds."""
        return 2


class FaultKind(StrEnum):
    """Why an accepted task failed; stored with it."""

    #: A reference could not be fetched, decoded or used.
    REFERENCE_UNUSABLE = "reference_unusable"
    #: The model failed on it.
    ENGINE_FAILED = "engine_failed"
    #: Its replica died or hung under it too many times.
    QUARANTINED = "quarantined"


class TaskFault(UxoError):
    """The task failed."""

    kind: ClassVar[FaultKind] = FaultKind.ENGINE_FAILED


class ReferenceUnusable(TaskFault):
    """A reference picture could not be used."""

    kind: ClassVar[FaultKind] = FaultKind.REFERENCE_UNUSABLE


class EngineFailed(TaskFault):
    """The model could not make this picture."""


class Quarantined(TaskFault):
    """Every attempt at this task ended with its replica lost; it is not tried again."""

    kind: ClassVar[FaultKind] = FaultKind.QUARANTINED
