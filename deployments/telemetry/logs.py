"""Log events with fields, one JSON line each; never a prompt, a key, or a link that is a permission.

structlog event ──► redacted ──► one JSON line      what this code logs
logging record ───► redacted ──► its own handlers   what libraries log: Ray, uvicorn, boto3, SQLAlchemy
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from deployments.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from deployments.settings import Settings

#: What logs are written with that is no caller's, and stays as it is.
_OWN_FIELDS = frozenset({"level", "timestamp"})
_TRACEBACKS = logging.Formatter()


def log_as(settings: Settings) -> None:
    """Log as the settings say, and none of their secrets."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    configure_logging(level=level, secrets=settings.known_secrets, shows_prompts=settings.log_prompts)


def configure_logging(*, level: int = logging.INFO, secrets: Iterable[str] = (), shows_prompts: bool = False) -> None:
    """Send every event of this process to its standard error, without what must not be logged.

    Args:
        level: of the least important events that are written.
        secrets: texts that are hidden wherever they stand.
        shows_prompts: whether fields that are called prompt are written.
    """
    redactor = Redactor.knowing(secrets, shows_prompts=shows_prompts)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacting(redactor),  # after the traceback has become text, and before anything is written
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Looked up with each event: what was standard error when a command began may be closed by now.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    # Where records are made, and not where they are written: every library brings handlers of its own.
    logging.setLogRecordFactory(_redacting_records(redactor))


def _redacting(redactor: Redactor) -> structlog.typing.Processor:
    def redact(_logger: object, _method: str, event: structlog.typing.EventDict) -> Mapping[str, Any]:
        return {
            name: value if name in _OWN_FIELDS else redactor.value(value, name=name) for name, value in event.items()
        }

    return redact


def _redacting_records(redactor: Redactor) -> Callable[..., logging.LogRecord]:
    def make_record(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = logging.LogRecord(*arguments, **named)
        message = _message_of(record)
        if redactor.text(message) != message:
            _hide(record, redactor)
        if record.exc_info:
            record.exc_text = redactor.text(_TRACEBACKS.formatException(record.exc_info))
        return record

    return make_record


def _hide(record: logging.LogRecord, redactor: Redactor) -> None:
    """Redact the arguments of a message, which some formatters look for, or else the message they make together."""
    record.args = redactor.value(record.args)
    message = _message_of(record)
    clean = redactor.text(message)
    if clean != message:
        record.msg, record.args = clean, ()


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit: whoever writes the record will say so
        return f"{record.msg} {record.args}"
