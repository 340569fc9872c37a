"""What the tests of a running service share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import pytest

from webinfer.v1 import (
    capability_pb2_grpc,
    inference_pb2_grpc,
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
