"""Models: what a service knows of them, and their registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._enums import enum_name, enum_value
from .errors import InvalidInputError
from .v1 import execution_pb2, model_pb2


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the service knows it.

    `state` is "registered", "loading", "ready", "failed", "asleep" or "simulated"; `error` says why it is "failed" or
    "simulated". `size` is in bytes, of all files that a worker loads, and `sha256` is theirs together. `dtypes` has the
    precision of each graph, and `dtype` is the one that all have, or "".
    """

    id: str
    source: str
    task: str
    backends: tuple[str, ...]
    dtype: str
    dtypes: Mapping[str, str]
    state: str
    error: str
    ready_replicas: int
    available_dtypes: tuple[str, ...]
    size: int
    sha256: str

    @classmethod
    def of(cls, message: model_pb2.Model) -> Model:
        """From its message."""
        return cls(
            id=message.spec.id,
            source=message.spec.source,
            task=message.spec.task,
            backends=tuple(enum_name(execution_pb2.Backend, each, "BACKEND_") for each in message.spec.backends),
            dtype=message.spec.dtype,
            dtypes=dict(message.spec.dtypes),
            state=enum_name(model_pb2.ModelState, message.state, "MODEL_STATE_"),
            error=message.error,
            ready_replicas=message.ready_replicas,
            available_dtypes=tuple(message.available_dtypes),
            size=message.bytes,
            sha256=message.sha256,
        )


@dataclass(frozen=True, slots=True)
class LoadStep:
    """A step of a load. `phase` is "prepare", "files", "compile", "warm-up", and at the end "ready" or "simulated"."""

    phase: str
    file: str
    loaded_bytes: int
    total_bytes: int
    ready_replicas: int
    replicas: int
    elapsed_s: float

    @classmethod
    def of(cls, message: model_pb2.LoadResponse) -> LoadStep:
        """From its message."""
        return cls(
            phase=enum_name(model_pb2.LoadPhase, message.phase, "LOAD_PHASE_"),
            file=message.file,
            loaded_bytes=message.loaded_bytes,
            total_bytes=message.total_bytes,
            ready_replicas=message.ready_replicas,
            replicas=message.replicas,
            elapsed_s=message.elapsed_ms / 1e3,
        )


def model_id(model: str) -> str:
    """The id that names a model."""
    if not isinstance(model, str):
        raise InvalidInputError(f"a model is named by its id, a str, and not by a {type(model).__name__}")
    return model


def spec(
    model: str,
    source: str = "",
    *,
    task: str = "",
    backends: Sequence[str] = (),
    dtype: str = "",
    bits: int = 0,
    dtypes: Mapping[str, str] | None = None,
    max_error: float = 0,
    replicas: int = 0,
    threads: int = 0,
    pooling: str = "",
    normalize: bool = True,
    fallback: str = "",
    max_batch: int = 0,
    graph_capture: str = "",
    optimize: bool | None = None,
    browser: str = "",
) -> model_pb2.ModelSpec:
    """A registration. What is left out is as the service has it.

    Args:
        model: Id by which requests name it.
        source: Folder below the service's models folder; by default the id.
        task: As transformers.js names it, or "tensor".
        backends: "wasm", "webgpu", "webnn-cpu", "webnn-gpu" or "webnn-npu", the best first.
        dtype: Precision, such as "fp32", "fp16", "q8" or "q4".
        bits: The same by the bits of the weights: 2, 4, 8, 16 or 32.
        dtypes: Graphs with a precision of their own, such as {"encoder_model": "fp32"}.
        max_error: In place of a precision, how far answers may be from the reference, from 0 to 1: the smallest
            precision is chosen of which no more was measured.
        replicas: Workers that have it, 1 to 64.
        threads: WASM threads of one replica, 1 to 64.
        pooling: "mean" or "cls".
        normalize: Whether vectors have unit length.
        fallback: Where the first backend is not to be had: "exact" fails, "backend" takes the next of the list,
            "simulation" answers with labelled placeholders at its end.
        max_batch: Most items that run in one call.
        graph_capture: Whether some shapes are made faster on a GPU and on WebNN: "auto", "on" or "off".
        optimize: Whether its graphs are optimised before they run; by default as the service is set.
        browser: The kind of browser that it runs in, such as "firefox"; by default any.
    """
    if isinstance(backends, str):
        raise InvalidInputError(f"backends are a list, such as [{backends!r}]")
    if not isinstance(dtypes, Mapping | None):
        raise InvalidInputError(f'dtypes are by graph, such as {{"model": "q8"}}, and not {dtypes!r}')
    try:
        return model_pb2.ModelSpec(
            id=model_id(model),
            source=source,
            task=task,
            backends=[backend(name) for name in backends],
            dtype=dtype,
            bits=bits,
            dtypes=dtypes or {},
            max_error=max_error,
            replicas=replicas,
            threads=threads,
            pooling=enum_value(model_pb2.Pooling, pooling, "POOLING_"),
            unnormalized=not normalize,
            fallback=enum_value(model_pb2.Fallback, fallback, "FALLBACK_"),
            max_batch=max_batch,
            graph_capture=enum_value(model_pb2.GraphCapture, graph_capture, "GRAPH_CAPTURE_"),
            optimize=optimize,
            browser=browser,
        )
    except InvalidInputError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"this registration cannot be sent: {error}") from error


#: Other names of backends, as on the command line.
ALIASES = {"cpu": "wasm", "webnn": "webnn-cpu"}


def backend(name: str) -> int:
    """The number of a backend."""
    return enum_value(execution_pb2.Backend, ALIASES.get(name, name), "BACKEND_")
