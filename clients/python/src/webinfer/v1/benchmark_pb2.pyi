from webinfer.v1 import execution_pb2 as _execution_pb2
from webinfer.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BenchmarkPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BENCHMARK_PHASE_UNSPECIFIED: _ClassVar[BenchmarkPhase]
    BENCHMARK_PHASE_LOAD: _ClassVar[BenchmarkPhase]
    BENCHMARK_PHASE_WARM_UP: _ClassVar[BenchmarkPhase]
    BENCHMARK_PHASE_ROUND: _ClassVar[BenchmarkPhase]
    BENCHMARK_PHASE_DONE: _ClassVar[BenchmarkPhase]

class BenchmarkRowState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BENCHMARK_ROW_STATE_UNSPECIFIED: _ClassVar[BenchmarkRowState]
    BENCHMARK_ROW_STATE_PENDING: _ClassVar[BenchmarkRowState]
    BENCHMARK_ROW_STATE_MEASURED: _ClassVar[BenchmarkRowState]
    BENCHMARK_ROW_STATE_SKIPPED: _ClassVar[BenchmarkRowState]
    BENCHMARK_ROW_STATE_FAILED: _ClassVar[BenchmarkRowState]
    BENCHMARK_ROW_STATE_LOST: _ClassVar[BenchmarkRowState]

class BenchmarkState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BENCHMARK_STATE_UNSPECIFIED: _ClassVar[BenchmarkState]
    BENCHMARK_STATE_RUNNING: _ClassVar[BenchmarkState]
    BENCHMARK_STATE_COMPLETE: _ClassVar[BenchmarkState]
    BENCHMARK_STATE_INTERRUPTED: _ClassVar[BenchmarkState]

class BenchmarkVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BENCHMARK_VERDICT_UNSPECIFIED: _ClassVar[BenchmarkVerdict]
    BENCHMARK_VERDICT_FASTER: _ClassVar[BenchmarkVerdict]
    BENCHMARK_VERDICT_SLOWER: _ClassVar[BenchmarkVerdict]
    BENCHMARK_VERDICT_SAME: _ClassVar[BenchmarkVerdict]
    BENCHMARK_VERDICT_UNCLEAR: _ClassVar[BenchmarkVerdict]
    BENCHMARK_VERDICT_INCOMPARABLE: _ClassVar[BenchmarkVerdict]
BENCHMARK_PHASE_UNSPECIFIED: BenchmarkPhase
BENCHMARK_PHASE_LOAD: BenchmarkPhase
BENCHMARK_PHASE_WARM_UP: BenchmarkPhase
BENCHMARK_PHASE_ROUND: BenchmarkPhase
BENCHMARK_PHASE_DONE: BenchmarkPhase
BENCHMARK_ROW_STATE_UNSPECIFIED: BenchmarkRowState
BENCHMARK_ROW_STATE_PENDING: BenchmarkRowState
BENCHMARK_ROW_STATE_MEASURED: BenchmarkRowState
BENCHMARK_ROW_STATE_SKIPPED: BenchmarkRowState
BENCHMARK_ROW_STATE_FAILED: BenchmarkRowState
BENCHMARK_ROW_STATE_LOST: BenchmarkRowState
BENCHMARK_STATE_UNSPECIFIED: BenchmarkState
BENCHMARK_STATE_RUNNING: BenchmarkState
BENCHMARK_STATE_COMPLETE: BenchmarkState
BENCHMARK_STATE_INTERRUPTED: BenchmarkState
BENCHMARK_VERDICT_UNSPECIFIED: BenchmarkVerdict
BENCHMARK_VERDICT_FASTER: BenchmarkVerdict
BENCHMARK_VERDICT_SLOWER: BenchmarkVerdict
BENCHMARK_VERDICT_SAME: BenchmarkVerdict
BENCHMARK_VERDICT_UNCLEAR: BenchmarkVerdict
BENCHMARK_VERDICT_INCOMPARABLE: BenchmarkVerdict

class RunRequest(_message.Message):
    __slots__ = ("plan", "resume", "items", "parameters", "require_hardware")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_HARDWARE_FIELD_NUMBER: _ClassVar[int]
    plan: BenchmarkPlan
    resume: str
    items: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Item]
    parameters: _inference_pb2.Parameters
    require_hardware: bool
    def __init__(self, plan: _Optional[_Union[BenchmarkPlan, _Mapping]] = ..., resume: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_inference_pb2.Item, _Mapping]]] = ..., parameters: _Optional[_Union[_inference_pb2.Parameters, _Mapping]] = ..., require_hardware: bool = ...) -> None: ...

