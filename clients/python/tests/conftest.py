"""What the tests of a running service share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import pytest
from support import CALL_S, MODEL, get, load

from webinfer.v1 import (
    capability_pb2_grpc,
    inference_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    pool_pb2_grpc,
)

CONNECT_S = 30


@pytest.fixture(scope="session")
def address() -> str:
    """Where the service listens."""
    value = os.environ.get("WEBINFER_ADDRESS")
    if not value:
        pytest.fail("WEBINFER_ADDRESS is not set; it names the running service to test, e.g. localhost:50051")
    return value


@pytest.fixture(scope="session")
def channel(address: str) -> Iterator[grpc.Channel]:
    """A channel to the service, connected."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_S)
        yield channel


@pytest.fixture(scope="session")
def models(channel: grpc.Channel) -> model_pb2_grpc.ModelServiceStub:
    """ModelService."""
    return model_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="session")
def inference(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    """InferenceService."""
    return inference_pb2_grpc.InferenceServiceStub(channel)


@pytest.fixture(scope="session")
def capability(channel: grpc.Channel) -> capability_pb2_grpc.CapabilityServiceStub:
    """CapabilityService."""
    return capability_pb2_grpc.CapabilityServiceStub(channel)


@pytest.fixture(scope="session")
def pool(channel: grpc.Channel) -> pool_pb2_grpc.PoolServiceStub:
    """PoolService."""
    return pool_pb2_grpc.PoolServiceStub(channel)


@pytest.fixture(scope="session")
def minilm(models: model_pb2_grpc.ModelServiceStub) -> str:
    """Id of the model, loaded."""
    try:
        get(models, MODEL)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        models.Register(model_pb2.RegisterRequest(spec=model_pb2.ModelSpec(id=MODEL)), timeout=CALL_S)
    assert load(models, MODEL)[-1].phase == model_pb2.LOAD_PHASE_READY
    return MODEL
