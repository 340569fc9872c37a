"""A running service with the models of tests/models in its models folder. WEBINFER_ADDRESS names it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import grpc
import pytest
from support import CALL_S, TINY_BERT, check_wasm_execution, failure, largest_difference, load, registered, text_request

from webinfer.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc

Models = model_pb2_grpc.ModelServiceStub
Inference = inference_pb2_grpc.InferenceServiceStub
FLOAT32 = inference_pb2.DATA_TYPE_FLOAT32
INT64 = inference_pb2.DATA_TYPE_INT64
FORMATS = {FLOAT32: "f", INT64: "q"}


def tensor(data_type: int, shape: Sequence[int], values: Sequence[float]) -> inference_pb2.Tensor:
    data = struct.pack(f"<{len(values)}{FORMATS[data_type]}", *values)
    return inference_pb2.Tensor(data_type=data_type, shape=shape, data=data)


def values(tensor: inference_pb2.Tensor) -> list[float]:
    count = len(tensor.data) // struct.calcsize(f"<{FORMATS[tensor.data_type]}")
    return list(struct.unpack(f"<{count}{FORMATS[tensor.data_type]}", tensor.data))


def request(model: str, *items: dict[str, inference_pb2.Tensor]) -> inference_pb2.InferRequest:
    return inference_pb2.InferRequest(
        model=model,
        items=[inference_pb2.Item(tensors=inference_pb2.TensorMap(tensors=item)) for item in items],
    )


@pytest.mark.parametrize("content", [[], [1.5], [float(value) for value in range(300_000)]])
def test_a_tensor_comes_back_as_it_went(models: Models, inference: Inference, content: list[float]) -> None:
    with registered(models, model_pb2.ModelSpec(id="python-test.identity", source="identity", replicas=1)) as model:
        assert model.spec.task == "tensor"
        load(models, model.spec.id)
        sent = tensor(FLOAT32, [len(content)], content)
        answer = inference.Infer(request(model.spec.id, {"x": sent}), timeout=CALL_S)
        (result,) = answer.results
        assert dict(result.tensors.tensors) == {"y": sent}


def test_types_and_names_are_kept(models: Models, inference: Inference) -> None:
    with registered(models, model_pb2.ModelSpec(id="python-test.add", source="add", replicas=1)) as model:
        load(models, model.spec.id)
        items = [
            {
                "a": tensor(FLOAT32, [rows, 4], [0.5 * number for number in range(4 * rows)]),
                "b": tensor(INT64, [rows, 4], [10 * number for number in range(4 * rows)]),
            }
            for rows in (1, 3)
        ]
        answer = inference.Infer(request(model.spec.id, *items), timeout=CALL_S)
        for rows, result in zip((1, 3), answer.results, strict=True):
            found = result.tensors.tensors
            assert set(found) == {"sum", "shape"}
            assert found["sum"].data_type == FLOAT32
            assert list(found["sum"].shape) == [rows, 4]
            assert values(found["sum"]) == [10.5 * number for number in range(4 * rows)]
            assert found["shape"] == tensor(INT64, [2], [rows, 4])


def test_wrong_tensors_are_refused(models: Models, inference: Inference) -> None:
    with registered(models, model_pb2.ModelSpec(id="python-test.identity", source="identity", replicas=1)) as model:
        load(models, model.spec.id)
        good = tensor(FLOAT32, [2], [1, 2])
        wrong = [
            {"x": inference_pb2.Tensor(data_type=FLOAT32, shape=[3], data=bytes(8))},
            {"x": inference_pb2.Tensor(data_type=FLOAT32, shape=[-2], data=bytes(8))},
            {"x": inference_pb2.Tensor(data_type=FLOAT32, shape=[2**62, 4], data=bytes(8))},
            {"x": inference_pb2.Tensor(data_type=FLOAT32, shape=[1] * 9, data=bytes(4))},
            {"x": inference_pb2.Tensor(shape=[2], data=bytes(8))},
            {"x": tensor(INT64, [2], [1, 2])},
            {"x": tensor(FLOAT32, [1, 2], [1, 2])},
            {"z": good},
            {},
        ]
        for item in wrong:
            failed = failure(lambda item=item: inference.Infer(request(model.spec.id, item), timeout=CALL_S))
            failed.check(grpc.StatusCode.INVALID_ARGUMENT)
        failed = failure(lambda: inference.Infer(text_request(model.spec.id, "a cat"), timeout=CALL_S))
        failed.check(grpc.StatusCode.INVALID_ARGUMENT)
        assert [field for field in failed.fields if field.startswith("items[0]")], failed.fields
        answer = inference.Infer(request(model.spec.id, {"x": good}), timeout=CALL_S)
        assert answer.results[0].tensors.tensors["y"] == good


@pytest.mark.parametrize("dtype", ["fp32", "q8"])
def test_the_tiny_text_model_agrees_with_its_reference(models: Models, inference: Inference, dtype: str) -> None:
    spec = model_pb2.ModelSpec(id="python-test.tiny-bert", source="tiny-bert", dtype=dtype, replicas=1)
    with registered(models, spec):
        load(models, spec.id)
        sha256 = models.Get(model_pb2.ModelServiceGetRequest(id=spec.id), timeout=CALL_S).model.sha256
        if dtype == "q8":
            assert sha256 == TINY_BERT.sha256()
        reference = TINY_BERT.reference()
        for text, expected in zip(reference["sentences"], reference[dtype], strict=True):
            answer = inference.Infer(text_request(spec.id, text), timeout=CALL_S)
            check_wasm_execution(answer.executions[0], dtype, sha256)
            difference = largest_difference(answer.results[0].embedding.values, expected)
            assert difference <= (1e-5 if dtype == "fp32" else 5e-3), text
