"""The client: calls that wait for their answers."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from ._core import FORKED, Answer, Exchange, Parameters, Request, Settings, failed, seconds
from .errors import CancelledError, ClosedError, UnavailableError, WebinferError
from .inputs import Input
from .models import LoadStep, Model, model_id, spec
from .results import Partial, Response, Result
from .v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc


class Client:
    """A connection to a service. It connects with its first call, and again when the service was away.

    Threads may share it. Close it at the end, or use it in a `with` block.

        with webinfer.Client("localhost:50051") as client:
            client.models.load("all-MiniLM-L6-v2")
            print(client.embed("all-MiniLM-L6-v2", ["A cat sleeps.", "A kitten naps."]))

    Args:
        address: Host and port of the service.
        timeout: Seconds for a call with all its attempts; each call can have its own.
        load_timeout: The same for loads of models.
        max_attempts: How often a call is tried that is refused with RESOURCE_EXHAUSTED or UNAVAILABLE, 1 to 5. When,
            the service says.
        backoff: First and longest delay, in seconds, between attempts where the service names none.
        client_name: Name by which the service shares its time; without one each connection counts by itself.
        priority: "low", "normal" or "high", of requests that name none.
        max_message_bytes: Largest message. The service has its own limit, `--max-message-bytes`.
        credentials: For a proxy with TLS: `grpc.ssl_channel_credentials()`.

    Raises:
        InvalidInputError: A setting is wrong.

    Every call raises a `WebinferError`.
    """

    def __init__(self, address: str = "localhost:50051", **settings: Any) -> None:
        self._settings = Settings(address, **settings)
        self._process = os.getpid()
        self._closed = False
        options = self._settings.options()
        if self._settings.credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, self._settings.credentials, options)
        self._inference = inference_pb2_grpc.InferenceServiceStub(self._channel)
        #: The models of the service.
        self.models = Models(self)

    @property
    def channel(self) -> grpc.Channel:
        """The channel, for the stubs of `webinfer.v1`: pool, capabilities."""
        self._check()
        return self._channel

    def infer(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        parameters: Parameters = None,
        priority: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Runs a model on an input, or on each of a list of them.

        Args:
            model: Id of a loaded model.
            inputs: One input, or a list: see `webinfer.Input`.
            parameters: How the task is to be done, such as `{"top_k": 3}`.
            priority: "low", "normal" or "high".
            timeout: Seconds in which the answer has to come.
        """
        request = self._settings.request(model, inputs, parameters, priority)
        return Response(self._call(self._inference.Infer, request, timeout))

    def submit(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        parameters: Parameters = None,
        priority: str | None = None,
        timeout: float | None = None,
    ) -> Future[Response]:
        """As `infer`, without waiting. Cancelling the future cancels the call."""
        request = self._settings.request(model, inputs, parameters, priority)
        answer: Future[Response] = Future()
        call = self._start(self._inference.Infer.future, request, timeout)

        def done(call: Any) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(Response(call.result()))
            except grpc.RpcError as error:
                answer.set_exception(failed(error, self._settings, self._closed))
            except (grpc.FutureCancelledError, ValueError) as error:
                answer.set_exception(CancelledError(str(error) or "the client was closed while the call ran"))

        call.add_done_callback(done)
        answer.add_done_callback(lambda answer: call.cancel() if answer.cancelled() else None)
        return answer

    def embed(self, model: str, texts: Sequence[str] | str, *, timeout: float | None = None) -> np.ndarray:
        """The vectors of texts, or of other inputs: float32 [texts, dimensions]; of one text [dimensions]."""
        response = self.infer(model, texts, timeout=timeout)
        vectors = [result.embedding for result in response]
        return np.stack(vectors) if isinstance(texts, (list, tuple)) else vectors[0]

    def generate(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        parameters: Parameters = None,
        priority: str | None = None,
        timeout: float | None = None,
    ) -> Generation:
        """Runs a model and tells what its items come to, step by step: see `Generation`. Arguments as for `infer`."""
        request = self._settings.request(model, inputs, parameters, priority)
        message = inference_pb2.GenerateRequest(request=request)
        return Generation(self, self._start(self._inference.Generate, message, timeout))

    def stream(
        self, requests: Iterable[Request], *, in_flight: int = 64, timeout: float | None = None
    ) -> Iterator[Answer]:
        """Runs many requests over one call, and yields each one's answer as it is done, in any order.

        Requests are taken from `requests` as answers are taken from here, so that at most `in_flight` wait for theirs:
        on a thread of their own, because the next one may be long in coming. An error of one is in its answer; one that
        is refused for now is sent again as the service says. There is no deadline for all of them unless `timeout` says
        so; each has the service's.
        """
        exchange = Exchange(self._settings, in_flight)
        requests = iter(requests)
        room = threading.Semaphore(in_flight)
        # None ends it. It never has more in it than are in flight.
        outgoing: queue.SimpleQueue[inference_pb2.InferStreamRequest | None] = queue.SimpleQueue()
        call = self._start(self._inference.InferStream, iter(outgoing.get, None), timeout, streams=True)
        timers: list[threading.Timer] = []
        left = threading.Event()
        failure: BaseException | None = None

        def feed() -> None:
            nonlocal failure
            try:
                room.acquire()
                while not left.is_set() and (request := next(requests, None)) is not None:
                    outgoing.put(exchange.send(request))
                    room.acquire()
                exchange.no_more = True
                if exchange.is_done():
                    outgoing.put(None)
            except BaseException as error:
                # What `requests` raises ends the call, and goes to the caller.
                failure = error
                call.cancel()

        # Not waited for at the end: nothing interrupts a source that makes its next request.
        threading.Thread(target=feed, name="webinfer-stream", daemon=True).start()
        try:
            while (message := self._read(call)) is not None:
                match exchange.receive(message):
                    case Answer() as answer:
                        if exchange.is_done():
                            outgoing.put(None)
                        yield answer
                        room.release()
                    case (delay, again):
                        timer = threading.Timer(delay, outgoing.put, [again])
                        timer.daemon = True
                        timer.start()
                        timers = [each for each in timers if each.is_alive()] + [timer]
            if not exchange.is_done():
                raise UnavailableError("the service ended the stream before all was answered")
        except WebinferError:
            if failure is None:
                raise
        finally:
            left.set()
            room.release()
            for timer in timers:
                timer.cancel()
            outgoing.put(None)
            call.cancel()
        if failure is not None:
            raise failure

    def map(
        self, model: str, inputs: Iterable[Input], *, parameters: Parameters = None, in_flight: int = 64
    ) -> Iterator[Result]:
        """Runs a model on many inputs over one call, and yields their results in order.

        Raises the first error. At most `in_flight` inputs wait for their results, or for those before them.
        """
        requests = (Request(model, value, parameters) for value in inputs)
        done: dict[int, Result] = {}
        following = 0
        for answer in self.stream(requests, in_flight=in_flight):
            done[answer.index] = answer.result()[0]
            while following in done:
                yield done.pop(following)
                following += 1

    def close(self) -> None:
        """Ends the connection. Calls that run fail with `CancelledError`."""
        self._closed = True
        if os.getpid() == self._process:
            self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise ClosedError(FORKED)
        if self._closed:
            raise ClosedError("this client is closed; make another one")

    def _start(self, method: Any, request: Any, timeout: float | None, *, streams: bool = False) -> Any:
        """Begins a call that streams."""
        self._check()
        limit = seconds(timeout, None if streams else self._settings.timeout)
        try:
            return method(request, timeout=limit, metadata=self._settings.metadata)
        except ValueError as error:
            # A thread has closed it since.
            raise ClosedError("this client is closed; make another one") from error

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        """Makes a call with one answer."""
        try:
            return self._start(method, request, timeout)
        except grpc.RpcError as error:
            raise failed(error, self._settings, self._closed) from None

    def _read(self, call: Any) -> Any:
        """The next message of a call that streams, or None at its end."""
        try:
            return next(call, None)
        except grpc.RpcError as error:
            raise failed(error, self._settings, self._closed) from None

    def _next(self, call: Any) -> Any:
        """The same, of a call that must not have ended."""
        if (message := self._read(call)) is None:
            raise UnavailableError("the service ended the call without an answer")
        return message


