from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BACKEND_UNSPECIFIED: _ClassVar[Backend]
    BACKEND_WASM: _ClassVar[Backend]
    BACKEND_WEBGPU: _ClassVar[Backend]
    BACKEND_WEBNN_CPU: _ClassVar[Backend]
    BACKEND_WEBNN_GPU: _ClassVar[Backend]
    BACKEND_WEBNN_NPU: _ClassVar[Backend]
    BACKEND_SIMULATION: _ClassVar[Backend]

class Hardware(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HARDWARE_UNSPECIFIED: _ClassVar[Hardware]
    HARDWARE_CPU: _ClassVar[Hardware]
    HARDWARE_SOFTWARE_ADAPTER: _ClassVar[Hardware]
    HARDWARE_GPU: _ClassVar[Hardware]

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIGIN_UNSPECIFIED: _ClassVar[Origin]
    ORIGIN_RUN: _ClassVar[Origin]
    ORIGIN_COALESCED: _ClassVar[Origin]
    ORIGIN_CACHE: _ClassVar[Origin]
    ORIGIN_SIMULATED: _ClassVar[Origin]
BACKEND_UNSPECIFIED: Backend
BACKEND_WASM: Backend
BACKEND_WEBGPU: Backend
BACKEND_WEBNN_CPU: Backend
BACKEND_WEBNN_GPU: Backend
BACKEND_WEBNN_NPU: Backend
BACKEND_SIMULATION: Backend
HARDWARE_UNSPECIFIED: Hardware
HARDWARE_CPU: Hardware
HARDWARE_SOFTWARE_ADAPTER: Hardware
HARDWARE_GPU: Hardware
ORIGIN_UNSPECIFIED: Origin
ORIGIN_RUN: Origin
ORIGIN_COALESCED: Origin
ORIGIN_CACHE: Origin
ORIGIN_SIMULATED: Origin

class Execution(_message.Message):
    __slots__ = ("browser", "browser_version", "backend_requested", "backend_used", "fallback_reason", "adapter", "hardware", "dtype", "threads", "transformers_version", "onnxruntime_version", "model_sha256", "worker_id", "batch_size", "retries", "timings", "origin", "node_placements", "simulated", "check", "hedged", "replayed_shape")
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    BROWSER_VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKEND_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMERS_VERSION_FIELD_NUMBER: _ClassVar[int]
    ONNXRUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    NODE_PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    HEDGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_SHAPE_FIELD_NUMBER: _ClassVar[int]
    browser: str
    browser_version: str
    backend_requested: Backend
    backend_used: Backend
    fallback_reason: str
    adapter: str
    hardware: Hardware
    dtype: str
    threads: int
    transformers_version: str
    onnxruntime_version: str
    model_sha256: str
    worker_id: str
    batch_size: int
    retries: int
    timings: Timings
    origin: Origin
    node_placements: _containers.RepeatedCompositeFieldContainer[NodePlacement]
    simulated: bool
    check: Check
    hedged: bool
    replayed_shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, browser: _Optional[str] = ..., browser_version: _Optional[str] = ..., backend_requested: _Optional[_Union[Backend, str]] = ..., backend_used: _Optional[_Union[Backend, str]] = ..., fallback_reason: _Optional[str] = ..., adapter: _Optional[str] = ..., hardware: _Optional[_Union[Hardware, str]] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., transformers_version: _Optional[str] = ..., onnxruntime_version: _Optional[str] = ..., model_sha256: _Optional[str] = ..., worker_id: _Optional[str] = ..., batch_size: _Optional[int] = ..., retries: _Optional[int] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., origin: _Optional[_Union[Origin, str]] = ..., node_placements: _Optional[_Iterable[_Union[NodePlacement, _Mapping]]] = ..., simulated: bool = ..., check: _Optional[_Union[Check, _Mapping]] = ..., hedged: bool = ..., replayed_shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("measure", "value", "least", "against")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    measure: str
    value: float
    least: float
    against: str
    def __init__(self, measure: _Optional[str] = ..., value: _Optional[float] = ..., least: _Optional[float] = ..., against: _Optional[str] = ...) -> None: ...

class NodePlacement(_message.Message):
    __slots__ = ("provider", "nodes")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    provider: str
    nodes: int
    def __init__(self, provider: _Optional[str] = ..., nodes: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_us", "bridge_us", "preprocess_us", "inference_us", "postprocess_us")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_US_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_US_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_US_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_US_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    bridge_us: int
    preprocess_us: int
    inference_us: int
    postprocess_us: int
    def __init__(self, queue_us: _Optional[int] = ..., bridge_us: _Optional[int] = ..., preprocess_us: _Optional[int] = ..., inference_us: _Optional[int] = ..., postprocess_us: _Optional[int] = ...) -> None: ...
