"""The client for asyncio: as `webinfer.Client`, with calls to be awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc
import numpy as np

from ._core import FORKED, Answer, Exchange, Parameters, Request, Settings, failed, seconds
from .errors import CancelledError, ClosedError, UnavailableError
from .inputs import Input
from .models import LoadStep, Model, model_id, spec
from .results import Partial, Response, Result
from .v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc

T = TypeVar("T")


class AsyncClient:
    """A connection to a service, for one event loop. Settings and calls are those of `webinfer.Client`.

        async with webinfer.AsyncClient("localhost:50051") as client:
            await client.models.load("all-MiniLM-L6-v2")
            print(await client.embed("all-MiniLM-L6-v2", ["A cat sleeps.", "A kitten naps."]))

    It belongs to the loop of its first call. Cancelling a task cancels its call.
    """

    def __init__(self, address: str = "localhost:50051", **settings: Any) -> None:
        self._settings = Settings(address, **settings)
        self._process = os.getpid()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: grpc.aio.Channel | None = None
        #: The models of the service.
        self.models = AsyncModels(self)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, for the stubs of `webinfer.v1`: pool, capabilities."""
        if os.getpid() != self._process:
            raise ClosedError(FORKED)
        if self._closed:
            raise ClosedError("this client is closed; make another one")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ClosedError("an AsyncClient is used inside of an event loop; see Client for elsewhere") from None
        if self._made is None:
            # gRPC binds a channel to the loop that runs.
            self._loop = loop
            options = self._settings.options()
            if self._settings.credentials is None:
                self._made = grpc.aio.insecure_channel(self._settings.address, options)
            else:
                self._made = grpc.aio.secure_channel(self._settings.address, self._settings.credentials, options)
        if loop is not self._loop:
            raise ClosedError("this client belongs to another event loop; make one for each")
        return self._made

    @property
    def _inference(self) -> inference_pb2_grpc.InferenceServiceStub:
        return inference_pb2_grpc.InferenceServiceStub(self.channel)

    async def infer(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        parameters: Parameters = None,
        priority: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Runs a model on an input, or on each of a list of them. Arguments as for `webinfer.Client.infer`."""
        request = self._settings.request(model, inputs, parameters, priority)
        return Response(await self._call(self._inference.Infer, request, timeout))

    async def embed(
        self,
        model: str,
        texts: Sequence[str] | str,
        *,
        timeout: float | None = None,
    ) -> np.ndarray:
        """The vectors of texts, or of other inputs: float32 [texts, dimensions]; of one text [dimensions]."""
        response = await self.infer(model, texts, timeout=timeout)
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
    ) -> AsyncGeneration:
        """Runs a model and tells what its items come to, step by step: see `AsyncGeneration`."""
        request = self._settings.request(model, inputs, parameters, priority)
        limit = seconds(timeout, self._settings.timeout)
        message = inference_pb2.GenerateRequest(request=request)
        return AsyncGeneration(self, self._inference.Generate(message, timeout=limit, metadata=self._settings.metadata))

    async def stream(
        self,
        requests: AsyncIterable[Request] | Iterable[Request],
        *,
        in_flight: int = 64,
        timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Runs many requests over one call, and yields each one's answer as it is done, in any order.

        Requests are taken as they come, until `in_flight` wait for their answers. The rest is as for
        `webinfer.Client.stream`.
        """
        exchange = Exchange(self._settings, in_flight)
        room = asyncio.Semaphore(in_flight)
        # None ends it. It never has more in it than are in flight.
        outgoing: asyncio.Queue[inference_pb2.InferStreamRequest | None] = asyncio.Queue()

        async def feed() -> None:
            following = _each(requests)
            await room.acquire()
            while (request := await anext(following, None)) is not None:
                outgoing.put_nowait(exchange.send(request))
                await room.acquire()
            exchange.no_more = True
            if exchange.is_done():
                outgoing.put_nowait(None)

        limit = seconds(timeout, None)
        call = self._inference.InferStream(_until_none(outgoing), timeout=limit, metadata=self._settings.metadata)
        feeder = asyncio.create_task(feed())
        # What `requests` raises ends the call, and goes to the caller.
        feeder.add_done_callback(lambda task: None if task.cancelled() or not task.exception() else call.cancel())
        try:
            while (message := await self._read(call, feeder)) is not None:
                match exchange.receive(message):
                    case Answer() as answer:
                        room.release()
                        if exchange.is_done():
                            outgoing.put_nowait(None)
                        yield answer
                    case (delay, again):
                        asyncio.get_running_loop().call_later(delay, outgoing.put_nowait, again)
            if not exchange.is_done():
                raise UnavailableError("the service ended the stream before all was answered")
        finally:
            feeder.cancel()
            call.cancel()

    async def map(
        self,
        model: str,
        inputs: AsyncIterable[Input] | Iterable[Input],
        *,
        parameters: Parameters = None,
        in_flight: int = 64,
    ) -> AsyncIterator[Result]:
        """Runs a model on many inputs over one call, and yields their results in order. Raises the first error."""

        async def requests() -> AsyncIterator[Request]:
            async for value in _each(inputs):
                yield Request(model, value, parameters)

        done: dict[int, Result] = {}
        following = 0
        async for answer in self.stream(requests(), in_flight=in_flight):
            done[answer.index] = answer.result()[0]
            while following in done:
                yield done.pop(following)
                following += 1

    async def close(self) -> None:
        """Ends the connection. Calls that run fail with `CancelledError`."""
        self._closed = True
        if self._made is not None and os.getpid() == self._process:
            await self._made.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Callable[..., Awaitable[Any]], request: Any, limit: float | None) -> Any:
        """Makes a call with one answer."""
        limit = seconds(limit, self._settings.timeout)
        return await self._outcome(method(request, timeout=limit, metadata=self._settings.metadata))

    async def _read(self, call: Any, feeder: asyncio.Task[None] | None = None) -> Any:
        """The next message of a call that streams, or None at its end."""
        message = await self._outcome(call.read(), feeder)
        return None if message is grpc.aio.EOF else message

    async def _outcome(self, awaited: Awaitable[Any], feeder: asyncio.Task[None] | None = None) -> Any:
        try:
            return await awaited
        except grpc.RpcError as error:
            raise failed(error, self._settings, self._closed) from None
        except asyncio.CancelledError:
            # To be cancelled is the same for a task whose call ends, and for one that its own owner cancels.
            if feeder is not None and feeder.done() and (error := feeder.exception()):
                raise error from None
            if self._closed:
                raise CancelledError("the client was closed while the call ran") from None
            raise


