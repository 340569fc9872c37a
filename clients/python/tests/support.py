"""Helpers of the tests: models on disk, calls that must fail."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from webinfer.v1 import execution_pb2, inference_pb2, model_pb2, model_pb2_grpc, pool_pb2, pool_pb2_grpc

REPOSITORY = Path(__file__).resolve().parents[3]
CALL_S = 60
LOAD_S = 300
SOON_S = 10
MODEL = "all-MiniLM-L6-v2"
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")

# One rounding of an activation that goes the other way moves a component by some 0.002; fp32 in place of q8, or another
# sentence, moves one by 0.015 and more.
Q8_LIMIT = 5e-3


@dataclass(frozen=True)
class Folder:
    """A model's folder in this repository."""

    path: Path
    graph: str

    def files(self) -> list[str]:
        """The files that a worker loads, in the order of their paths."""
        return sorted(name for name in (*TEXT_FILES, self.graph) if (self.path / name).is_file())

    def bytes(self) -> int:
        """Their size."""
        return sum((self.path / name).stat().st_size for name in self.files())

    def sha256(self) -> str:
        """Their hash, as Model.sha256 tells."""
        digests = ((hashlib.sha256((self.path / name).read_bytes()).hexdigest(), name) for name in self.files())
        return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()

    def reference(self) -> dict[str, Any]:
        """Sentences and their vectors from native ONNX Runtime."""
        return json.loads((self.path / "reference.json").read_text(encoding="utf-8"))


MINILM = Folder(REPOSITORY / "models/all-MiniLM-L6-v2", "onnx/model_quantized.onnx")
TINY_BERT = Folder(REPOSITORY / "tests/models/tiny-bert", "onnx/model_quantized.onnx")


def load(models: model_pb2_grpc.ModelServiceStub, model: str) -> list[model_pb2.LoadResponse]:
    """Loads a model and returns all steps."""
    return list(models.Load(model_pb2.LoadRequest(id=model), timeout=LOAD_S))


def get(models: model_pb2_grpc.ModelServiceStub, model: str) -> model_pb2.Model:
    """A model as the service knows it."""
    return models.Get(model_pb2.ModelServiceGetRequest(id=model), timeout=CALL_S).model


def workers(pool: pool_pb2_grpc.PoolServiceStub, model: str) -> list[pool_pb2.Worker]:
    """The workers that have a model."""
    return workers_in(pool.Get(pool_pb2.PoolServiceGetRequest(), timeout=CALL_S).pool, model)


def workers_in(status: pool_pb2.PoolStatus, model: str) -> list[pool_pb2.Worker]:
    """The workers of a pool that have a model."""
    return [worker for browser in status.browsers for worker in browser.workers if worker.model == model]


def watch_until(
    pool: pool_pb2_grpc.PoolServiceStub,
    model: str,
    holds: Callable[[list[pool_pb2.Worker]], bool],
    timeout: float = SOON_S,
) -> None:
    """Waits until something holds for the workers that have a model, which the service tells as they change."""
    watched = pool.Watch(pool_pb2.WatchRequest(), timeout=timeout)
    try:
        assert any(holds(workers_in(told.pool, model)) for told in watched), "the service ended its telling"
    finally:
        watched.cancel()


@contextlib.contextmanager
def registered(models: model_pb2_grpc.ModelServiceStub, spec: model_pb2.ModelSpec) -> Iterator[model_pb2.Model]:
    """A model that is known while the block runs."""
    model = models.Register(model_pb2.RegisterRequest(spec=spec), timeout=CALL_S).model
    try:
        yield model
    finally:
        with contextlib.suppress(grpc.RpcError):  # a test may have done it
            models.Unregister(model_pb2.UnregisterRequest(id=spec.id), timeout=CALL_S)


def text_request(model: str, *texts: str) -> inference_pb2.InferRequest:
    """A request of one item for each text."""
    return inference_pb2.InferRequest(model=model, items=[inference_pb2.Item(text=text) for text in texts])


def largest_difference(a: Sequence[float], b: Sequence[float]) -> float:
    """Of two components in the same place."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def best_match(vector: Sequence[float], candidates: Sequence[Sequence[float]]) -> int:
    """Index of the candidate with the largest cosine."""
    return max(range(len(candidates)), key=lambda index: cosine(vector, candidates[index]))


@dataclass(frozen=True)
class Failure:
    """How a call failed."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo | None
    fields: list[str]

    def check(self, code: grpc.StatusCode) -> None:
        """What holds for every error of that code."""
        assert self.code is code, self.message
        assert self.message
        assert self.info is not None, "the error has no ErrorInfo"
        assert self.info.domain == "webinfer"
        assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", self.info.reason), self.info.reason


def read_details(code: grpc.StatusCode, status: status_pb2.Status) -> Failure:
    """Unpacks the details of an error."""
    info, fields = None, []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            fields += [violation.field for violation in bad.field_violations]
    return Failure(code, status.message, info, fields)


def failure(call: Callable[[], object]) -> Failure:
    """Makes a call that has to fail, and tells how it did."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
    assert status.code == error.code().value[0], "the details carry another code than the call"
    return read_details(error.code(), status)


def check_wasm_execution(execution: execution_pb2.Execution, dtype: str, sha256: str) -> None:
    """What holds for every record of a run on WASM."""
    assert execution.browser
    assert re.match(r"\d+\.", execution.browser_version), execution.browser_version
    assert execution.backend_requested == execution_pb2.BACKEND_WASM
    assert execution.backend_used == execution_pb2.BACKEND_WASM
    assert execution.fallback_reason == ""
    assert execution.adapter == ""
    assert execution.hardware == execution_pb2.HARDWARE_CPU
    assert execution.dtype == dtype
    assert execution.threads >= 1
    assert re.match(r"\d+\.\d+", execution.transformers_version), execution.transformers_version
    assert re.match(r"\d+\.\d+", execution.onnxruntime_version), execution.onnxruntime_version
    assert execution.model_sha256 == sha256
    assert execution.worker_id
    assert execution.batch_size >= 1
    assert execution.timings.inference_us > 0
