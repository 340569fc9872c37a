"""A running service, through its public API. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from support import (
    CALL_S,
    LOAD_S,
    MINILM,
    best_match,
    check_wasm_execution,
    cosine,
    eventually,
    failure,
    largest_difference,
    load,
    read_details,
    registered,
    text_request,
)

from webinfer.v1 import (
    capability_pb2,
    capability_pb2_grpc,
    execution_pb2,
    inference_pb2,
    inference_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
)

MODEL = "all-MiniLM-L6-v2"
COPY = "python-test.copy"
DIMENSIONS = 384
CLIENT = Path(__file__).resolve().parents[1]
SERVICES = {f"webinfer.v1.{name}Service" for name in ("Capability", "Inference", "Model", "Pool")}

# One rounding of an activation that goes the other way moves a component by some 0.002; fp32 in place of q8, or another
# sentence, moves one by 0.015 and more.
Q8_LIMIT = 5e-3
# What all but such sentences keep to.
Q8_USUAL = 1e-4
# The scale is taken over the batch: alone and in one, q8 gives vectors with a cosine of 0.985 and more.
Q8_BATCHED_COSINE = 0.96

Models = model_pb2_grpc.ModelServiceStub
Inference = inference_pb2_grpc.InferenceServiceStub
Capability = capability_pb2_grpc.CapabilityServiceStub
Pool = pool_pb2_grpc.PoolServiceStub


@pytest.fixture(scope="session")
def minilm(models: Models) -> str:
    """Id of the model, loaded."""
    try:
        models.Get(model_pb2.ModelServiceGetRequest(id=MODEL), timeout=CALL_S)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        models.Register(model_pb2.RegisterRequest(spec=model_pb2.ModelSpec(id=MODEL)), timeout=CALL_S)
    assert load(models, MODEL)[-1].phase == model_pb2.LOAD_PHASE_READY
    return MODEL


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


def get(models: Models, model: str) -> model_pb2.Model:
    return models.Get(model_pb2.ModelServiceGetRequest(id=model), timeout=CALL_S).model


def workers(pool: Pool, model: str) -> list[pool_pb2.Worker]:
    browsers = pool.Get(pool_pb2.PoolServiceGetRequest(), timeout=CALL_S).pool.browsers
    return [worker for browser in browsers for worker in browser.workers if worker.model == model]


# Inference


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


# Models


def test_a_model_through_its_life(models: Models, inference: Inference, pool: Pool) -> None:
    spec = model_pb2.ModelSpec(id=COPY, source=MODEL, dtype="q8", replicas=1, threads=1)
    with registered(models, spec) as model:
        assert model.state == model_pb2.MODEL_STATE_REGISTERED
        assert model.ready_replicas == 0
        assert model.spec.task == "feature-extraction"
        assert model.spec.backend == execution_pb2.BACKEND_WASM
        assert model.spec.pooling == model_pb2.POOLING_MEAN
        assert "q8" in model.available_dtypes
        assert model.bytes == MINILM.bytes()
        assert models.Register(model_pb2.RegisterRequest(spec=spec), timeout=CALL_S).model.spec == model.spec

        check_load_steps(load(models, COPY))
        loaded = get(models, COPY)
        assert loaded.state == model_pb2.MODEL_STATE_READY
        assert loaded.ready_replicas == 1
        assert loaded.sha256 == MINILM.sha256()
        assert loaded.error == ""
        (worker,) = workers(pool, COPY)

        answer = inference.Infer(text_request(COPY, "a cat"), timeout=CALL_S)
        assert answer.executions[0].worker_id == worker.id
        assert answer.executions[0].threads == 1

        again = load(models, COPY)
        assert [step.phase for step in again][-1] == model_pb2.LOAD_PHASE_READY
        assert [one.id for one in workers(pool, COPY)] == [worker.id], "loading a loaded model does nothing"

        assert models.Unload(model_pb2.UnloadRequest(id=COPY), timeout=CALL_S).ended_replicas == 1
        unloaded = get(models, COPY)
        assert unloaded.state == model_pb2.MODEL_STATE_REGISTERED
        assert unloaded.ready_replicas == 0
        failed = failure(lambda: inference.Infer(text_request(COPY, "a cat"), timeout=CALL_S))
        failed.check(grpc.StatusCode.FAILED_PRECONDITION)

        models.Unregister(model_pb2.UnregisterRequest(id=COPY), timeout=CALL_S)
        gone = failure(lambda: get(models, COPY))
        gone.check(grpc.StatusCode.NOT_FOUND)
        eventually(lambda: not workers(pool, COPY))


def check_load_steps(steps: list[model_pb2.LoadResponse]) -> None:
    last = steps[-1]
    assert last.phase == model_pb2.LOAD_PHASE_READY
    assert (last.ready_replicas, last.replicas) == (1, 1)
    assert last.loaded_bytes == last.total_bytes == MINILM.bytes()
    phases = [step.phase for step in steps]
    assert phases == sorted(phases)
    assert phases.count(model_pb2.LOAD_PHASE_READY) == 1
    assert model_pb2.LOAD_PHASE_FILES in phases
    for earlier, later in itertools.pairwise(steps):
        assert earlier.elapsed_ms <= later.elapsed_ms
        assert earlier.loaded_bytes <= later.loaded_bytes <= last.total_bytes
    named = {step.file for step in steps if step.phase == model_pb2.LOAD_PHASE_FILES}
    assert named & set(MINILM.files())
    assert named <= {"", *MINILM.files()}
    assert all(step.file == "" for step in steps if step.phase != model_pb2.LOAD_PHASE_FILES)


def test_a_load_goes_on_when_the_caller_leaves(models: Models) -> None:
    with registered(models, model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=1)):
        call = models.Load(model_pb2.LoadRequest(id=COPY), timeout=LOAD_S)
        next(call)
        call.cancel()
        end = time.monotonic() + LOAD_S
        while get(models, COPY).state != model_pb2.MODEL_STATE_READY:
            assert time.monotonic() < end
            assert get(models, COPY).state != model_pb2.MODEL_STATE_FAILED
            time.sleep(0.1)


def test_a_vector_is_not_scaled_where_that_is_wished(models: Models, inference: Inference) -> None:
    spec = model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=1, unnormalized=True)
    with registered(models, spec):
        load(models, COPY)
        sentences, vectors = (MINILM.reference()[key] for key in ("sentences", "q8"))
        answer = inference.Infer(text_request(COPY, sentences[0]), timeout=CALL_S)
        vector = answer.results[0].embedding.values
        length = sum(value * value for value in vector) ** 0.5
        assert abs(length - 1) > 0.01
        assert largest_difference([value / length for value in vector], vectors[0]) <= Q8_LIMIT


def test_models_are_listed_in_order(models: Models, minilm: str) -> None:
    with registered(models, model_pb2.ModelSpec(id=COPY, source=MODEL)):
        listed = models.List(model_pb2.ModelServiceListRequest(), timeout=CALL_S).models
    ids = [model.spec.id for model in listed]
    assert ids == sorted(ids)
    assert {COPY, minilm} <= set(ids)
    (known,) = (model for model in listed if model.spec.id == minilm)
    assert known.spec == get(models, minilm).spec
    assert known.state == model_pb2.MODEL_STATE_READY
    # Models that name no number share the workers.
    assert 1 <= known.ready_replicas <= known.spec.replicas
    assert known.sha256 == MINILM.sha256()


# Errors


def test_an_unknown_model_is_not_found(models: Models, inference: Inference) -> None:
    unknown = "no-such-model"
    calls = [
        lambda: inference.Infer(text_request(unknown, "a cat"), timeout=CALL_S),
        lambda: load(models, unknown),
        lambda: models.Unload(model_pb2.UnloadRequest(id=unknown), timeout=CALL_S),
        lambda: models.Unregister(model_pb2.UnregisterRequest(id=unknown), timeout=CALL_S),
        lambda: get(models, unknown),
    ]
    for call in calls:
        failed = failure(call)
        failed.check(grpc.StatusCode.NOT_FOUND)
        assert failed.info.reason == "MODEL_NOT_FOUND"
        assert unknown in failed.message


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


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.id", model_pb2.ModelSpec(id="../up", source=MODEL)),
        ("spec.id", model_pb2.ModelSpec(source=MODEL)),
        ("spec.source", model_pb2.ModelSpec(id=COPY, source="no-such-folder")),
        ("spec.source", model_pb2.ModelSpec(id=COPY, source="../..")),
        ("spec.task", model_pb2.ModelSpec(id=COPY, source=MODEL, task="no-such-task")),
        ("spec.dtype", model_pb2.ModelSpec(id=COPY, source=MODEL, dtype="fp64")),
        ("spec.replicas", model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=65)),
        ("spec.threads", model_pb2.ModelSpec(id=COPY, source=MODEL, threads=65)),
    ],
)
def test_a_wrong_registration_names_its_field(models: Models, field: str, spec: model_pb2.ModelSpec) -> None:
    failed = failure(lambda: models.Register(model_pb2.RegisterRequest(spec=spec), timeout=CALL_S))
    failed.check(grpc.StatusCode.INVALID_ARGUMENT)
    assert failed.fields == [field]


def test_an_id_stands_for_one_thing(models: Models) -> None:
    with registered(models, model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=1)):
        other = model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=2)
        failed = failure(lambda: models.Register(model_pb2.RegisterRequest(spec=other), timeout=CALL_S))
        failed.check(grpc.StatusCode.ALREADY_EXISTS)
        assert get(models, COPY).spec.replicas == 1


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


# Capabilities, pool, health, reflection


@pytest.mark.usefixtures("minilm")
def test_capabilities(capability: Capability, pool: Pool) -> None:
    answer = capability.Detect(capability_pb2.DetectRequest(), timeout=CALL_S)
    assert re.match(r"\d+\.\d+", answer.service_version)
    for field, limit in answer.limits.ListFields():
        assert limit > 0, field.name
    assert {field.name for field, _ in answer.limits.ListFields()} == set(answer.limits.DESCRIPTOR.fields_by_name)

    in_pool = {
        browser.id: browser for browser in pool.Get(pool_pb2.PoolServiceGetRequest(), timeout=CALL_S).pool.browsers
    }
    ids = [browser.browser_id for browser in answer.browsers]
    assert ids
    assert ids == sorted(set(ids) & set(in_pool))
    for browser in answer.browsers:
        assert browser.product == in_pool[browser.browser_id].product != ""
        assert browser.version == in_pool[browser.browser_id].version != ""
        assert browser.user_agent.startswith("Mozilla/")
        assert browser.hardware_concurrency >= 1
        assert browser.wasm_simd
        assert browser.cross_origin_isolated or not browser.wasm_threads
        assert browser.webgpu.available == (browser.webgpu.unavailable_reason == "")
        assert browser.webgpu.available == bool(browser.webgpu.limits)
        for context in browser.webnn:
            assert context.device_type in {"cpu", "gpu", "npu"}
            assert context.available == (context.unavailable_reason == "")


def test_the_pool_shows_the_replicas_and_counts_their_batches(pool: Pool, inference: Inference, minilm: str) -> None:
    browsers = pool.Get(pool_pb2.PoolServiceGetRequest(), timeout=CALL_S).pool.browsers
    ids = [browser.id for browser in browsers]
    assert ids == sorted(set(ids))
    assert any(browser.state == pool_pb2.BROWSER_STATE_READY for browser in browsers)
    for browser in browsers:
        assert browser.reason == "" or browser.state != pool_pb2.BROWSER_STATE_READY
        assert browser.memory_kind in {"pss", "rss"} or browser.memory_bytes == 0

    # One that an earlier test's model gave way to may still load.
    before = [worker for worker in workers(pool, minilm) if worker.state == pool_pb2.WORKER_STATE_READY]
    assert before
    for worker in before:
        assert worker.backend == execution_pb2.BACKEND_WASM
        assert worker.dtype == "q8"
        assert worker.threads >= 1
    ran = inference.Infer(text_request(minilm, "a cat"), timeout=CALL_S).executions[0].worker_id
    count = sum(worker.batches_run for worker in before if worker.id == ran)
    # A call that an earlier test left may still count as well.
    eventually(lambda: any(one.id == ran and one.batches_run > count for one in workers(pool, minilm)))


def test_the_service_is_healthy(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_service_describes_itself(channel: grpc.Channel) -> None:
    # The messages of v1 are those of v1alpha; only the name of the service differs.
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    requests += [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in sorted(SERVICES)]
    listed, *files = reflect(iter(requests), timeout=CALL_S)
    names = {service.name for service in listed.list_services_response.service}
    assert names >= SERVICES
    assert not [name for name in names if name.startswith("webinfer.bridge.")]
    found = set()
    for file in files:
        for content in file.file_descriptor_response.file_descriptor_proto:
            descriptor = descriptor_pb2.FileDescriptorProto.FromString(content)
            found |= {f"{descriptor.package}.{service.name}" for service in descriptor.service}
    assert found >= SERVICES


# The examples


def test_the_example_of_the_readme_runs(address: str, minilm: str, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert minilm in block
    assert "localhost:50051" in block
    exec(compile(block.replace("localhost:50051", address), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "LOAD_PHASE_READY" in said
    assert "BACKEND_WASM" in said


@pytest.mark.usefixtures("minilm")
def test_the_example_runs(address: str) -> None:
    texts = ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."]
    command = [sys.executable, CLIENT / "examples/embed.py", "--address", address, *texts]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LOAD_S)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ +(-?\d\.\d{3}) +(-?\d\.\d{3}) +(-?\d\.\d{3})   (.+)$", done.stdout, re.MULTILINE)
    assert [row[3] for row in rows] == texts
    table = [[float(value) for value in row[:3]] for row in rows]
    assert [table[index][index] for index in range(3)] == [1.0, 1.0, 1.0]
    assert table[0][1] > statistics.fmean([table[0][2], table[1][2]])
    assert MINILM.sha256() in done.stdout
