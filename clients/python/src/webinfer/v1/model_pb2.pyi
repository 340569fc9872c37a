from webinfer.v1 import execution_pb2 as _execution_pb2
from webinfer.v1 import inference_pb2 as _inference_pb2
from webinfer.v1 import pool_pb2 as _pool_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_UNSPECIFIED: _ClassVar[Fallback]
    FALLBACK_EXACT: _ClassVar[Fallback]
    FALLBACK_BACKEND: _ClassVar[Fallback]
    FALLBACK_SIMULATION: _ClassVar[Fallback]

class GraphCapture(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRAPH_CAPTURE_UNSPECIFIED: _ClassVar[GraphCapture]
    GRAPH_CAPTURE_AUTO: _ClassVar[GraphCapture]
    GRAPH_CAPTURE_ON: _ClassVar[GraphCapture]
    GRAPH_CAPTURE_OFF: _ClassVar[GraphCapture]

class Pooling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POOLING_UNSPECIFIED: _ClassVar[Pooling]
    POOLING_MEAN: _ClassVar[Pooling]
    POOLING_CLS: _ClassVar[Pooling]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_REGISTERED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
    MODEL_STATE_ASLEEP: _ClassVar[ModelState]
    MODEL_STATE_SIMULATED: _ClassVar[ModelState]

class LoadPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOAD_PHASE_UNSPECIFIED: _ClassVar[LoadPhase]
    LOAD_PHASE_PREPARE: _ClassVar[LoadPhase]
    LOAD_PHASE_FILES: _ClassVar[LoadPhase]
    LOAD_PHASE_COMPILE: _ClassVar[LoadPhase]
    LOAD_PHASE_WARM_UP: _ClassVar[LoadPhase]
    LOAD_PHASE_READY: _ClassVar[LoadPhase]
    LOAD_PHASE_SIMULATED: _ClassVar[LoadPhase]
FALLBACK_UNSPECIFIED: Fallback
FALLBACK_EXACT: Fallback
FALLBACK_BACKEND: Fallback
FALLBACK_SIMULATION: Fallback
GRAPH_CAPTURE_UNSPECIFIED: GraphCapture
GRAPH_CAPTURE_AUTO: GraphCapture
GRAPH_CAPTURE_ON: GraphCapture
GRAPH_CAPTURE_OFF: GraphCapture
POOLING_UNSPECIFIED: Pooling
POOLING_MEAN: Pooling
POOLING_CLS: Pooling
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_REGISTERED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_FAILED: ModelState
MODEL_STATE_ASLEEP: ModelState
MODEL_STATE_SIMULATED: ModelState
LOAD_PHASE_UNSPECIFIED: LoadPhase
LOAD_PHASE_PREPARE: LoadPhase
LOAD_PHASE_FILES: LoadPhase
LOAD_PHASE_COMPILE: LoadPhase
LOAD_PHASE_WARM_UP: LoadPhase
LOAD_PHASE_READY: LoadPhase
LOAD_PHASE_SIMULATED: LoadPhase

class ModelSpec(_message.Message):
    __slots__ = ("id", "source", "task", "backends", "dtype", "replicas", "threads", "pooling", "unnormalized", "fallback", "max_batch", "probes", "bits", "dtypes", "max_error", "browser", "graph_capture", "optimize")
    class DtypesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    UNNORMALIZED_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    DTYPES_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    GRAPH_CAPTURE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZE_FIELD_NUMBER: _ClassVar[int]
    id: str
    source: str
    task: str
    backends: _containers.RepeatedScalarFieldContainer[_execution_pb2.Backend]
    dtype: str
    replicas: int
    threads: int
    pooling: Pooling
    unnormalized: bool
    fallback: Fallback
    max_batch: int
    probes: _containers.RepeatedCompositeFieldContainer[Probe]
    bits: int
    dtypes: _containers.ScalarMap[str, str]
    max_error: float
    browser: str
    graph_capture: GraphCapture
    optimize: bool
    def __init__(self, id: _Optional[str] = ..., source: _Optional[str] = ..., task: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[_execution_pb2.Backend, str]]] = ..., dtype: _Optional[str] = ..., replicas: _Optional[int] = ..., threads: _Optional[int] = ..., pooling: _Optional[_Union[Pooling, str]] = ..., unnormalized: bool = ..., fallback: _Optional[_Union[Fallback, str]] = ..., max_batch: _Optional[int] = ..., probes: _Optional[_Iterable[_Union[Probe, _Mapping]]] = ..., bits: _Optional[int] = ..., dtypes: _Optional[_Mapping[str, str]] = ..., max_error: _Optional[float] = ..., browser: _Optional[str] = ..., graph_capture: _Optional[_Union[GraphCapture, str]] = ..., optimize: bool = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("item", "parameters")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    item: _inference_pb2.Item
    parameters: _inference_pb2.Parameters
    def __init__(self, item: _Optional[_Union[_inference_pb2.Item, _Mapping]] = ..., parameters: _Optional[_Union[_inference_pb2.Parameters, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("spec", "state", "error", "ready_replicas", "available_dtypes", "bytes", "sha256", "precisions", "makeable")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_DTYPES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PRECISIONS_FIELD_NUMBER: _ClassVar[int]
    MAKEABLE_FIELD_NUMBER: _ClassVar[int]
    spec: ModelSpec
    state: ModelState
    error: str
    ready_replicas: int
    available_dtypes: _containers.RepeatedScalarFieldContainer[str]
    bytes: int
    sha256: str
    precisions: _containers.RepeatedCompositeFieldContainer[Precision]
    makeable: _containers.RepeatedCompositeFieldContainer[Precision]
    def __init__(self, spec: _Optional[_Union[ModelSpec, _Mapping]] = ..., state: _Optional[_Union[ModelState, str]] = ..., error: _Optional[str] = ..., ready_replicas: _Optional[int] = ..., available_dtypes: _Optional[_Iterable[str]] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., precisions: _Optional[_Iterable[_Union[Precision, _Mapping]]] = ..., makeable: _Optional[_Iterable[_Union[Precision, _Mapping]]] = ...) -> None: ...

class Precision(_message.Message):
    __slots__ = ("dtype", "bits", "bytes", "measured")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    bits: int
    bytes: int
    measured: _containers.RepeatedCompositeFieldContainer[_pool_pb2.MatrixRow]
    def __init__(self, dtype: _Optional[str] = ..., bits: _Optional[int] = ..., bytes: _Optional[int] = ..., measured: _Optional[_Iterable[_Union[_pool_pb2.MatrixRow, _Mapping]]] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: ModelSpec
    def __init__(self, spec: _Optional[_Union[ModelSpec, _Mapping]] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("phase", "file", "loaded_bytes", "total_bytes", "ready_replicas", "replicas", "elapsed_ms")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LOADED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    phase: LoadPhase
    file: str
    loaded_bytes: int
    total_bytes: int
    ready_replicas: int
    replicas: int
    elapsed_ms: int
    def __init__(self, phase: _Optional[_Union[LoadPhase, str]] = ..., file: _Optional[str] = ..., loaded_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., ready_replicas: _Optional[int] = ..., replicas: _Optional[int] = ..., elapsed_ms: _Optional[int] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class UnloadResponse(_message.Message):
    __slots__ = ("ended_replicas",)
    ENDED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ended_replicas: int
    def __init__(self, ended_replicas: _Optional[int] = ...) -> None: ...

class UnregisterRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class UnregisterResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelServiceGetRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ModelServiceGetResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ModelServiceListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelServiceListResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...