class BenchmarkPlan(_message.Message):
    __slots__ = ("models", "browsers", "backends", "precisions", "batch", "concurrency", "threads", "workers", "rounds", "round_ms", "warm_up_least", "warm_up_most", "warm_up_ms", "at_once", "seed", "text_files", "image_files", "audio_files", "repeats")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    BROWSERS_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    PRECISIONS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    ROUND_MS_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_LEAST_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_MOST_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_MS_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FILES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FILES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FILES_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedScalarFieldContainer[str]
    browsers: _containers.RepeatedScalarFieldContainer[str]
    backends: _containers.RepeatedScalarFieldContainer[_execution_pb2.Backend]
    precisions: _containers.RepeatedScalarFieldContainer[str]
    batch: _containers.RepeatedScalarFieldContainer[int]
    concurrency: _containers.RepeatedScalarFieldContainer[int]
    threads: _containers.RepeatedScalarFieldContainer[int]
    workers: _containers.RepeatedScalarFieldContainer[int]
    rounds: int
    round_ms: int
    warm_up_least: int
    warm_up_most: int
    warm_up_ms: int
    at_once: int
    seed: int
    text_files: _containers.RepeatedScalarFieldContainer[str]
    image_files: _containers.RepeatedScalarFieldContainer[str]
    audio_files: _containers.RepeatedScalarFieldContainer[str]
    repeats: int
    def __init__(self, models: _Optional[_Iterable[str]] = ..., browsers: _Optional[_Iterable[str]] = ..., backends: _Optional[_Iterable[_Union[_execution_pb2.Backend, str]]] = ..., precisions: _Optional[_Iterable[str]] = ..., batch: _Optional[_Iterable[int]] = ..., concurrency: _Optional[_Iterable[int]] = ..., threads: _Optional[_Iterable[int]] = ..., workers: _Optional[_Iterable[int]] = ..., rounds: _Optional[int] = ..., round_ms: _Optional[int] = ..., warm_up_least: _Optional[int] = ..., warm_up_most: _Optional[int] = ..., warm_up_ms: _Optional[int] = ..., at_once: _Optional[int] = ..., seed: _Optional[int] = ..., text_files: _Optional[_Iterable[str]] = ..., image_files: _Optional[_Iterable[str]] = ..., audio_files: _Optional[_Iterable[str]] = ..., repeats: _Optional[int] = ...) -> None: ...

