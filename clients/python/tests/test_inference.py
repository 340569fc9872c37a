"""Requests and streams, on a running service. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import time

import grpc
import pytest
from support import (
    CALL_S,
    MINILM,
    Q8_LIMIT,
    best_match,
    check_wasm_execution,
    cosine,
    failure,
    largest_difference,
    read_details,
    text_request,
)

from webinfer.v1 import execution_pb2, inference_pb2, inference_pb2_grpc

DIMENSIONS = 384

# What most sentences keep to; all keep to Q8_LIMIT.
Q8_USUAL = 1e-4
# The scale is taken over the batch: alone and in one, q8 gives vectors with a cosine of 0.985 and more.
Q8_BATCHED_COSINE = 0.96

Inference = inference_pb2_grpc.InferenceServiceStub


@pytest.fixture(scope="session")
def reference() -> tuple[list[str], list[list[float]]]:
    """Sentences and their q8 vectors."""
    content = MINILM.reference()
    return content["sentences"], content["q8"]


@pytest.fixture(scope="session")
def spread(reference: tuple[list[str], list[list[float]]]) -> tuple[list[str], list[list[float]]]:
    """Sentences without the empty one, whose vector depends most on its batch."""
    pairs = [(text, vector) for text, vector in zip(*reference, strict=True) if text]
    return [text for text, _ in pairs], [vector for _, vector in pairs]


def test_embeddings_agree_with_the_reference(
    inference: Inference, minilm: str, reference: tuple[list[str], list[list[float]]]
) -> None:
    sha256 = MINILM.sha256()
    differences = []
    for text, expected in zip(*reference, strict=True):
        answer = inference.Infer(text_request(minilm, text), timeout=CALL_S)
        assert len(answer.results) == 1
        assert len(answer.executions) == 1
        assert answer.results[0].execution == 0
        check_wasm_execution(answer.executions[0], "q8", sha256)
        assert answer.executions[0].batch_size == 1, "someone else uses the service"
        vector = answer.results[0].embedding.values
        assert len(vector) == DIMENSIONS
        differences.append(largest_difference(vector, expected))
        assert differences[-1] <= Q8_LIMIT, text
    usual = [difference for difference in differences if difference <= Q8_USUAL]
    assert len(usual) >= 0.75 * len(differences), differences


def test_many_items_come_back_in_order(
    inference: Inference, minilm: str, spread: tuple[list[str], list[list[float]]]
) -> None:
    texts, vectors = spread
    order = [*range(len(texts)), *range(0, len(texts), 3)]
    answer = inference.Infer(text_request(minilm, *(texts[index] for index in order)), timeout=CALL_S)
    found = [result.embedding.values for result in answer.results]
    assert [best_match(vector, vectors) for vector in found] == order
    for vector, index in zip(found, order, strict=True):
        assert cosine(vector, vectors[index]) >= Q8_BATCHED_COSINE
    used = {result.execution for result in answer.results}
    assert used == set(range(len(answer.executions)))
    for index, execution in enumerate(answer.executions):
        check_wasm_execution(execution, "q8", MINILM.sha256())
        ran = sum(result.execution == index for result in answer.results)
        # What shares the run of an identical item is not counted in the batch.
        assert execution.batch_size == ran or execution.origin == execution_pb2.ORIGIN_COALESCED


def test_a_long_text_is_cut(inference: Inference, minilm: str) -> None:
    long, longer = ("the cat sleeps on the warm windowsill " * times for times in (600, 900))
    vectors = [
        inference.Infer(text_request(minilm, text), timeout=CALL_S).results[0].embedding.values
        for text in (long, longer)
    ]
    assert largest_difference(*vectors) <= Q8_LIMIT


def test_hops_do_not_take_longer_than_the_call(inference: Inference, minilm: str) -> None:
    start = time.monotonic()
    answer = inference.Infer(text_request(minilm, "How long does this take?"), timeout=CALL_S)
    elapsed_us = (time.monotonic() - start) * 1e6
    times = answer.executions[0].timings
    hops = times.queue_us + times.bridge_us + times.preprocess_us + times.inference_us + times.postprocess_us
    assert 0 < hops <= elapsed_us


def test_a_stream_answers_every_request_by_its_id(
    inference: Inference, minilm: str, spread: tuple[list[str], list[list[float]]]
) -> None:
    texts, vectors = spread
    expected = {f"request-{index}": index % len(texts) for index in range(4 * len(texts))}
    requests = [
        inference_pb2.InferStreamRequest(request_id=request_id, request=text_request(minilm, texts[index]))
        for request_id, index in expected.items()
    ]
    answers = list(inference.InferStream(iter(requests), timeout=CALL_S))
    assert sorted(answer.request_id for answer in answers) == sorted(expected)
    for answer in answers:
        assert answer.WhichOneof("result") == "response", answer.error
        vector = answer.response.results[0].embedding.values
        assert best_match(vector, vectors) == expected[answer.request_id]
        assert cosine(vector, vectors[expected[answer.request_id]]) >= Q8_BATCHED_COSINE
        check_wasm_execution(answer.response.executions[0], "q8", MINILM.sha256())


def test_an_error_on_a_stream_leaves_the_others_alone(inference: Inference, minilm: str) -> None:
    requests = {
        "before": text_request(minilm, "a cat"),
        "unknown": text_request("no-such-model", "a cat"),
        "empty": text_request(minilm),
        "after": text_request(minilm, "a dog"),
    }
    stream = (
        inference_pb2.InferStreamRequest(request_id=request_id, request=request)
        for request_id, request in requests.items()
    )
    answers = {answer.request_id: answer for answer in inference.InferStream(stream, timeout=CALL_S)}
    assert set(answers) == set(requests)
    for request_id in ("before", "after"):
        assert len(answers[request_id].response.results[0].embedding.values) == DIMENSIONS
    for request_id, code in {
        "unknown": grpc.StatusCode.NOT_FOUND,
        "empty": grpc.StatusCode.INVALID_ARGUMENT,
    }.items():
        status = answers[request_id].error
        assert status.code == code.value[0]
        read_details(code, status).check(code)


def test_tensors_are_refused_by_a_text_model(inference: Inference, minilm: str) -> None:
    tensor = inference_pb2.Tensor(data_type=inference_pb2.DATA_TYPE_FLOAT32, shape=[1], data=bytes(4))
    items = [
        inference_pb2.Item(text="a cat"),
        inference_pb2.Item(tensors=inference_pb2.TensorMap(tensors={"x": tensor})),
    ]
    request = inference_pb2.InferRequest(model=minilm, items=items)
    failed = failure(lambda: inference.Infer(request, timeout=CALL_S))
    failed.check(grpc.StatusCode.INVALID_ARGUMENT)
    assert [field for field in failed.fields if field.startswith("items[1]")], failed.fields


def test_a_request_without_items_is_refused(inference: Inference, minilm: str) -> None:
    failed = failure(lambda: inference.Infer(text_request(minilm), timeout=CALL_S))
    failed.check(grpc.StatusCode.INVALID_ARGUMENT)
    assert failed.fields == ["items"]


def test_an_item_without_input_is_refused(inference: Inference, minilm: str) -> None:
    request = inference_pb2.InferRequest(model=minilm, items=[inference_pb2.Item()])
    failed = failure(lambda: inference.Infer(request, timeout=CALL_S))
    failed.check(grpc.StatusCode.INVALID_ARGUMENT)
    assert [field for field in failed.fields if field.startswith("items[0]")], failed.fields


def test_a_deadline_holds(inference: Inference, minilm: str) -> None:
    start = time.monotonic()
    failed = failure(lambda: inference.Infer(text_request(minilm, *["a cat sleeps"] * 32), timeout=0.001))
    assert failed.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 5
    answer = inference.Infer(text_request(minilm, "a cat"), timeout=CALL_S)
    assert len(answer.results) == 1


def test_a_caller_may_leave(inference: Inference, minilm: str) -> None:
    call = inference.Infer.future(text_request(minilm, *["a cat sleeps"] * 32), timeout=CALL_S)
    call.cancel()
    assert call.cancelled()
    answer = inference.Infer(text_request(minilm, "a cat"), timeout=CALL_S)
    assert len(answer.results) == 1
