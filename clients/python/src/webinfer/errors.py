"""Errors: one tree, so that `except WebinferError` catches all that a client can raise."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.rpc import error_details_pb2, status_pb2


class WebinferError(Exception):
    """Something did not work.

    Attributes:
        message: What happened, and what to do.
        code: Name of the gRPC code, such as "NOT_FOUND"; "INVALID_ARGUMENT" also where the client refuses an input.
        reason: The service's reason, such as "MODEL_NOT_FOUND"; empty where the error is not the service's own.
        fields: Names of the request's fields that are at fault.
        retry_after: Seconds after which another attempt may work, where the service tells.
    """

    default_code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        reason: str = "",
        fields: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.fields = list(fields)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.reason or self.code})"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments do not travel between processes by themselves.
        return (_rebuild, (type(self), self.message, self.code, self.reason, self.fields, self.retry_after))


class InvalidInputError(WebinferError, ValueError):
    """What was asked cannot be done: an input, a field or a setting is wrong. Another attempt fails as well."""

    default_code = "INVALID_ARGUMENT"


class NotFoundError(WebinferError, LookupError):
    """There is no such model or browser."""

    default_code = "NOT_FOUND"


class OverloadedError(WebinferError):
    """The service has no room for it now. It was tried again as often as the settings say."""

    default_code = "RESOURCE_EXHAUSTED"


class DeadlineExceededError(WebinferError, TimeoutError):
    """The answer did not come in time."""

    default_code = "DEADLINE_EXCEEDED"


class UnavailableError(WebinferError, ConnectionError):
    """No service is there, it went away, or it has no browser."""

    default_code = "UNAVAILABLE"


class CancelledError(WebinferError):
    """The call was cancelled, or its client was closed meanwhile."""

    default_code = "CANCELLED"


class ClosedError(WebinferError, RuntimeError):
    """The client cannot be used any more, or not here: it is closed, or belongs to another process or event loop."""

    default_code = "FAILED_PRECONDITION"


_BY_CODE: dict[str, type[WebinferError]] = {
    kind.default_code: kind
    for kind in (
        InvalidInputError,
        NotFoundError,
        OverloadedError,
        DeadlineExceededError,
        UnavailableError,
        CancelledError,
    )
} | {"OUT_OF_RANGE": InvalidInputError}

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def _rebuild(
    kind: type[WebinferError], message: str, code: str, reason: str, fields: list[str], retry_after: float | None
) -> WebinferError:
    return kind(message, code=code, reason=reason, fields=fields, retry_after=retry_after)


def from_status(status: status_pb2.Status) -> WebinferError:
    """The error that a google.rpc.Status tells."""
    code = _CODES.get(status.code, "UNKNOWN")
    reason, fields, retry_after = "", [], None
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields += [violation.field for violation in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    kind = _BY_CODE.get(code, WebinferError)
    if kind is OverloadedError and not reason:
        # gRPC's own word for a message that is over its reader's limit.
        kind = InvalidInputError
    return kind(status.message, code=code, reason=reason, fields=fields, retry_after=retry_after)


def from_call(error: grpc.RpcError) -> WebinferError:
    """The error that a failed call tells, of grpc or of grpc.aio."""
    status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.MergeFromString(value)
    return from_status(status)
