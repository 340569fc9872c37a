from webinfer.v1 import execution_pb2 as _execution_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DetectRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DetectResponse(_message.Message):
    __slots__ = ("browsers", "limits", "service_version")
    BROWSERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    browsers: _containers.RepeatedCompositeFieldContainer[BrowserCapabilities]
    limits: Limits
    service_version: str
    def __init__(self, browsers: _Optional[_Iterable[_Union[BrowserCapabilities, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., service_version: _Optional[str] = ...) -> None: ...

class BrowserCapabilities(_message.Message):
    __slots__ = ("browser_id", "product", "version", "user_agent", "hardware_concurrency", "cross_origin_isolated", "wasm_threads", "wasm_simd", "webgpu", "webnn", "gpu_devices", "sandboxed", "wasm_relaxed_simd", "wasm_memory64", "wasm_jspi", "device_memory_mib")
    BROWSER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    CROSS_ORIGIN_ISOLATED_FIELD_NUMBER: _ClassVar[int]
    WASM_THREADS_FIELD_NUMBER: _ClassVar[int]
    WASM_SIMD_FIELD_NUMBER: _ClassVar[int]
    WEBGPU_FIELD_NUMBER: _ClassVar[int]
    WEBNN_FIELD_NUMBER: _ClassVar[int]
    GPU_DEVICES_FIELD_NUMBER: _ClassVar[int]
    SANDBOXED_FIELD_NUMBER: _ClassVar[int]
    WASM_RELAXED_SIMD_FIELD_NUMBER: _ClassVar[int]
    WASM_MEMORY64_FIELD_NUMBER: _ClassVar[int]
    WASM_JSPI_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    browser_id: str
    product: str
    version: str
    user_agent: str
    hardware_concurrency: int
    cross_origin_isolated: bool
    wasm_threads: bool
    wasm_simd: bool
    webgpu: WebGpuCapabilities
    webnn: _containers.RepeatedCompositeFieldContainer[WebNnContext]
    gpu_devices: _containers.RepeatedScalarFieldContainer[str]
    sandboxed: bool
    wasm_relaxed_simd: bool
    wasm_memory64: bool
    wasm_jspi: bool
    device_memory_mib: int
    def __init__(self, browser_id: _Optional[str] = ..., product: _Optional[str] = ..., version: _Optional[str] = ..., user_agent: _Optional[str] = ..., hardware_concurrency: _Optional[int] = ..., cross_origin_isolated: bool = ..., wasm_threads: bool = ..., wasm_simd: bool = ..., webgpu: _Optional[_Union[WebGpuCapabilities, _Mapping]] = ..., webnn: _Optional[_Iterable[_Union[WebNnContext, _Mapping]]] = ..., gpu_devices: _Optional[_Iterable[str]] = ..., sandboxed: bool = ..., wasm_relaxed_simd: bool = ..., wasm_memory64: bool = ..., wasm_jspi: bool = ..., device_memory_mib: _Optional[int] = ...) -> None: ...

class WebGpuCapabilities(_message.Message):
    __slots__ = ("available", "unavailable_reason", "adapter", "hardware", "features", "limits")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    available: bool
    unavailable_reason: str
    adapter: str
    hardware: _execution_pb2.Hardware
    features: _containers.RepeatedScalarFieldContainer[str]
    limits: _containers.ScalarMap[str, int]
    def __init__(self, available: bool = ..., unavailable_reason: _Optional[str] = ..., adapter: _Optional[str] = ..., hardware: _Optional[_Union[_execution_pb2.Hardware, str]] = ..., features: _Optional[_Iterable[str]] = ..., limits: _Optional[_Mapping[str, int]] = ...) -> None: ...

class WebNnContext(_message.Message):
    __slots__ = ("device_type", "available", "unavailable_reason", "operators", "max_tensor_bytes", "preferred_layout")
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    MAX_TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    device_type: str
    available: bool
    unavailable_reason: str
    operators: _containers.RepeatedScalarFieldContainer[str]
    max_tensor_bytes: int
    preferred_layout: str
    def __init__(self, device_type: _Optional[str] = ..., available: bool = ..., unavailable_reason: _Optional[str] = ..., operators: _Optional[_Iterable[str]] = ..., max_tensor_bytes: _Optional[int] = ..., preferred_layout: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_message_bytes", "stream_window_bytes", "connection_window_bytes", "max_concurrent_streams", "max_request_items", "max_pending_items", "max_pending_bytes", "max_batch", "default_deadline_ms", "max_model_bytes")
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_message_bytes: int
    stream_window_bytes: int
    connection_window_bytes: int
    max_concurrent_streams: int
    max_request_items: int
    max_pending_items: int
    max_pending_bytes: int
    max_batch: int
    default_deadline_ms: int
    max_model_bytes: int
    def __init__(self, max_message_bytes: _Optional[int] = ..., stream_window_bytes: _Optional[int] = ..., connection_window_bytes: _Optional[int] = ..., max_concurrent_streams: _Optional[int] = ..., max_request_items: _Optional[int] = ..., max_pending_items: _Optional[int] = ..., max_pending_bytes: _Optional[int] = ..., max_batch: _Optional[int] = ..., default_deadline_ms: _Optional[int] = ..., max_model_bytes: _Optional[int] = ...) -> None: ...