class BenchmarkCell(_message.Message):
    __slots__ = ("model", "browser", "backend", "precision", "batch", "concurrency", "threads", "workers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    browser: str
    backend: _execution_pb2.Backend
    precision: str
    batch: int
    concurrency: int
    threads: int
    workers: int
    def __init__(self, model: _Optional[str] = ..., browser: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., precision: _Optional[str] = ..., batch: _Optional[int] = ..., concurrency: _Optional[int] = ..., threads: _Optional[int] = ..., workers: _Optional[int] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("id", "phase", "cell", "done_rows", "rows", "done_rounds", "rounds", "remaining_ms", "row")
    ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    DONE_ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DONE_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    id: str
    phase: BenchmarkPhase
    cell: BenchmarkCell
    done_rows: int
    rows: int
    done_rounds: int
    rounds: int
    remaining_ms: int
    row: BenchmarkRow
    def __init__(self, id: _Optional[str] = ..., phase: _Optional[_Union[BenchmarkPhase, str]] = ..., cell: _Optional[_Union[BenchmarkCell, _Mapping]] = ..., done_rows: _Optional[int] = ..., rows: _Optional[int] = ..., done_rounds: _Optional[int] = ..., rounds: _Optional[int] = ..., remaining_ms: _Optional[int] = ..., row: _Optional[_Union[BenchmarkRow, _Mapping]] = ...) -> None: ...

class BenchmarkRow(_message.Message):
    __slots__ = ("cell", "state", "reason", "conditions", "load_us", "first_result_us", "warm_up_requests", "summary", "memory_bytes", "check", "marks")
    CELL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    LOAD_US_FIELD_NUMBER: _ClassVar[int]
    FIRST_RESULT_US_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    cell: BenchmarkCell
    state: BenchmarkRowState
    reason: str
    conditions: BenchmarkConditions
    load_us: int
    first_result_us: int
    warm_up_requests: int
    summary: BenchmarkSummary
    memory_bytes: int
    check: _execution_pb2.Check
    marks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cell: _Optional[_Union[BenchmarkCell, _Mapping]] = ..., state: _Optional[_Union[BenchmarkRowState, str]] = ..., reason: _Optional[str] = ..., conditions: _Optional[_Union[BenchmarkConditions, _Mapping]] = ..., load_us: _Optional[int] = ..., first_result_us: _Optional[int] = ..., warm_up_requests: _Optional[int] = ..., summary: _Optional[_Union[BenchmarkSummary, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., check: _Optional[_Union[_execution_pb2.Check, _Mapping]] = ..., marks: _Optional[_Iterable[str]] = ...) -> None: ...

class BenchmarkConditions(_message.Message):
    __slots__ = ("browser", "browser_version", "backend", "adapter", "hardware", "dtype", "threads", "workers", "model_sha256", "transformers_version", "onnxruntime_version", "items_sha256")
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BROWSER_VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMERS_VERSION_FIELD_NUMBER: _ClassVar[int]
    ONNXRUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_SHA256_FIELD_NUMBER: _ClassVar[int]
    browser: str
    browser_version: str
    backend: _execution_pb2.Backend
    adapter: str
    hardware: _execution_pb2.Hardware
    dtype: str
    threads: int
    workers: int
    model_sha256: str
    transformers_version: str
    onnxruntime_version: str
    items_sha256: str
    def __init__(self, browser: _Optional[str] = ..., browser_version: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., adapter: _Optional[str] = ..., hardware: _Optional[_Union[_execution_pb2.Hardware, str]] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., workers: _Optional[int] = ..., model_sha256: _Optional[str] = ..., transformers_version: _Optional[str] = ..., onnxruntime_version: _Optional[str] = ..., items_sha256: _Optional[str] = ...) -> None: ...

class BenchmarkEstimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class BenchmarkSummary(_message.Message):
    __slots__ = ("rounds", "throughput", "median_us", "p90_us", "p99_us", "variation", "hops", "batch_items", "joules_per_item")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    THROUGHPUT_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_US_FIELD_NUMBER: _ClassVar[int]
    P90_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ITEMS_FIELD_NUMBER: _ClassVar[int]
    JOULES_PER_ITEM_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    throughput: BenchmarkEstimate
    median_us: BenchmarkEstimate
    p90_us: int
    p99_us: int
    variation: float
    hops: _execution_pb2.Timings
    batch_items: float
    joules_per_item: float
    def __init__(self, rounds: _Optional[int] = ..., throughput: _Optional[_Union[BenchmarkEstimate, _Mapping]] = ..., median_us: _Optional[_Union[BenchmarkEstimate, _Mapping]] = ..., p90_us: _Optional[int] = ..., p99_us: _Optional[int] = ..., variation: _Optional[float] = ..., hops: _Optional[_Union[_execution_pb2.Timings, _Mapping]] = ..., batch_items: _Optional[float] = ..., joules_per_item: _Optional[float] = ...) -> None: ...

class BenchmarkRun(_message.Message):
    __slots__ = ("id", "started_ms", "ended_ms", "state", "models", "row_count", "measured_rows", "rows")
    ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    id: str
    started_ms: int
    ended_ms: int
    state: BenchmarkState
    models: _containers.RepeatedScalarFieldContainer[str]
    row_count: int
    measured_rows: int
    rows: _containers.RepeatedCompositeFieldContainer[BenchmarkRow]
    def __init__(self, id: _Optional[str] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., state: _Optional[_Union[BenchmarkState, str]] = ..., models: _Optional[_Iterable[str]] = ..., row_count: _Optional[int] = ..., measured_rows: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[BenchmarkRow, _Mapping]]] = ...) -> None: ...

class BenchmarkServiceListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BenchmarkServiceListResponse(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[BenchmarkRun]
    def __init__(self, runs: _Optional[_Iterable[_Union[BenchmarkRun, _Mapping]]] = ...) -> None: ...

class BenchmarkServiceGetRequest(_message.Message):
    __slots__ = ("id", "with_record")
    ID_FIELD_NUMBER: _ClassVar[int]
    WITH_RECORD_FIELD_NUMBER: _ClassVar[int]
    id: str
    with_record: bool
    def __init__(self, id: _Optional[str] = ..., with_record: bool = ...) -> None: ...

class BenchmarkServiceGetResponse(_message.Message):
    __slots__ = ("run", "record")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    run: BenchmarkRun
    record: bytes
    def __init__(self, run: _Optional[_Union[BenchmarkRun, _Mapping]] = ..., record: _Optional[bytes] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("base", "other")
    BASE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    base: str
    other: str
    def __init__(self, base: _Optional[str] = ..., other: _Optional[str] = ...) -> None: ...

class BenchmarkComparison(_message.Message):
    __slots__ = ("cell", "verdict", "change", "p", "reason", "differences")
    CELL_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    P_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    cell: BenchmarkCell
    verdict: BenchmarkVerdict
    change: BenchmarkEstimate
    p: float
    reason: str
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cell: _Optional[_Union[BenchmarkCell, _Mapping]] = ..., verdict: _Optional[_Union[BenchmarkVerdict, str]] = ..., change: _Optional[_Union[BenchmarkEstimate, _Mapping]] = ..., p: _Optional[float] = ..., reason: _Optional[str] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class CompareResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[BenchmarkComparison]
    def __init__(self, rows: _Optional[_Iterable[_Union[BenchmarkComparison, _Mapping]]] = ...) -> None: ...