async def _each(values: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


async def _until_none(values: asyncio.Queue[T | None]) -> AsyncIterator[T]:
    while (value := await values.get()) is not None:
        yield value


class AsyncGeneration(AsyncIterator[Partial]):
    """What items come to, step by step. Iterate over it for the steps; `response()` is the whole answer.

    Leaving its `async with` block, or `cancel`, stops the run at its next token.
    """

    def __init__(self, client: AsyncClient, call: Any) -> None:
        self._client = client
        self._call = call
        self._response: Response | None = None

    async def __anext__(self) -> Partial:
        if self._response is not None:
            raise StopAsyncIteration
        message = await self._client._read(self._call)
        if message is None:
            raise UnavailableError("the service ended the call without an answer")
        if message.WhichOneof("result") == "partial":
            return Partial.of(message.partial)
        self._response = Response(message.response)
        raise StopAsyncIteration

    async def response(self) -> Response:
        """The whole answer. Waits for it, and drops the steps that are still to come."""
        async for _ in self:
            pass
        if self._response is None:
            raise UnavailableError("the service ended the call without an answer")
        return self._response

    def cancel(self) -> None:
        """Stops the run."""
        self._call.cancel()

    async def __aenter__(self) -> AsyncGeneration:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class AsyncModels:
    """The models of a service. As `webinfer.client.Models`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @property
    def _stub(self) -> model_pb2_grpc.ModelServiceStub:
        return model_pb2_grpc.ModelServiceStub(self._client.channel)

    async def list(self) -> list[Model]:
        """All that are registered, in the order of their ids."""
        response = await self._client._call(self._stub.List, model_pb2.ModelServiceListRequest(), None)
        return [Model.of(each) for each in response.models]

    async def get(self, model: str) -> Model:
        """One of them, with its state. NotFoundError where there is none."""
        response = await self._client._call(self._stub.Get, model_pb2.ModelServiceGetRequest(id=model_id(model)), None)
        return Model.of(response.model)

    async def register(self, model: str, source: str = "", **settings: Any) -> Model:
        """Makes a model known under an id. Arguments as for `webinfer.models.spec`."""
        request = model_pb2.RegisterRequest(spec=spec(model, source, **settings))
        return Model.of((await self._client._call(self._stub.Register, request, None)).model)

    async def load(
        self,
        model: str,
        progress: Callable[[LoadStep], object] | None = None,
        *,
        timeout: float | None = None,
    ) -> LoadStep:
        """Loads a model until it serves. Tells `progress` of each step, and returns the last one."""
        limit = seconds(timeout, self._client._settings.load_timeout)
        call = self._stub.Load(
            model_pb2.LoadRequest(id=model_id(model)), timeout=limit, metadata=self._client._settings.metadata
        )
        try:
            while (message := await self._client._read(call)) is not None:
                step = LoadStep.of(message)
                if progress is not None:
                    progress(step)
                if step.phase in ("ready", "simulated"):
                    return step
            raise UnavailableError("the service ended the load without an answer")
        finally:
            call.cancel()

    async def unload(self, model: str) -> int:
        """Ends a model's workers, and returns how many there were."""
        return (
            await self._client._call(self._stub.Unload, model_pb2.UnloadRequest(id=model_id(model)), None)
        ).ended_replicas

    async def unregister(self, model: str) -> None:
        """Unloads a model and forgets it."""
        await self._client._call(self._stub.Unregister, model_pb2.UnregisterRequest(id=model_id(model)), None)
