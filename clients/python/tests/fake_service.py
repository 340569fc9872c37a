"""A service in this process that does as a test says."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from webinfer.v1 import execution_pb2, inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc

SOON_S = 30
Infer = Callable[[inference_pb2.InferRequest, grpc.ServicerContext], inference_pb2.InferResponse]


def answer(*values: float) -> inference_pb2.InferResponse:
    """A vector, as one item's answer."""
    result = inference_pb2.ItemResult(embedding=inference_pb2.Embedding(values=values))
    return inference_pb2.InferResponse(results=[result], executions=[execution_pb2.Execution(browser="Fake")])


def refusal(
    code: grpc.StatusCode = grpc.StatusCode.RESOURCE_EXHAUSTED, reason: str = "OVERLOADED", after: float = 0.01
) -> status_pb2.Status:
    """The status of a call that is refused for now."""
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=reason, domain="webinfer"))
    details[1].Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=int(after * 1e9))))
    return status_pb2.Status(code=code.value[0], message="too much is pending", details=details)


def abort(context: grpc.ServicerContext, status: status_pb2.Status, pushback_ms: int | None = None) -> None:
    """Ends a call with a status."""
    pushback = [] if pushback_ms is None else [("grpc-retry-pushback-ms", str(pushback_ms))]
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString()), *pushback])
    context.abort(next(code for code in grpc.StatusCode if code.value[0] == status.code), status.message)


class Fake(inference_pb2_grpc.InferenceServiceServicer, model_pb2_grpc.ModelServiceServicer):
    """What it does with a request is in `infer`, and with those of a stream in `on_stream`.

    `models` are those that were registered, and `loads` the ids of those that were loaded; it answers for others too.
    """

    def __init__(self) -> None:
        self.infer: Infer = lambda request, context: answer(len(request.items))
        self.on_stream: Callable[[inference_pb2.InferStreamRequest], Any] = lambda request: answer(1)
        self.calls: queue.Queue[inference_pb2.InferRequest] = queue.Queue()
        self.models: dict[str, model_pb2.ModelSpec] = {}
        self.loads: list[str] = []
        self.metadata: dict[str, str] = {}
        self.cancelled = threading.Event()
        self.released = threading.Event()

    def hold(self, context: grpc.ServicerContext) -> inference_pb2.InferResponse:
        """Answers when it is released; notes when the caller leaves before."""
        self._note_leaving(context)
        while not self.released.wait(0.01) and context.is_active():
            pass
        return answer(1)

    def _note_leaving(self, context: grpc.ServicerContext) -> None:
        def left() -> None:
            if not self.released.is_set():
                self.cancelled.set()

        # The callback of a call that has ended is not called.
        if not context.add_callback(left):
            left()

    def Infer(self, request: inference_pb2.InferRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.metadata = dict(context.invocation_metadata())
        self.calls.put(request)
        return self.infer(request, context)

    def Generate(self, request: inference_pb2.GenerateRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802
        # Who leaves early has no further part made.
        self._note_leaving(context)
        self.calls.put(request.request)
        yield inference_pb2.GenerateResponse(partial=inference_pb2.Partial(text="so "))
        yield inference_pb2.GenerateResponse(partial=inference_pb2.Partial(text="far"))
        yield inference_pb2.GenerateResponse(response=self.infer(request.request, context))

    def InferStream(  # noqa: N802
        self, requests: Iterator[inference_pb2.InferStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[inference_pb2.InferStreamResponse]:
        context.add_callback(self.cancelled.set)
        for request in requests:
            self.calls.put(request.request)
            outcome = self.on_stream(request)
            if outcome is None:
                return
            key = "error" if isinstance(outcome, status_pb2.Status) else "response"
            yield inference_pb2.InferStreamResponse(request_id=request.request_id, **{key: outcome})

    def Register(self, request: model_pb2.RegisterRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if self.models.setdefault(request.spec.id, request.spec) != request.spec:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "it is another model's id")
        return model_pb2.RegisterResponse(model=model_pb2.Model(spec=request.spec))

    def List(self, *_: Any) -> Any:  # noqa: N802
        return model_pb2.ModelServiceListResponse(models=[model_pb2.Model(spec=each) for each in self.models.values()])

    def Load(self, request: model_pb2.LoadRequest, *_: Any) -> Any:  # noqa: N802
        self.loads.append(request.id)
        yield model_pb2.LoadResponse(phase=model_pb2.LOAD_PHASE_READY)


@contextlib.contextmanager
def serving(fake: Fake, address: str = "127.0.0.1:0", options: Any = ()) -> Iterator[str]:
    """Serves it while the block runs; yields its address."""
    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0), *options])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(fake, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(fake, server)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        fake.released.set()
        server.stop(None).wait(SOON_S)
