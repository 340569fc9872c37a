"""Modules and layers of PyTorch and Keras, with a running service that has tests/models."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
import torch

import webinfer
from webinfer.tensorflow import RemoteLayer
from webinfer.torch import RemoteModule

A = np.arange(8, dtype=np.float32).reshape(2, 4)
B = np.arange(8, dtype=np.int64).reshape(2, 4)[::-1]
SHAPES = {"sum": ([None, 4], "float32"), "shape": ([2], "int64")}


@pytest.fixture(scope="module")
def client() -> Iterator[webinfer.Client]:
    with webinfer.Client(os.environ["WEBINFER_ADDRESS"]) as client:
        client.models.register("frameworks.add", "add")
        client.models.load("frameworks.add")
        yield client
        client.models.unregister("frameworks.add")


def test_a_module_is_a_part_of_others(client: webinfer.Client) -> None:
    module = RemoteModule(client, "frameworks.add", inputs=["a", "b"], outputs=["sum"])
    total = module(torch.from_numpy(A), torch.from_numpy(B.copy()))
    assert torch.equal(total, torch.from_numpy(A + B))
    total += 1
    # Not in row-major order.
    assert torch.equal(module(torch.from_numpy(A.T.copy()).T, torch.from_numpy(B.copy())), torch.from_numpy(A + B))
    assert "frameworks.add: a, b -> sum" in str(torch.nn.Sequential(module))
    assert list(module.parameters()) == []


def test_a_module_gives_several_outputs_and_refuses_what_it_cannot_do(client: webinfer.Client) -> None:
    a, b = torch.from_numpy(A), torch.from_numpy(B.copy())
    total, shape = RemoteModule(client, "frameworks.add", inputs=["a", "b"], outputs=["sum", "shape"])(a, b)
    assert (total.shape, shape.tolist()) == ((2, 4), [2, 4])
    module = RemoteModule(client, "frameworks.add", inputs=["a", "b"], outputs=["sum"])
    learning = a.clone().requires_grad_()
    with pytest.raises(webinfer.InvalidInputError, match="gradient"):
        module(learning, b)
    with torch.no_grad():
        assert not module(learning, b).requires_grad
    for wrong in ((a,), (a.double(), b), (a, b.int())):
        with pytest.raises(webinfer.InvalidInputError):
            module(*wrong)
    with pytest.raises(webinfer.InvalidInputError, match="nothing"):
        RemoteModule(client, "frameworks.add", inputs=["a", "b"], outputs=["nothing"])(a, b)
    with pytest.raises(webinfer.InvalidInputError):
        RemoteModule(client, "frameworks.add", inputs=[], outputs=["sum"])


def test_a_layer_runs_eagerly_and_in_graphs(client: webinfer.Client) -> None:
    layer = RemoteLayer(client, "frameworks.add", inputs=["a", "b"], outputs=SHAPES)
    for call in (layer, tf.function(layer)):
        total, shape = call(tf.constant(A), tf.constant(B))
        assert np.array_equal(total, A + B)
        assert shape.numpy().tolist() == [2, 4]


def test_a_layer_is_a_part_of_a_model(client: webinfer.Client) -> None:
    layer = RemoteLayer(client, "frameworks.add", inputs=["a", "b"], outputs={"sum": SHAPES["sum"]})
    a = tf.keras.Input((4,), dtype="float32")
    b = tf.keras.Input((4,), dtype="int64")
    model = tf.keras.Model([a, b], layer(a, b) * 2)
    assert model.output_shape == (None, 4)
    assert np.array_equal(model.predict([A, B], verbose=0), (A + B) * 2)


def test_a_layer_sends_tensors_in_their_own_types(client: webinfer.Client) -> None:
    client.models.register("frameworks.types", "types")
    client.models.load("frameworks.types")
    try:
        given = {
            "float": tf.constant([1.5]),
            "float16": tf.constant([1.5], tf.float16),
            **{name: tf.constant([1], name) for name in ("int64", "int32", "int8", "uint8")},
            "bool": tf.constant([True]),
        }
        outputs = {f"{name}_too": ([1], tensor.dtype.name) for name, tensor in given.items()}
        layer = RemoteLayer(client, "frameworks.types", inputs=list(given), outputs=outputs)
        for call in (layer, tf.function(layer)):
            for tensor, back in zip(given.values(), call(*given.values()), strict=True):
                assert (back.dtype, back.numpy()) == (tensor.dtype, tensor.numpy())
        with pytest.raises(webinfer.InvalidInputError, match="float64"):
            RemoteLayer(client, "frameworks.add", inputs=["a", "b"], outputs=SHAPES)(tf.constant(A, tf.float64), B)
    finally:
        client.models.unregister("frameworks.types")


def test_a_layer_refuses_what_it_cannot_do(client: webinfer.Client) -> None:
    layer = RemoteLayer(client, "frameworks.add", inputs=["a", "b"], outputs={"sum": SHAPES["sum"]})
    for wrong in ((tf.constant(A),), (tf.constant(A[:, :3]), tf.constant(B))):
        with pytest.raises(webinfer.InvalidInputError):
            layer(*wrong)
    with pytest.raises(webinfer.InvalidInputError):
        RemoteLayer(client, "frameworks.add", inputs=["a"], outputs={})
