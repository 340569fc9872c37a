"""Tensors: between numpy's arrays and the messages that carry them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InvalidInputError
from .v1 import inference_pb2

# Little-endian, as on the wire.
_DTYPES = {
    inference_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    inference_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    inference_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    inference_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    inference_pb2.DATA_TYPE_INT8: np.dtype("i1"),
    inference_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
    inference_pb2.DATA_TYPE_BOOL: np.dtype("?"),
}
_DATA_TYPES = {dtype: data_type for data_type, dtype in _DTYPES.items()}


def to_array(tensor: inference_pb2.Tensor) -> np.ndarray:
    """A read-only view of a tensor's bytes, in its shape."""
    return np.frombuffer(tensor.data, _DTYPES[tensor.data_type]).reshape(tensor.shape)


def to_tensor(value: Any, name: str = "tensor") -> inference_pb2.Tensor:
    """A message with an array's elements.

    Arrays keep their type, which must be float32, float16, int64, int32, int8, uint8 or bool. Numbers and lists become
    float32, int64 or bool. Elements that are not in row-major order are copied into it.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: no array can be made of a {type(value).__name__}: {error}") from error
    if not hasattr(value, "dtype") and array.dtype == np.float64:
        # Python has one type of numbers with a point; models rarely take 64 bits.
        array = array.astype(np.float32)
    little = array.dtype.newbyteorder("<")
    data_type = _DATA_TYPES.get(little)
    if data_type is None:
        known = ", ".join(dtype.name for dtype in _DATA_TYPES)
        raise InvalidInputError(f"{name}: elements of {array.dtype} cannot be sent, only {known}; see ndarray.astype")
    data = array.astype(little, copy=False).tobytes()
    return inference_pb2.Tensor(data_type=data_type, shape=array.shape, data=data)
