"""Results: what comes of a request, as dataclasses and arrays, with the record of what ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, overload

import numpy as np

from ._enums import enum_name
from .tensors import to_array
from .v1 import execution_pb2, inference_pb2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Microseconds by hop: waiting, on the way to the worker, and inside of it."""

    queue_us: int
    bridge_us: int
    preprocess_us: int
    inference_us: int
    postprocess_us: int

    @property
    def total_us(self) -> int:
        """All of them together."""
        return sum(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class Execution:
    """The record of what really ran.

    `backend_requested` and `backend_used` are "wasm", "webgpu", "webnn-cpu", "webnn-gpu", "webnn-npu" or "simulation";
    where they differ, `fallback_reason` says why. `hardware` is "cpu", "software-adapter", "gpu", or "unspecified"
    where nothing is known. `origin` is "run", or "coalesced", "cache" or "simulated" where no run was made for this
    item alone.
    """

    browser: str
    browser_version: str
    backend_requested: str
    backend_used: str
    fallback_reason: str
    adapter: str
    hardware: str
    dtype: str
    threads: int
    transformers_version: str
    onnxruntime_version: str
    model_sha256: str
    worker_id: str
    batch_size: int
    retries: int
    origin: str
    simulated: bool
    node_placements: dict[str, int]
    timings: Timings

    @classmethod
    def of(cls, message: execution_pb2.Execution) -> Execution:
        """From its message."""
        timings = Timings(*(getattr(message.timings, each.name) for each in fields(Timings)))
        told = {
            "backend_requested": enum_name(execution_pb2.Backend, message.backend_requested, "BACKEND_"),
            "backend_used": enum_name(execution_pb2.Backend, message.backend_used, "BACKEND_"),
            "hardware": enum_name(execution_pb2.Hardware, message.hardware, "HARDWARE_"),
            "origin": enum_name(execution_pb2.Origin, message.origin, "ORIGIN_"),
            "node_placements": {each.provider: each.nodes for each in message.node_placements},
            "timings": timings,
        }
        plain = {each.name: getattr(message, each.name) for each in fields(cls) if each.name not in told}
        return cls(**plain, **told)


@dataclass(frozen=True, slots=True)
class Class:
    """What an item may be, and how likely, from 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text, from character `begin` to before `end`; both None where the place cannot be told."""

    label: str
    score: float
    text: str
    begin: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question; no score where the model writes it."""

    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Fill:
    """What may stand in place of the mask, and the text with it."""

    token: str
    token_id: int
    score: float
    sequence: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a text that was made, and microseconds from the start of the run to the first of them."""

    prompt_tokens: int
    generated_tokens: int
    first_token_us: int


@dataclass(frozen=True, slots=True)
class Generated:
    """A text that was made. It ends by "stop" (the model), "stop-text" or "length"."""

    text: str
    finish_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document of a query, by its index, and how well it answers, from 0 to 1."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a picture; `mask` is uint8 [height, width] of the picture's size, 255 where it is."""

    label: str
    score: float | None
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class Detection:
    """A box, in pixels from the left and from the top."""

    label: str
    score: float
    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of speech, in seconds; no end where the sound ends first."""

    text: str
    begin_s: float
    end_s: float | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """Speech as text, with segments or words where times were asked for."""

    text: str
    chunks: list[Chunk]
    language: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound: float32 samples from -1 to 1, and how many a second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True, slots=True)
class Partial:
    """What an item has come to since the last one about it. Where it `restarted`, what came before is void."""

    item: int
    restarted: bool
    text: str
    chunks: list[Chunk]

    @classmethod
    def of(cls, message: inference_pb2.Partial) -> Partial:
        """From its message."""
        return cls(message.item, message.restarted, message.text, _all(Chunk, message.chunks))


def _plain(kind: type[T], message: Any) -> T:
    """A dataclass whose fields are scalars of a message, with None for those that are not set."""
    values = {}
    for each in fields(kind):  # type: ignore[arg-type]
        optional = "None" in str(each.type)
        values[each.name] = None if optional and not message.HasField(each.name) else getattr(message, each.name)
    return kind(**values)


def _all(kind: type[T], messages: Any) -> list[T]:
    return [_plain(kind, message) for message in messages]


def _pixels(message: inference_pb2.Pixels) -> np.ndarray:
    pixels = np.frombuffer(message.data, np.uint8)
    return pixels.reshape(message.height, message.width, message.channels)


def _generated(message: inference_pb2.Generated) -> Generated:
    reason = enum_name(inference_pb2.FinishReason, message.finish_reason, "FINISH_REASON_")
    return Generated(message.text, reason, _plain(Usage, message.usage))


def _transcript(message: inference_pb2.Transcript) -> Transcript:
    usage = _plain(Usage, message.usage) if message.HasField("usage") else None
    return Transcript(message.text, _all(Chunk, message.chunks), message.language, usage)


def _segment(message: inference_pb2.Segment) -> Segment:
    score = message.score if message.HasField("score") else None
    return Segment(message.label, score, _pixels(message.mask)[:, :, 0])


_READERS = {
    "embedding": lambda it: np.array(it.values, np.float32),
    "tensors": lambda it: {name: to_array(tensor) for name, tensor in it.tensors.items()},
    "classes": lambda it: _all(Class, it.classes),
    "spans": lambda it: _all(Span, it.spans),
    "answers": lambda it: _all(Answer, it.answers),
    "fills": lambda it: _all(Fill, it.fills),
    "generated": _generated,
    "ranking": lambda it: _all(RankedDocument, it.documents),
    "segments": lambda it: [_segment(each) for each in it.segments],
    "detections": lambda it: _all(Detection, it.detections),
    "depth": to_array,
    "image": _pixels,
    "transcript": _transcript,
    "audio": lambda it: Sound(np.frombuffer(it.data, "<f4"), it.rate),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one item.

    `output` is, by `kind`:

    ==============  ====================================================================
    "embedding"     float32 [dimensions]
    "tensors"       arrays by the names of the graph's outputs, read-only views
    "classes"       a list of `Class`, the likeliest first
    "spans"         a list of `Span`, in the order of the text
    "answers"       a list of `Answer`, the likeliest first
    "fills"         a list of `Fill`, the likeliest first
    "generated"     a `Generated`
    "ranking"       a list of `RankedDocument`, the best first
    "segments"      a list of `Segment`
    "detections"    a list of `Detection`, the likeliest first
    "depth"         float32 [height, width]
    "image"         uint8 [height, width, channels]
    "transcript"    a `Transcript`
    "audio"         a `Sound`
    ==============  ====================================================================
    """

    kind: str
    output: Any
    execution: Execution

    @property
    def embedding(self) -> np.ndarray:
        """The vector. TypeError for another kind of output."""
        return self._as("embedding")

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The graph's outputs. TypeError for another kind of output."""
        return self._as("tensors")

    @property
    def text(self) -> str:
        """The text that was made, or that was heard. TypeError for another kind of output."""
        return self._as("generated", "transcript").text

    def _as(self, *kinds: str) -> Any:
        if self.kind not in kinds:
            raise TypeError(f"the output is of the kind {self.kind!r}, not {' or '.join(kinds)}: see Result.output")
        return self.output


class Response(Sequence[Result]):
    """The answer to a request: one `Result` for each item, in the order of the items."""

    __slots__ = ("executions", "message", "results")

    def __init__(self, message: inference_pb2.InferResponse) -> None:
        #: The message itself.
        self.message = message
        #: What ran, one for each batch that took part.
        self.executions = [Execution.of(each) for each in message.executions]
        #: One for each item.
        self.results = [self._result(each) for each in message.results]

    def _result(self, message: inference_pb2.ItemResult) -> Result:
        kind = message.WhichOneof("output") or ""
        read = _READERS.get(kind, lambda it: it)
        return Result(kind, read(getattr(message, kind)) if kind else None, self.executions[message.execution])

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...
    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        return self.results[index]

    def __repr__(self) -> str:
        kinds = ", ".join(sorted({result.kind for result in self}))
        ran = ", ".join(f"{it.backend_used} in {it.browser} {it.browser_version}" for it in self.executions)
        return f"<Response: {len(self)} of {kinds or 'nothing'}, by {ran or 'nobody'}>"

    def records(self) -> list[dict[str, Any]]:
        """Flat rows, as `pandas.DataFrame` takes them: item, output, and each field of the record of what ran.

        An output that is a list, such as classes, gives one row for each of its elements.
        """
        return list(self._records())

    def _records(self) -> Iterator[dict[str, Any]]:
        for item, result in enumerate(self.results):
            ran = asdict(result.execution)
            ran |= ran.pop("timings")
            for output in result.output if isinstance(result.output, list) else [result.output]:
                yield {"item": item, "kind": result.kind} | _columns(result.kind, output) | ran


def _columns(kind: str, output: Any) -> Mapping[str, Any]:
    if is_dataclass(output) and not isinstance(output, type):
        columns = {each.name: getattr(output, each.name) for each in fields(output)}
        usage = columns.pop("usage", None)
        return columns | (asdict(usage) if usage else {})
    return output if isinstance(output, dict) else {kind: output}
