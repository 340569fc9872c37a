"""PyTorch: a module that runs in browsers. Needs the extra: `pip install 'webinfer[torch]'`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .client import Client
from .errors import InvalidInputError


class RemoteModule(torch.nn.Module):
    """A model of the task "tensor", as a module.

        scores = RemoteModule(client, "classifier", inputs=["x"], outputs=["scores"])(x)

    Inputs may be on any device; outputs are on that of the first one. They are float32, float16, int64, int32, int8,
    uint8 or bool, of the shapes that the graph has. Nothing can be learned through it: outputs carry no gradient, and
    an input that asks for one is refused unless gradients are off.

    Args:
        client: The service's client. The module does not close it.
        model: Id of a loaded model.
        inputs: Names of the graph's inputs, in the order of the module's arguments.
        outputs: Names of the graph's outputs that it returns; one is returned as a tensor, several as a tuple.

    Raises:
        WebinferError: On a call that fails.
    """

    def __init__(self, client: Client, model: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        if not inputs or not outputs:
            raise InvalidInputError("inputs and outputs must name one tensor each at least")
        self.client = client
        self.model = model
        self.inputs = list(inputs)
        self.outputs = list(outputs)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Runs the model on tensors."""
        if len(tensors) != len(self.inputs):
            raise InvalidInputError(f"{self.model} takes {self.inputs}, not {len(tensors)} tensors")
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise InvalidInputError(
                "no gradient can come back from a browser: detach the inputs, or call it under torch.no_grad()"
            )
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in zip(self.inputs, tensors, strict=True)}
        made = self.client.infer(self.model, arrays)[0].tensors
        missing = [name for name in self.outputs if name not in made]
        if missing:
            raise InvalidInputError(f"{self.model} has no output {missing[0]!r}, only {', '.join(made)}")
        # A tensor of PyTorch can be written to, a view of an answer cannot.
        outputs = tuple(torch.from_numpy(made[name].copy()).to(tensors[0].device) for name in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"{self.model}: {', '.join(self.inputs)} -> {', '.join(self.outputs)}"