class Generation(Iterator[Partial]):
    """What items come to, step by step. Iterate over it for the steps; `response()` is the whole answer.

    Leaving its `with` block, or `cancel`, stops the run at its next token.

        with client.generate("smollm", Chat("Why is the sky blue?")) as generation:
            for partial in generation:
                print(partial.text, end="", flush=True)
        print(generation.response()[0].output.usage)
    """

    def __init__(self, client: Client, call: Any) -> None:
        self._client = client
        self._call = call
        self._response: Response | None = None

    def __next__(self) -> Partial:
        if self._response is not None:
            raise StopIteration
        message = self._client._next(self._call)
        if message.WhichOneof("result") == "partial":
            return Partial.of(message.partial)
        self._response = Response(message.response)
        raise StopIteration

    def response(self) -> Response:
        """The whole answer. Waits for it, and drops the steps that are still to come."""
        for _ in self:
            pass
        if self._response is None:
            raise WebinferError("the answer did not come")
        return self._response

    def cancel(self) -> None:
        """Stops the run."""
        self._call.cancel()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Models:
    """The models of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = model_pb2_grpc.ModelServiceStub(client._channel)

    def list(self) -> list[Model]:
        """All that are registered, in the order of their ids."""
        response = self._client._call(self._stub.List, model_pb2.ModelServiceListRequest(), None)
        return [Model.of(each) for each in response.models]

    def get(self, model: str) -> Model:
        """One of them, with its state. NotFoundError where there is none."""
        response = self._client._call(self._stub.Get, model_pb2.ModelServiceGetRequest(id=model_id(model)), None)
        return Model.of(response.model)

    def register(self, model: str, source: str = "", **settings: Any) -> Model:
        """Makes a model known under an id. Arguments as for `webinfer.models.spec`."""
        request = model_pb2.RegisterRequest(spec=spec(model, source, **settings))
        return Model.of(self._client._call(self._stub.Register, request, None).model)

    def load(
        self, model: str, progress: Callable[[LoadStep], object] | None = None, *, timeout: float | None = None
    ) -> LoadStep:
        """Loads a model until it serves. Tells `progress` of each step, and returns the last one."""
        limit = seconds(timeout, self._client._settings.load_timeout)
        call = self._client._start(self._stub.Load, model_pb2.LoadRequest(id=model_id(model)), limit)
        try:
            while True:
                step = LoadStep.of(self._client._next(call))
                if progress is not None:
                    progress(step)
                if step.phase in ("ready", "simulated"):
                    return step
        finally:
            call.cancel()

    def unload(self, model: str) -> int:
        """Ends a model's workers, and returns how many there were."""
        return self._client._call(self._stub.Unload, model_pb2.UnloadRequest(id=model_id(model)), None).ended_replicas

    def unregister(self, model: str) -> None:
        """Unloads a model and forgets it."""
        self._client._call(self._stub.Unregister, model_pb2.UnregisterRequest(id=model_id(model)), None)
