"""Models of a running service. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import itertools

import grpc
import pytest
from support import (
    CALL_S,
    LOAD_S,
    MINILM,
    MODEL,
    Q8_LIMIT,
    failure,
    get,
    largest_difference,
    load,
    registered,
    text_request,
    watch_until,
    workers,
)

from webinfer.v1 import execution_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc, pool_pb2, pool_pb2_grpc

COPY = "python-test.copy"

Models = model_pb2_grpc.ModelServiceStub
Inference = inference_pb2_grpc.InferenceServiceStub
Pool = pool_pb2_grpc.PoolServiceStub


def test_a_model_through_its_life(models: Models, inference: Inference, pool: Pool) -> None:
    spec = model_pb2.ModelSpec(id=COPY, source=MODEL, dtype="q8", replicas=1, threads=1)
    with registered(models, spec) as model:
        assert model.state == model_pb2.MODEL_STATE_REGISTERED
        assert model.ready_replicas == 0
        assert model.spec.task == "feature-extraction"
        assert model.spec.backends == [execution_pb2.BACKEND_WASM]
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
        watch_until(pool, COPY, lambda left: not left)


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


def test_a_load_goes_on_when_the_caller_leaves(models: Models, pool: Pool) -> None:
    with registered(models, model_pb2.ModelSpec(id=COPY, source=MODEL, replicas=1)):
        call = models.Load(model_pb2.LoadRequest(id=COPY), timeout=LOAD_S)
        next(call)
        call.cancel()
        watch_until(pool, COPY, lambda some: any(one.state == pool_pb2.WORKER_STATE_READY for one in some), LOAD_S)
        assert get(models, COPY).state == model_pb2.MODEL_STATE_READY


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
