"""Large models for the quantiser: makes one of random weights, and tells in native ONNX Runtime what smaller ones are
off by.

    python large.py make FOLDER MEGABYTES
    python large.py compare FOLDER/onnx/model.onnx SMALLER...

The weights are a table that is looked up and a chain of products, as in a model of text; they lie in model.onnx_data
beside the graph, and are written one at a time, so that making one takes little memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

WIDTH, WIDER, WORDS = 2048, 8192, 50000


def make(folder: Path, megabytes: int) -> None:
    onnx_folder = folder / "onnx"
    onnx_folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    tensors, nodes = [], [helper.make_node("Gather", ["words", "input_ids"], ["x0"])]
    with (onnx_folder / "model.onnx_data").open("wb") as data:

        def weight(name: str, rows: int, columns: int, scale: float) -> None:
            tensor = TensorProto(name=name, dims=[rows, columns], data_type=TensorProto.FLOAT)
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": "model.onnx_data", "offset": data.tell(), "length": 4 * rows * columns}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
            (random.standard_normal((rows, columns), np.float32) * np.float32(scale)).tofile(data)
            tensors.append(tensor)

        weight("words", WORDS, WIDTH, 1)
        layer = 0
        while data.tell() < megabytes * 1_000_000:
            weight(f"up{layer}", WIDTH, WIDER, WIDTH**-0.5)
            weight(f"down{layer}", WIDER, WIDTH, WIDER**-0.5)
            nodes += [
                helper.make_node("MatMul", [f"x{layer}", f"up{layer}"], [f"wide{layer}"]),
                helper.make_node("Tanh", [f"wide{layer}"], [f"bent{layer}"]),
                helper.make_node("MatMul", [f"bent{layer}", f"down{layer}"], [f"back{layer}"]),
                helper.make_node("Add", [f"x{layer}", f"back{layer}"], [f"x{layer + 1}"]),
            ]
            layer += 1
    shape = ["batch_size", "sequence_length"]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info(f"x{layer}", TensorProto.FLOAT, [*shape, WIDTH])],
        tensors,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), onnx_folder / "model.onnx")


def outputs(path: Path) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(2).integers(0, WORDS, (1, 16))
    return session.run(None, {"input_ids": ids})[0].astype(np.float64).ravel()


def compare(source: Path, others: list[Path]) -> None:
    own = outputs(source)
    for path in others:
        other = outputs(path)
        error = 1 - own @ other / np.sqrt((own @ own) * (other @ other))
        beside = path.with_name(path.name + "_data")
        files = [file for file in (path, beside) if file.exists()]
        sizes = ", ".join(f"{file.name} {file.stat().st_size}" for file in files)
        print(f"{sizes}: off by {error:.6f}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        compare(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
