from webinfer.v1 import execution_pb2 as _execution_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
    __slots__ = ()
    def __init__(self) -> None: ...

class PoolServiceGetResponse(_message.Message):
    __slots__ = ("browsers",)
    BROWSERS_FIELD_NUMBER: _ClassVar[int]
    browsers: _containers.RepeatedCompositeFieldContainer[Browser]
    def __init__(self, browsers: _Optional[_Iterable[_Union[Browser, _Mapping]]] = ...) -> None: ...

class Browser(_message.Message):
    __slots__ = ("id", "product", "version", "state", "reason", "pid", "memory_bytes", "memory_kind", "restarts", "workers")
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
    def __init__(self, id: _Optional[str] = ..., product: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[_Union[BrowserState, str]] = ..., reason: _Optional[str] = ..., pid: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_kind: _Optional[str] = ..., restarts: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("id", "state", "model", "backend", "dtype", "threads", "batches_in_flight", "batches_run")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    BATCHES_RUN_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: WorkerState
    model: str
    backend: _execution_pb2.Backend
    dtype: str
    threads: int
    batches_in_flight: int
    batches_run: int
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[WorkerState, str]] = ..., model: _Optional[str] = ..., backend: _Optional[_Union[_execution_pb2.Backend, str]] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., batches_in_flight: _Optional[int] = ..., batches_run: _Optional[int] = ...) -> None: ...
