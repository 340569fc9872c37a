from webinfer.v1 import execution_pb2 as _execution_pb2
from webinfer.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProfileRequest(_message.Message):
    __slots__ = ("request", "runs")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    request: _inference_pb2.InferRequest
    runs: int
    def __init__(self, request: _Optional[_Union[_inference_pb2.InferRequest, _Mapping]] = ..., runs: _Optional[int] = ...) -> None: ...

class ProfileResponse(_message.Message):
    __slots__ = ("response", "runs", "load_us", "profile")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LOAD_US_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    response: _inference_pb2.InferResponse
    runs: _containers.RepeatedCompositeFieldContainer[_execution_pb2.Timings]
    load_us: int
    profile: Profile
    def __init__(self, response: _Optional[_Union[_inference_pb2.InferResponse, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[_execution_pb2.Timings, _Mapping]]] = ..., load_us: _Optional[int] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("operators", "kernels", "no_kernels_reason", "trace", "dropped_events")
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    NO_KERNELS_REASON_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    operators: _containers.RepeatedCompositeFieldContainer[OperatorTime]
    kernels: _containers.RepeatedCompositeFieldContainer[KernelTime]
    no_kernels_reason: str
    trace: bytes
    dropped_events: int
    def __init__(self, operators: _Optional[_Iterable[_Union[OperatorTime, _Mapping]]] = ..., kernels: _Optional[_Iterable[_Union[KernelTime, _Mapping]]] = ..., no_kernels_reason: _Optional[str] = ..., trace: _Optional[bytes] = ..., dropped_events: _Optional[int] = ...) -> None: ...

class OperatorTime(_message.Message):
    __slots__ = ("name", "provider", "count", "total_us")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    name: str
    provider: str
    count: int
    total_us: int
    def __init__(self, name: _Optional[str] = ..., provider: _Optional[str] = ..., count: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class KernelTime(_message.Message):
    __slots__ = ("program", "operator", "count", "total_us")
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    program: str
    operator: str
    count: int
    total_us: int
    def __init__(self, program: _Optional[str] = ..., operator: _Optional[str] = ..., count: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...
