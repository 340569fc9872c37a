from webinfer.v1 import execution_pb2 as _execution_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_RIGHT: _ClassVar[Verdict]
    VERDICT_WRONG: _ClassVar[Verdict]
    VERDICT_FAILED: _ClassVar[Verdict]
    VERDICT_LACKING: _ClassVar[Verdict]
    VERDICT_LOST: _ClassVar[Verdict]
    VERDICT_UNKNOWN: _ClassVar[Verdict]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]

class BrowserDuty(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BROWSER_DUTY_UNSPECIFIED: _ClassVar[BrowserDuty]
    BROWSER_DUTY_SERVING: _ClassVar[BrowserDuty]
    BROWSER_DUTY_SPARE: _ClassVar[BrowserDuty]
    BROWSER_DUTY_LEAVING: _ClassVar[BrowserDuty]

class BrowserState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BROWSER_STATE_UNSPECIFIED: _ClassVar[BrowserState]
    BROWSER_STATE_STARTING: _ClassVar[BrowserState]
    BROWSER_STATE_READY: _ClassVar[BrowserState]
    BROWSER_STATE_BACKING_OFF: _ClassVar[BrowserState]

class WorkerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_STATE_UNSPECIFIED: _ClassVar[WorkerState]
    WORKER_STATE_STARTING: _ClassVar[WorkerState]
    WORKER_STATE_LOADING: _ClassVar[WorkerState]
    WORKER_STATE_READY: _ClassVar[WorkerState]
    WORKER_STATE_LEAVING: _ClassVar[WorkerState]
VERDICT_UNSPECIFIED: Verdict
VERDICT_RIGHT: Verdict
VERDICT_WRONG: Verdict
VERDICT_FAILED: Verdict
VERDICT_LACKING: Verdict
VERDICT_LOST: Verdict
VERDICT_UNKNOWN: Verdict
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState
BROWSER_DUTY_UNSPECIFIED: BrowserDuty
BROWSER_DUTY_SERVING: BrowserDuty
BROWSER_DUTY_SPARE: BrowserDuty
BROWSER_DUTY_LEAVING: BrowserDuty
BROWSER_STATE_UNSPECIFIED: BrowserState
BROWSER_STATE_STARTING: BrowserState
BROWSER_STATE_READY: BrowserState
BROWSER_STATE_BACKING_OFF: BrowserState
WORKER_STATE_UNSPECIFIED: WorkerState
WORKER_STATE_STARTING: WorkerState
WORKER_STATE_LOADING: WorkerState
WORKER_STATE_READY: WorkerState
WORKER_STATE_LEAVING: WorkerState

class PoolServiceGetRequest(_message.Message):
    __slots__ = ("with_log",)
    WITH_LOG_FIELD_NUMBER: _ClassVar[int]
    with_log: bool
    def __init__(self, with_log: bool = ...) -> None: ...

class PoolServiceGetResponse(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: PoolStatus
    def __init__(self, pool: _Optional[_Union[PoolStatus, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: PoolStatus
    def __init__(self, pool: _Optional[_Union[PoolStatus, _Mapping]] = ...) -> None: ...

class WatchActivityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchActivityResponse(_message.Message):
    __slots__ = ("seconds", "failed_requests")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FAILED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    seconds: _containers.RepeatedCompositeFieldContainer[Second]
    failed_requests: _containers.RepeatedCompositeFieldContainer[FailedRequest]
    def __init__(self, seconds: _Optional[_Iterable[_Union[Second, _Mapping]]] = ..., failed_requests: _Optional[_Iterable[_Union[FailedRequest, _Mapping]]] = ...) -> None: ...

class Second(_message.Message):
    __slots__ = ("end_ms", "models")
    END_MS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    end_ms: int
    models: _containers.RepeatedCompositeFieldContainer[ModelActivity]
    def __init__(self, end_ms: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelActivity, _Mapping]]] = ...) -> None: ...

class ModelActivity(_message.Message):
    __slots__ = ("model", "answered", "failed", "p50_us", "p95_us", "p99_us", "items", "batches", "tokens", "timings", "queue_items")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P95_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    model: str
    answered: int
    failed: int
    p50_us: int
    p95_us: int
    p99_us: int
    items: int
    batches: int
    tokens: int
    timings: _execution_pb2.Timings
    queue_items: int
    def __init__(self, model: _Optional[str] = ..., answered: _Optional[int] = ..., failed: _Optional[int] = ..., p50_us: _Optional[int] = ..., p95_us: _Optional[int] = ..., p99_us: _Optional[int] = ..., items: _Optional[int] = ..., batches: _Optional[int] = ..., tokens: _Optional[int] = ..., timings: _Optional[_Union[_execution_pb2.Timings, _Mapping]] = ..., queue_items: _Optional[int] = ...) -> None: ...

class FailedRequest(_message.Message):
    __slots__ = ("time_ms", "model", "reason", "message")
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    time_ms: int
    model: str
    reason: str
    message: str
    def __init__(self, time_ms: _Optional[int] = ..., model: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("candidates", "routes")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("worker", "browser", "backend", "dtype", "batch_items", "predicted_us", "through_us", "slowness", "in_hand", "runs", "chosen_because")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_ITEMS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_US_FIELD_NUMBER: _ClassVar[int]
    THROUGH_US_FIELD_NUMBER: _ClassVar[int]
    SLOWNESS_FIELD_NUMBER: _ClassVar[int]
    IN_HAND_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    worker: str
    browser: str
    backend: _execution_pb2.Backend
    dtype: str
    batch_items: int
    predicted_us: int
    through_us: int
    slowness: float
    in_hand: int
    runs: int
    chosen_because: str
    def __init__(self, worker: _Optional[str] = ..., browser: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., dtype: _Optional[str] = ..., batch_items: _Optional[int] = ..., predicted_us: _Optional[int] = ..., through_us: _Optional[int] = ..., slowness: _Optional[float] = ..., in_hand: _Optional[int] = ..., runs: _Optional[int] = ..., chosen_because: _Optional[str] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("browser_id", "browser", "backend", "chosen", "reason", "costs", "workers")
    BROWSER_ID_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    browser_id: str
    browser: str
    backend: _execution_pb2.Backend
    chosen: bool
    reason: str
    costs: _containers.RepeatedCompositeFieldContainer[Cost]
    workers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, browser_id: _Optional[str] = ..., browser: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., chosen: bool = ..., reason: _Optional[str] = ..., costs: _Optional[_Iterable[_Union[Cost, _Mapping]]] = ..., workers: _Optional[_Iterable[str]] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("length", "items", "item_us", "runs", "age_s")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ITEM_US_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    length: int
    items: int
    item_us: float
    runs: int
    age_s: int
    def __init__(self, length: _Optional[int] = ..., items: _Optional[int] = ..., item_us: _Optional[float] = ..., runs: _Optional[int] = ..., age_s: _Optional[int] = ...) -> None: ...

class MatrixRequest(_message.Message):
    __slots__ = ("model", "backends", "dtypes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    DTYPES_FIELD_NUMBER: _ClassVar[int]
    model: str
    backends: _containers.RepeatedScalarFieldContainer[_execution_pb2.Backend]
    dtypes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[_execution_pb2.Backend, str]]] = ..., dtypes: _Optional[_Iterable[str]] = ...) -> None: ...

class MatrixResponse(_message.Message):
    __slots__ = ("row", "done", "total")
    ROW_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    row: MatrixRow
    done: int
    total: int
    def __init__(self, row: _Optional[_Union[MatrixRow, _Mapping]] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class MatrixRow(_message.Message):
    __slots__ = ("browser", "backend", "dtype", "verdict", "reason", "check", "costs", "load_ms", "adapter", "hardware", "threads")
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    LOAD_MS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    browser: str
    backend: _execution_pb2.Backend
    dtype: str
    verdict: Verdict
    reason: str
    check: _execution_pb2.Check
    costs: _containers.RepeatedCompositeFieldContainer[Cost]
    load_ms: int
    adapter: str
    hardware: _execution_pb2.Hardware
    threads: int
    def __init__(self, browser: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., dtype: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., reason: _Optional[str] = ..., check: _Optional[_Union[_execution_pb2.Check, _Mapping]] = ..., costs: _Optional[_Iterable[_Union[Cost, _Mapping]]] = ..., load_ms: _Optional[int] = ..., adapter: _Optional[str] = ..., hardware: _Optional[_Union[_execution_pb2.Hardware, str]] = ..., threads: _Optional[int] = ...) -> None: ...

class ScaleRequest(_message.Message):
    __slots__ = ("min_browsers", "max_browsers")
    MIN_BROWSERS_FIELD_NUMBER: _ClassVar[int]
    MAX_BROWSERS_FIELD_NUMBER: _ClassVar[int]
    min_browsers: int
    max_browsers: int
    def __init__(self, min_browsers: _Optional[int] = ..., max_browsers: _Optional[int] = ...) -> None: ...

class ScaleResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecycleRequest(_message.Message):
    __slots__ = ("browser",)
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    browser: str
    def __init__(self, browser: _Optional[str] = ...) -> None: ...

class RecycleResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("browser",)
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    browser: str
    def __init__(self, browser: _Optional[str] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("browsers", "breakers", "wanted_browsers", "min_browsers", "max_browsers")
    BROWSERS_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    WANTED_BROWSERS_FIELD_NUMBER: _ClassVar[int]
    MIN_BROWSERS_FIELD_NUMBER: _ClassVar[int]
    MAX_BROWSERS_FIELD_NUMBER: _ClassVar[int]
    browsers: _containers.RepeatedCompositeFieldContainer[Browser]
    breakers: _containers.RepeatedCompositeFieldContainer[Breaker]
    wanted_browsers: int
    min_browsers: int
    max_browsers: int
    def __init__(self, browsers: _Optional[_Iterable[_Union[Browser, _Mapping]]] = ..., breakers: _Optional[_Iterable[_Union[Breaker, _Mapping]]] = ..., wanted_browsers: _Optional[int] = ..., min_browsers: _Optional[int] = ..., max_browsers: _Optional[int] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ("browser", "backend", "model", "state", "retry_after_ms")
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    browser: str
    backend: _execution_pb2.Backend
    model: str
    state: BreakerState
    retry_after_ms: int
    def __init__(self, browser: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., model: _Optional[str] = ..., state: _Optional[_Union[BreakerState, str]] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Browser(_message.Message):
    __slots__ = ("id", "product", "version", "state", "reason", "pid", "memory_bytes", "memory_kind", "restarts", "workers", "duty", "log")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_KIND_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    DUTY_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    id: str
    product: str
    version: str
    state: BrowserState
    reason: str
    pid: int
    memory_bytes: int
    memory_kind: str
    restarts: int
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    duty: BrowserDuty
    log: _containers.RepeatedCompositeFieldContainer[LogLine]
    def __init__(self, id: _Optional[str] = ..., product: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[_Union[BrowserState, str]] = ..., reason: _Optional[str] = ..., pid: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_kind: _Optional[str] = ..., restarts: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ..., duty: _Optional[_Union[BrowserDuty, str]] = ..., log: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("source", "text", "age_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    source: str
    text: str
    age_ms: int
    def __init__(self, source: _Optional[str] = ..., text: _Optional[str] = ..., age_ms: _Optional[int] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("id", "state", "model", "backend", "dtype", "threads", "batches_in_flight", "batches_run", "hardware", "adapter")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    BATCHES_RUN_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: WorkerState
    model: str
    backend: _execution_pb2.Backend
    dtype: str
    threads: int
    batches_in_flight: int
    batches_run: int
    hardware: _execution_pb2.Hardware
    adapter: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[WorkerState, str]] = ..., model: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., batches_in_flight: _Optional[int] = ..., batches_run: _Optional[int] = ..., hardware: _Optional[_Union[_execution_pb2.Hardware, str]] = ..., adapter: _Optional[str] = ...) -> None: ...
