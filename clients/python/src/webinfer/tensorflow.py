"""TensorFlow: a Keras layer that runs in browsers. Needs the extra: `pip install 'webinfer[tensorflow]'`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .client import Client
from .errors import InvalidInputError


class RemoteLayer(keras.layers.Layer):
    """A model of the task "tensor", as a layer.

        scores = RemoteLayer(client, "classifier", inputs=["x"], outputs={"scores": ([None, 10], "float32")})(x)

    It works eagerly and in graphs (`tf.function`, `Model.predict`), where it is a call back into Python. Nothing can be
    learned through it: its outputs carry no gradient.

    Args:
        client: The service's client. The layer does not close it, and cannot be saved.
        model: Id of a loaded model.
        inputs: Names of the graph's inputs, in the order of the layer's arguments.
        outputs: Names of the graph's outputs that it returns, with shape (None where it varies) and type; one is
            returned as a tensor, several as a tuple.

    Raises:
        WebinferError: On a call that fails. Inside of a graph TensorFlow wraps it into an error of its own.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        *,
        inputs: Sequence[str],
        outputs: Mapping[str, tuple[Sequence[int | None], str]],
        **settings: Any,
    ) -> None:
        # Keras would make all floats the layer's own type, and the graph gets another than it was given.
        super().__init__(trainable=False, **{"autocast": False, **settings})
        if not inputs or not outputs:
            raise InvalidInputError("inputs and outputs must name one tensor each at least")
        self.client = client
        self.model = model
        self.inputs = list(inputs)
        self.outputs = dict(outputs)

    def call(self, *tensors: Any) -> Any:
        """Runs the model on tensors."""
        if len(tensors) != len(self.inputs):
            raise InvalidInputError(f"{self.model} takes {self.inputs}, not {len(tensors)} tensors")
        if tf.executing_eagerly():
            outputs = [tf.convert_to_tensor(array) for array in self._run(*tensors)]
        else:
            types = [tf.as_dtype(dtype) for _, dtype in self.outputs.values()]
            outputs = tf.numpy_function(self._run, tensors, types, stateful=False)
        for output, (shape, _) in zip(outputs, self.outputs.values(), strict=True):
            output.set_shape(shape)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def compute_output_spec(self, *_: Any) -> Any:
        """Shapes and types of its outputs."""
        specs = tuple(keras.KerasTensor(shape, dtype) for shape, dtype in self.outputs.values())
        return specs[0] if len(specs) == 1 else specs

    def _run(self, *tensors: Any) -> list[np.ndarray]:
        arrays = {name: np.asarray(tensor) for name, tensor in zip(self.inputs, tensors, strict=True)}
        made = self.client.infer(self.model, arrays)[0].tensors
        missing = [name for name in self.outputs if name not in made]
        if missing:
            raise InvalidInputError(f"{self.model} has no output {missing[0]!r}, only {', '.join(made)}")
        return [made[name] for name in self.outputs]
