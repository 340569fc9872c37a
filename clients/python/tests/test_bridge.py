"""The bridge's classes, with a running service that has tests/models, and with services of their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from fake_service import Fake, serving
from support import TINY_BERT, largest_difference

import webinfer
from webinfer.bridge import ResourcePoolBridge, ResourcePoolBridgeIntegration
from webinfer.service import Service
from webinfer.v1 import execution_pb2

MEDIA = Path(__file__).resolve().parents[3] / "tests/media"


def test_a_model_is_called_like_a_function(address: str) -> None:
    assert os.environ["WEBINFER_ADDRESS"] == address
    with ResourcePoolBridgeIntegration(
        max_connections=2, browser_preferences={"vision": "chrome"}, db_path="x"
    ) as pool:
        model = pool.get_model("text_embedding", "tiny-bert", {"priority_list": ["cpu"], "precision": 32})
        text, vector = (TINY_BERT.reference()[key][0] for key in ("sentences", "fp32"))
        result = model(text)
        assert result["success"], result
        assert largest_difference(result["output"], vector) < 1e-3
        assert (result["platform"], result["browser"], result["is_real_implementation"]) == ("wasm", "chrome", True)
        assert result["execution"].dtype == "fp32"
        assert 0 < result["inference_time"] < result["total_time"]
        assert model({"text": text})["output"].tolist() == result["output"].tolist()

        batch = model.run_batch(["a", "b"])
        assert [one["success"] for one in batch] == [True, True]
        stats = pool.get_execution_stats()
        assert (stats["executed_tasks"], stats["errors"], stats["total_model_loads"]) == (4, 0, 1)
        assert stats["model_execution_count"] == {"text_embedding:tiny-bert": 4}


def test_what_a_tokenizer_made_runs_on_the_graph_itself(address: str) -> None:
    with ResourcePoolBridgeIntegration(address=address) as pool:
        model = pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"]})
        inputs = {"input_ids": [2, 5, 6, 3], "attention_mask": [1, 1, 1, 1], "token_type_ids": [0, 0, 0, 0]}
        result = model(inputs)
        assert result["success"], result
        assert result["output"]["last_hidden_state"].shape == (1, 4, 32)


def test_models_run_at_once_and_errors_are_told(address: str) -> None:
    with ResourcePoolBridgeIntegration(address=address) as pool:
        text = pool.get_model("text", "tiny-bert")
        picture = pool.get_model("vision", "tiny-vit")
        results = pool.execute_concurrent(
            [(text, "a"), (picture.model_id, {"image": MEDIA / "shapes-32.png"}), (text, object()), ("nobody", "x")]
        )
        assert [one["success"] for one in results] == [True, True, False, False]
        assert results[1]["output"][0].label == "square"
        assert "no input" in results[2]["error"]
        assert results[3]["error_code"] == "NOT_FOUND"
        assert isinstance(results[3]["exception"], webinfer.NotFoundError)
        assert pool.get_execution_stats()["errors"] == 2


def test_what_cannot_be_loaded_is_raised(address: str) -> None:
    with ResourcePoolBridgeIntegration(address=address) as pool:
        with pytest.raises(webinfer.WebinferError):
            pool.get_model("text", "no-such-model")
        with pytest.raises(webinfer.InvalidInputError, match="3"):
            pool.get_model("text", "tiny-bert", {"precision": 3})
    with pytest.raises(webinfer.InvalidInputError):
        ResourcePoolBridgeIntegration(enable_gpu=False, enable_cpu=False)


def test_a_model_keeps_what_was_wished_of_it(address: str) -> None:
    with ResourcePoolBridgeIntegration(address=address) as pool:
        exact = pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"], "precision": 32})
        small = pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"], "precision": 8})
        with pytest.raises(webinfer.InvalidInputError):
            pool.get_model("text", "tiny-bert", {"precision": 3})
        assert [model("x")["execution"].dtype for model in (exact, small, exact)] == ["fp32", "q8", "fp32"]
        again = pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"], "precision": 32})
        assert again.model_id == exact.model_id == "text:tiny-bert"


def test_a_model_that_is_registered_anew_is_another(address: str) -> None:
    async def use() -> None:
        bridge = ResourcePoolBridge(address=address)
        for source, kind in ("tiny-bert", "embedding"), ("tiny-bert-sentiment", "labels"), ("tiny-bert", "embedding"):
            bridge.register_model({"model_id": "m", "model_name": source, "backend": "wasm"})
            assert (await bridge.load_model("m"))[0]
            result = await bridge.run_inference("m", "x")
            assert result["success"], result
            assert result["model_name"] == source
            assert isinstance(result["output"], np.ndarray) == (kind == "embedding")
        await bridge.close()

    asyncio.run(use())


def test_a_model_that_the_service_forgot_is_loaded_again(address: str) -> None:
    async def use() -> None:
        bridge = ResourcePoolBridge(address=address)
        bridge.register_model({"model_id": "forgotten", "model_name": "tiny-bert", "backend": "wasm"})
        _, name = await bridge.load_model("forgotten")
        async with webinfer.AsyncClient(address) as client:
            for forget in client.models.unload, client.models.unregister:
                await forget(name)
                result = await bridge.run_inference("forgotten", "x")
                assert result["success"], result
        await bridge.close()

    asyncio.run(use())


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def fake_address(fake: Fake) -> Iterator[str]:
    with serving(fake) as address:
        yield address


def test_ids_tell_models_apart_that_read_the_same(fake: Fake, fake_address: str) -> None:
    async def use() -> None:
        bridge = ResourcePoolBridge(address=fake_address)
        for model in "org/model", "org-model", "x" * 200, "模型":
            bridge.register_model({"model_id": model, "model_name": "tiny-bert"})
            assert await bridge.load_model(model) == (True, fake.loads[-1])
        await bridge.close()

    asyncio.run(use())
    assert len(set(fake.loads)) == 4
    for name in fake.loads:
        # As the service wants them.
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name)


def test_what_stays_forgotten_is_told(fake: Fake, fake_address: str) -> None:
    fake.infer = lambda request, context: context.abort(grpc.StatusCode.NOT_FOUND, "there is no such model")
    with ResourcePoolBridgeIntegration(address=fake_address) as pool:
        result = pool.get_model("text", "tiny-bert")("x")
        assert result["error_code"] == "NOT_FOUND"
    assert len(fake.loads) == 2


@pytest.mark.parametrize(
    ("gpu", "cpu", "wish", "sent"),
    [
        (True, True, {}, []),
        (True, True, {"priority_list": ["webgpu", "wasm", "cpu"]}, ["webgpu", "wasm"]),
        (True, True, {"priority_list": ["webnn", "webnn-cpu", "abacus"]}, ["webnn-cpu"]),
        (True, True, {"backend": "cpu"}, ["wasm"]),
        (True, False, {}, ["webgpu", "webnn-gpu", "webnn-npu"]),
        (True, False, {"platform": "abacus"}, ["webgpu", "webnn-gpu", "webnn-npu"]),
        (True, False, {"priority_list": ["cpu", "webgpu"]}, ["webgpu"]),
        (False, True, {}, ["wasm", "webnn-cpu"]),
        (False, True, {"backend": "webnn"}, ["webnn-cpu"]),
    ],
)
def test_backends_are_those_that_are_wished_for_and_on(
    fake: Fake, fake_address: str, gpu: bool, cpu: bool, wish: dict[str, object], sent: list[str]
) -> None:
    with ResourcePoolBridgeIntegration(enable_gpu=gpu, enable_cpu=cpu, address=fake_address) as pool:
        pool.get_model("text", "tiny-bert", wish)
    (spec,) = fake.models.values()
    assert [execution_pb2.Backend.Name(each).removeprefix("BACKEND_") for each in spec.backends] == [
        name.upper().replace("-", "_") for name in sent
    ]


@pytest.mark.parametrize(
    ("gpu", "cpu", "wish"), [(True, False, "cpu"), (True, False, "webnn"), (False, True, "webgpu")]
)
def test_a_wish_for_what_is_off_is_refused(fake: Fake, fake_address: str, gpu: bool, cpu: bool, wish: str) -> None:
    with (
        ResourcePoolBridgeIntegration(enable_gpu=gpu, enable_cpu=cpu, address=fake_address) as pool,
        pytest.raises(webinfer.InvalidInputError, match="off"),
    ):
        pool.get_model("text", "tiny-bert", {"priority_list": [wish]})
    assert fake.models == {}


def test_a_closed_pool_says_so_and_can_be_initialized_again(address: str) -> None:
    pool = ResourcePoolBridgeIntegration(address=address)
    pool.initialize()
    model = pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"]})
    pool.close()
    result = model("x")
    assert isinstance(result["exception"], webinfer.ClosedError), result
    with pytest.raises(webinfer.ClosedError):
        pool.get_model("text", "tiny-bert")
    pool.initialize()
    assert model("x")["success"]
    pool.close()


def test_all_of_it_can_be_awaited(address: str) -> None:
    async def use() -> None:
        pool = ResourcePoolBridgeIntegration(address=address)
        assert await pool.initialize()
        model = await pool.get_model(model_type="text", model_name="tiny-bert")
        assert (await model("x"))["success"]
        assert len(await pool.execute_concurrent([(model, "x")])) == 1
        await pool.close()

        bridge = ResourcePoolBridge(max_connections=1, browser="chrome", cleanup_interval=1, address=address)
        assert await bridge.initialize([{"model_id": "one", "model_name": "tiny-bert", "backend": "cpu"}])
        await bridge.register_model({"model_id": "two", "model_name": "no-such-model"})
        assert (await bridge.load_model("one"))[0]
        assert await bridge.load_model("two") == (False, None)
        results = await bridge.run_parallel([("one", "x"), ("one", {"text": "x"}), ("two", "x")])
        assert [one["success"] for one in results] == [True, True, False]
        assert np.array_equal(results[0]["output"], results[1]["output"])
        assert bridge.get_stats()["total_inferences"] == 2
        await bridge.close()

    asyncio.run(use())


def test_a_service_is_started_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBINFER_ADDRESS")
    monkeypatch.setenv("WEBINFER_MODELS", str(Path(__file__).resolve().parents[3] / "tests/models"))
    pool = ResourcePoolBridgeIntegration(max_connections=1, adaptive_scaling=False)
    assert pool.initialize()
    assert pool.get_model("text", "tiny-bert", {"priority_list": ["cpu"]})("x")["success"]
    pool.close()
    with pytest.raises(webinfer.UnavailableError, match="no-such-program"):
        Service(program="no-such-program")
    with pytest.raises(webinfer.UnavailableError, match="max-batch"):
        Service(["--max-batch=0"])


def test_a_service_says_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBINFER_MODELS", str(Path(__file__).resolve().parents[3] / "tests/models"))
    service = Service()
    with webinfer.Client(service.address) as client:
        assert json.dumps([model.id for model in client.models.list()])
    assert "gRPC on" in service.log()
    service.close()
    service.close()
