"""The error family; a docstring is the default message, and only a dialect knows how one looks on the wire.

UxoError
├── CallRefused                 nothing was accepted; the caller can act on it
│   ├── BodyTooSlow             400  and not 408, which packages answer by sending the whole body again
│   ├── BadCall                 400  the call itself is wrong; the message names the field
│   │   ├── BadField            400  the same, with the field and its problem as values
│   │   ├── NotJson             400  the body cannot be read at all
│   │   ├── SourceRefused       400  what is to be kept cannot be fetched
│   │   ├── CallbackRefused     400  an address that it names may not be called
│   │   │   ├── WebhookRefused
│   │   │   └── UploadAddressRefused
│   │   └── KeyReused           400  the idempotency key belongs to another call
│   ├── Unauthenticated         401
│   ├── BudgetExhausted         402
│   ├── ModelNotAllowed         403
│   ├── NotFound                404  unknown, expired or another tenant's: told apart by nobody
│   ├── MethodNotAllowed        405
│   ├── TargetRefused           412
│   ├── BodyTooLarge            413
│   ├── Overloaded              429
│   │   └── QuotaExceeded       429  of this tenant alone
│   ├── InternalFault           500  a mistake of ours
│   └── Unavailable             503
├── NotReached                  an address that a tenant gave did not answer
│   └── AddressRefused          and must not be asked at all
└── TaskFault                   an accepted task failed; kept in the task as its FaultKind and message
    ├── ReferenceUnusable
    │   └── ReferenceUnreachable
    ├── UploadFailed
    ├── NotStored
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


class NotJson(BadCall):
    """The body is not the JSON that is expected here."""


class Problem(StrEnum):
    """What is wrong with a field; a dialect has its own word for each."""

    #: It is required and absent, or null.
    MISSING = "missing"
    #: It is of another type.
    WRONG_TYPE = "wrong_type"
    #: A number below its bound.
    TOO_SMALL = "too_small"
    #: A number above its bound.
    TOO_LARGE = "too_large"
    #: None of the words that it may be.
    NOT_A_CHOICE = "not_a_choice"
    #: A text that is too short, or empty.
    TOO_SHORT = "too_short"
    #: A text that is too long.
    TOO_LONG = "too_long"
    #: A list with too few entries.
    TOO_FEW = "too_few"
    #: A list with too many entries.
    TOO_MANY = "too_many"
    #: No address that can be used, or of another scheme.
    BAD_ADDRESS = "bad_address"
    #: A text that is not of the form it must have, e.g. no UUID.
    BAD_FORM = "bad_form"
    #: Nobody knows this field.
    UNKNOWN = "unknown"


class BadField(BadCall):
    """A field of the call cannot be used.

    Args:
        message: in words for the caller; names the field.
        field: the path to it, from the outermost name on.
        problem: what is wrong with it.
        bound: the number that it passes, if that is what is wrong.
        given: what was sent, if it is short enough to be shown again.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        field: tuple[str | int, ...] = (),
        problem: Problem = Problem.WRONG_TYPE,
        bound: float | None = None,
        given: object = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        self.problem = problem
        self.bound = bound
        self.given = given


class SourceRefused(BadCall):
    """The picture could not be fetched."""


class CallbackRefused(BadCall):
    """An address that the call names may not be called from here."""


class WebhookRefused(CallbackRefused):
    """The webhook address may not be called from here."""


class UploadAddressRefused(CallbackRefused):
    """The upload address may not be called from here."""


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


class TargetRefused(CallRefused):
    """The call was to be passed on to an address that is not answered here."""

    http_status: ClassVar[int] = 412


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


class NotReached(UxoError):
    """It could not be reached.

    Args:
        message: a predicate, for whoever knows what was to be reached.
        status: what it had answered when its answer broke off.
    """

    def __init__(self, message: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message or "could not be reached")
        self.status = status


class AddressRefused(NotReached):
    """It must not be reached; asking again is of no use unless its name comes to mean another address."""


class FaultKind(StrEnum):
    """Why an accepted task failed; stored with it."""

    #: The call was wrong from the start, and its dialect says so later.
    REFUSED = "refused"
    #: A reference could not be fetched.
    REFERENCE_UNREACHABLE = "reference_unreachable"
    #: A reference could not be decoded or used.
    REFERENCE_UNUSABLE = "reference_unusable"
    #: The pictures could not be sent to where their tenant wanted them.
    UPLOAD_FAILED = "upload_failed"
    #: It was not started in the time that its caller gave it.
    TOO_LATE = "too_late"
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


class ReferenceUnreachable(ReferenceUnusable):
    """A reference picture could not be fetched."""

    kind: ClassVar[FaultKind] = FaultKind.REFERENCE_UNREACHABLE


class UploadFailed(TaskFault):
    """The pictures could not be sent to the upload address."""

    kind: ClassVar[FaultKind] = FaultKind.UPLOAD_FAILED


class NotStored(TaskFault):
    """The finished picture could not be stored."""


class EngineFailed(TaskFault):
    """The model could not make this picture."""


class Quarantined(TaskFault):
    """Every attempt at this task ended with its replica lost; it is not tried again."""

    kind: ClassVar[FaultKind] = FaultKind.QUARANTINED
