"""What `webinfer models optimize` writes, in native ONNX Runtime: each graph of the tests' models loads, and computes
what the one that it was made of does, for batches of several shapes and with masks.

    python check.py WEBINFER
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

MODELS = Path(__file__).parent.parent / "models"

# What an output may be off by, against the largest of its values.
LIMIT, LIMIT_IN_HALF = 1e-4, 5e-2
# How graphs are named that are not in 32-bit floats.
SMALLER = ("_quantized", "_fp16", "_q4")
# Items and tokens of each batch.
BATCHES = [(1, 7), (3, 24), (2, 33)]


def feed(session: onnxruntime.InferenceSession, batch: int, tokens: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1000 * batch + tokens)
    values = {}
    for value in session.get_inputs():
        name = value.name
        shape = [size(name, dim, batch, tokens) for dim in value.shape]
        if value.type == "tensor(bool)":
            values[name] = np.zeros(shape, bool)
        elif value.type == "tensor(int64)":
            if "mask" in name:
                values[name] = np.ones(shape, np.int64)
                if len(shape) == 2:
                    # Padding, as items of different lengths have it.
                    values[name][-1, shape[1] // 2 :] = 0
            elif "type" in name:
                values[name] = random.integers(0, 2, shape)
            elif "position" in name:
                values[name] = np.broadcast_to(np.arange(shape[-1], dtype=np.int64), shape).copy()
            else:
                values[name] = random.integers(5, 100, shape)
        else:
            values[name] = random.standard_normal(shape).astype(np.float32)
    return values


def size(name: str, dim: int | str, batch: int, tokens: int) -> int:
    if isinstance(dim, int):
        return dim
    if "+" in dim:
        return sum(size(name, part.strip(), batch, tokens) for part in dim.split("+"))
    if "batch" in dim:
        return batch
    if "past" in dim:
        return 0
    if "sequence" in dim or dim.endswith("length"):
        return 4000 if name == "input_values" else tokens
    return {"num_channels": 3, "height": 32, "width": 32}.get(dim, 16)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # The graphs as they are, and not what ONNX Runtime makes of them.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def error(source: Path, written: Path) -> float | None:
    """The largest difference; None where none of the batches suits the source."""
    before, after, errors = session(source), session(written), []
    for batch, tokens in BATCHES:
        values = feed(before, batch, tokens)
        try:
            wanted = before.run(None, values)
        except onnxruntime.capi.onnxruntime_pybind11_state.OnnxRuntimeException:
            continue
        for left, right in zip(wanted, after.run(None, values), strict=True):
            assert (left.shape, left.dtype) == (right.shape, right.dtype)
            left, right = left.astype(np.float64), right.astype(np.float64)
            errors.append(float(np.abs(left - right).max(initial=0) / max(np.abs(left).max(initial=0), 1e-9)))
    return max(errors, default=None)


def main() -> int:
    wrong, fused, program = [], 0, Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written.onnx"
        half, full = Path(folder) / "model_fp16.onnx", Path(folder) / "model.onnx"
        for source in sorted(MODELS.glob("*/onnx/*.onnx")):
            # What has 16 bits is made of what lies beside it.
            shutil.copy(source, full)
            shutil.copy(source, half)
            ways = [([source], LIMIT), ([source, "--packed"], LIMIT)]
            if not source.stem.endswith(SMALLER):
                ways.append(([half], LIMIT_IN_HALF))
            for asked, limit in ways:
                written.unlink(missing_ok=True)
                # By its name alone, as from its folder.
                source_name = half.name if asked[0] == half else asked[0]
                command = [program, "models", "--json", "optimize", source_name, written, *asked[1:]]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
                kind = " in fp16" if asked[0] == half else "".join(f" {more}" for more in asked[1:])
                name = source.relative_to(MODELS).as_posix() + kind
                if done.returncode:
                    wrong.append(f"{name}: {done.stderr}")
                    continue
                report = json.loads(done.stdout)
                if not report["fused"]:
                    continue
                fused += 1
                off = error(source, written)
                nodes = f"{report['nodes_before']} nodes before, {report['nodes_after']} after"
                print(f"{name}: {nodes}, off by {off}: {report['fused']}")
                if off is None or not off <= limit:
                    wrong.append(f"{name} is off by {off}, and may be by {limit}")
                if asked[0] == half and not report["bytes_after"] < 0.9 * report["bytes_before"]:
                    wrong.append(f"{name} has {report['bytes_after']} bytes of {report['bytes_before']}")
    if fused < 60:
        wrong.append(f"only {fused} graphs were made")
    print("\n".join(wrong) or "all graphs compute what they did")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
