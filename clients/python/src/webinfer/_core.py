"""What both clients share: settings, requests, the channel's options."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import grpc
from google.protobuf import json_format

from ._enums import enum_value
from .errors import InvalidInputError, WebinferError, from_call, from_status
from .inputs import Input, to_items
from .models import model_id
from .results import Partial, Response
from .v1 import inference_pb2

#: How a task is to be done: the fields of the message Parameters, such as {"top_k": 3}, or the message itself.
Parameters = Mapping[str, Any] | inference_pb2.Parameters | None

_SERVICES = ("InferenceService", "ModelService", "PoolService", "CapabilityService")
_RETRIED = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
# gRPC makes no more.
_MOST_ATTEMPTS = 5
# Longer times are as good as none, and gRPC's clock holds.
_LONGEST_S = 365 * 24 * 3600.0
_MOST_BYTES = 2**31 - 1

FORKED = (
    "this client was made in another process, and gRPC does not survive a fork; make one in each process, and start "
    "them with the method 'spawn' or 'forkserver' of multiprocessing"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client calls. See `Client`."""

    address: str = "localhost:50051"
    timeout: float = 60.0
    load_timeout: float = 600.0
    max_attempts: int = 5
    backoff: tuple[float, float] = (0.2, 5.0)
    client_name: str = ""
    priority: str = ""
    max_message_bytes: int = 256 << 20
    credentials: grpc.ChannelCredentials | None = None

    def __post_init__(self) -> None:
        backoff = list(self.backoff) if isinstance(self.backoff, Sequence) else []
        timeouts = [self.timeout, self.load_timeout]
        for holds, message in [
            (
                isinstance(self.address, str) and re.match(r"(?!https?:)\S+$", self.address),
                f'address must be a host and a port, such as "localhost:50051", and not {self.address!r}',
            ),
            (all(isinstance(each, Real) and each > 0 for each in timeouts), "timeouts must be seconds, above 0"),
            (
                isinstance(self.max_attempts, int) and 1 <= self.max_attempts <= _MOST_ATTEMPTS,
                f"max_attempts must be 1 to {_MOST_ATTEMPTS}",
            ),
            (
                len(backoff) == 2
                and all(isinstance(each, Real) for each in backoff)
                and 1e-3 <= backoff[0] <= backoff[1] <= _LONGEST_S,
                "backoff must be two times in seconds, 0.001 or more, the first not above the second",
            ),
            (
                isinstance(self.max_message_bytes, int) and 0 < self.max_message_bytes <= _MOST_BYTES,
                f"max_message_bytes must be 1 to {_MOST_BYTES}",
            ),
            (
                isinstance(self.client_name, str) and re.fullmatch("[ -~]{0,128}", self.client_name),
                "client_name must be at most 128 printable ASCII characters",
            ),
            (
                self.credentials is None or isinstance(self.credentials, grpc.ChannelCredentials),
                "credentials must be those of grpc, such as grpc.ssl_channel_credentials()",
            ),
        ]:
            if not holds:
                raise InvalidInputError(message)
        enum_value(inference_pb2.Priority, self.priority, "PRIORITY_")

    def options(self) -> list[tuple[str, Any]]:
        """The channel's options."""
        first, longest = self.backoff
        policy = {
            "maxAttempts": self.max_attempts,
            "initialBackoff": f"{first:.3f}s",
            "maxBackoff": f"{longest:.3f}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(_RETRIED),
        }
        method: dict[str, Any] = {"name": [{"service": f"webinfer.v1.{name}"} for name in _SERVICES]}
        if self.max_attempts > 1:
            method["retryPolicy"] = policy
        return [
            ("grpc.service_config", json.dumps({"methodConfig": [method]})),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # Calls whose messages do not fit are not tried again.
            ("grpc.per_rpc_retry_buffer_size", self.max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", int(first * 1e3)),
            ("grpc.min_reconnect_backoff_ms", int(first * 1e3)),
            ("grpc.max_reconnect_backoff_ms", int(longest * 1e3)),
            # A service that is gone without a word is found out.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Two clients of a process have a connection each.
            ("grpc.use_local_subchannel_pool", 1),
        ]

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What each call says of its client."""
        return [("webinfer-client", self.client_name)] if self.client_name else []

    def request(
        self, model: str, inputs: Input | Sequence[Input], parameters: Parameters, priority: str | None
    ) -> inference_pb2.InferRequest:
        """The message of a request."""
        return inference_pb2.InferRequest(
            model=model_id(model),
            items=to_items(inputs),
            priority=enum_value(inference_pb2.Priority, self.priority if priority is None else priority, "PRIORITY_"),
            parameters=_parameters(parameters),
        )


def seconds(timeout: float | None, usual: float | None) -> float | None:
    """The time that a call has: its own, or else the usual one. None where it has all the time."""
    limit = usual if timeout is None else timeout
    if limit is None:
        return None
    if not isinstance(limit, Real) or limit != limit:
        raise InvalidInputError(f"a timeout must be a number of seconds, and not {limit!r}")
    return min(limit, _LONGEST_S)


def _parameters(parameters: Parameters) -> inference_pb2.Parameters | None:
    if parameters is None or isinstance(parameters, inference_pb2.Parameters):
        return parameters
    if not isinstance(parameters, Mapping):
        raise InvalidInputError(f'parameters are a mapping, such as {{"top_k": 3}}, not a {type(parameters).__name__}')
    try:
        return json_format.ParseDict(_worded(parameters), inference_pb2.Parameters())
    except json_format.ParseError as error:
        raise InvalidInputError(f"parameters: {error}") from error


def _worded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """With the names of enums as the messages have them."""
    worded = dict(parameters)
    if isinstance(times := worded.get("transcription"), Mapping) and isinstance(times.get("timestamps"), str):
        number = enum_value(inference_pb2.Timestamps, times["timestamps"], "TIMESTAMPS_")
        worded["transcription"] = {**times, "timestamps": number}
    if isinstance(how := worded.get("aggregation"), str):
        worded["aggregation"] = enum_value(inference_pb2.Aggregation, how, "AGGREGATION_")
    return worded


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a stream: a model, an input or a list of them, and how the task is to be done.

    `on_partial` is told what its items have come to, before the answer is there.
    """

    model: str
    inputs: Input | Sequence[Input]
    parameters: Parameters = None
    priority: str | None = None
    on_partial: Callable[[Partial], object] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request of a stream: a response or an error, and the place of the request, from 0."""

    index: int
    request: Request
    response: Response | None
    error: WebinferError | None

    def result(self) -> Response:
        """The response. Raises the error, where there is one."""
        if self.response is None:
            raise self.error or WebinferError("the answer is empty")
        return self.response


class Exchange:
    """The requests of a stream that wait for their answers. It does no input or output."""

    def __init__(self, settings: Settings, in_flight: int) -> None:
        if not isinstance(in_flight, int) or in_flight < 1:
            raise InvalidInputError("in_flight must be a whole number, 1 or more")
        #: Whether there are no further requests.
        self.no_more = False
        self._settings = settings
        self._numbers = itertools.count()
        self._waiting: dict[str, tuple[int, Request, inference_pb2.InferStreamRequest]] = {}
        self._attempts: dict[str, int] = {}

    def is_done(self) -> bool:
        """Whether all requests are answered."""
        return self.no_more and not self._waiting

    def send(self, request: Request) -> inference_pb2.InferStreamRequest:
        """The message of a further request."""
        if not isinstance(request, Request):
            raise InvalidInputError(f"a stream takes webinfer.Request, not a {type(request).__name__}")
        message = self._settings.request(request.model, request.inputs, request.parameters, request.priority)
        number = next(self._numbers)
        wrapped = inference_pb2.InferStreamRequest(
            request_id=str(number), request=message, partials=request.on_partial is not None
        )
        self._waiting[wrapped.request_id] = (number, request, wrapped)
        return wrapped

    def receive(
        self, message: inference_pb2.InferStreamResponse
    ) -> Answer | tuple[float, inference_pb2.InferStreamRequest] | None:
        """The answer that a message tells; or, of one that was refused, what to send again after so many seconds.

        None for a step, of which the request is told.
        """
        number, request, wrapped = self._waiting[message.request_id]
        if message.WhichOneof("result") == "partial":
            if request.on_partial is not None:
                request.on_partial(Partial.of(message.partial))
            return None
        response = error = None
        if message.WhichOneof("result") == "response":
            response = Response(message.response)
        else:
            error = from_status(message.error)
            attempts = self._attempts.get(message.request_id, 1)
            if error.code in _RETRIED and error.retry_after is not None and attempts < self._settings.max_attempts:
                self._attempts[message.request_id] = attempts + 1
                return error.retry_after, wrapped
        del self._waiting[message.request_id]
        self._attempts.pop(message.request_id, None)
        return Answer(number, request, response, error)


def failed(error: grpc.RpcError, settings: Settings, closed: bool) -> WebinferError:
    """The error of a call; one that ended with its client says so, and one that is gRPC's own says more than gRPC."""
    told = from_call(error)
    if closed:
        told.message = "the client was closed while the call ran"
    elif told.code == "UNAVAILABLE" and not told.reason:
        told.message = f"no service answers at {settings.address}; does `webinfer serve` run there? {told.message}"
    elif told.code == "DEADLINE_EXCEEDED" and not told.reason:
        told.message = f"no answer came from {settings.address} in time; allow more by `timeout`, if it runs"
    return told
