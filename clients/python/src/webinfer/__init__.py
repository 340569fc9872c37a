"""Client of webinfer, a gRPC inference server whose accelerators are web browsers.

`Client` and `AsyncClient` call a service. The messages and stubs are in `webinfer.v1`; `webinfer.bridge` has the
classes of a resource pool bridge, `webinfer.torch` and `webinfer.tensorflow` layers that run in browsers.
"""

from importlib.metadata import version

from ._core import Answer, Parameters, Request
from .aio import AsyncClient, AsyncGeneration
from .client import Client, Generation
from .errors import (
    CancelledError,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
    WebinferError,
)
from .inputs import Audio, Chat, Image, Input, Query, Question
from .models import LoadStep, Model
from .results import Execution, Partial, Response, Result, Timings

__version__ = version("webinfer")

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncGeneration",
    "Audio",
    "CancelledError",
    "Chat",
    "Client",
    "ClosedError",
    "DeadlineExceededError",
    "Execution",
    "Generation",
    "Image",
    "Input",
    "InvalidInputError",
    "LoadStep",
    "Model",
    "NotFoundError",
    "OverloadedError",
    "Parameters",
    "Partial",
    "Query",
    "Question",
    "Request",
    "Response",
    "Result",
    "Timings",
    "UnavailableError",
    "WebinferError",
]
