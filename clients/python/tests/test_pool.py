"""What a running service tells of itself. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import re

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from support import CALL_S, text_request, watch_until, workers

from webinfer.v1 import (
    capability_pb2,
    capability_pb2_grpc,
    execution_pb2,
    inference_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
)

SERVICES = {f"webinfer.v1.{name}Service" for name in ("Capability", "Inference", "Model", "Pool")}

Inference = inference_pb2_grpc.InferenceServiceStub
Capability = capability_pb2_grpc.CapabilityServiceStub
Pool = pool_pb2_grpc.PoolServiceStub


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
    watch_until(pool, minilm, lambda some: any(one.id == ran and one.batches_run > count for one in some))


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
