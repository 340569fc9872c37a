"""What `webinfer models quantize` writes, in native ONNX Runtime: each file loads, its output is near that of 32-bit
floats, and not farther than what ONNX Runtime's own quantiser makes of the same weights in the same bits.

    python check.py WEBINFER
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

MODELS = Path(__file__).parent.parent / "models"
ITEMS = 8
TOKENS = 24

# What the output may be off by, as 1 - cosine. The models have random weights, which few bits hold badly.
# ONNX Runtime's kernels for signed weights saturate on x86 processors without VNNI.
INT8 = 0.005 if "vnni" in Path("/proc/cpuinfo").read_text() else 0.2
LIMITS = {"fp16": 2e-5, "q8": 0.005, "int8": INT8, "uint8": 0.005, "q4": 0.12, "q4f16": 0.12, "q2": 0.65}
SUFFIXES = {"q8": "_quantized"}

GRAPHS = [
    ("tiny-bert", "model"),
    ("tiny-bert-sentiment", "model"),
    ("tiny-bert-ner", "model"),
    ("tiny-clip", "model"),
    ("tiny-llama", "model"),
    ("tiny-t5", "encoder_model"),
    ("tiny-t5", "decoder_model_merged"),
    ("tiny-vit", "model"),
    ("tiny-wav2vec2-ctc", "model"),
    ("tiny-whisper", "encoder_model"),
    ("tiny-whisper", "decoder_model_merged"),
]
# Those of whose weights ONNX Runtime's quantiser takes the same ones: it knows no Gemm, and no branches.
COMPARED = [
    ("tiny-bert", "model"),
    ("tiny-bert-ner", "model"),
    ("tiny-vit-features", "model"),
    ("tiny-wav2vec2-ctc", "model"),
]


def feed(session: onnxruntime.InferenceSession, number: int) -> dict[str, np.ndarray]:
    """Input that the quantiser has not seen."""
    random = np.random.default_rng(1000 + number)
    values = {}
    for value in session.get_inputs():
        shape = [size(value.name, dim) for dim in value.shape]
        name = value.name
        if value.type == "tensor(bool)":
            values[name] = np.zeros(shape, bool)
        elif value.type == "tensor(int64)":
            if "mask" in name:
                values[name] = np.ones(shape, np.int64)
            elif "type" in name:
                values[name] = np.zeros(shape, np.int64)
            elif "position" in name:
                values[name] = np.broadcast_to(np.arange(shape[-1], dtype=np.int64), shape).copy()
            else:
                values[name] = random.integers(5, 100, shape)
        else:
            values[name] = random.standard_normal(shape).astype(np.float32)
    return values


def size(name: str, dim: int | str) -> int:
    if isinstance(dim, int):
        return dim
    if "+" in dim:
        return sum(size(name, part.strip()) for part in dim.split("+"))
    if "batch" in dim:
        return 1
    if "past" in dim:
        return 0
    if "sequence" in dim:
        return 4000 if name == "input_values" else TOKENS
    return {"num_channels": 3, "height": 32, "width": 32}[dim]


def outputs(path: Path) -> list[list[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if not output.name.startswith("present")]
    return [session.run(names, feed(session, number)) for number in range(ITEMS)]


def error(own: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> float:
    """The mean of 1 - cosine over items and outputs."""
    errors = []
    for one, two in zip(own, other, strict=True):
        for left, right in zip(one, two, strict=True):
            assert (left.shape, left.dtype) == (right.shape, right.dtype)
            assert np.isfinite(right).all()
            left, right = left.astype(np.float64).ravel(), right.astype(np.float64).ravel()
            errors.append(1 - left @ right / np.sqrt((left @ left) * (right @ right)))
    return float(np.mean(errors))


@dataclass
class Quantiser:
    program: str
    folder: Path

    def run(self, model: str, graph: str, dtype: str, *arguments: str) -> Path:
        """Has a graph quantised in a copy of its folder."""
        folder = self.folder / model
        if not folder.exists():
            shutil.copytree(MODELS / model, folder)
        command = [self.program, "models", "quantize", folder, "--graph", graph, "--force", *arguments]
        if "--mixed" not in arguments:
            command += ["--dtype", dtype]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"{model}/{graph} {dtype}: {done.stderr}")
        return folder / "onnx" / f"{graph}{SUFFIXES.get(dtype, '_' + dtype)}.onnx"


def check_each(quantiser: Quantiser) -> list[str]:
    """Each precision of each graph loads and is near enough."""
    wrong = []
    for model, graph in GRAPHS:
        source = MODELS / model / "onnx" / f"{graph}.onnx"
        own = outputs(source)
        for dtype, limit in LIMITS.items():
            path = quantiser.run(model, graph, dtype)
            off = error(own, outputs(path))
            parts = path.stat().st_size / source.stat().st_size
            print(f"{model}/{graph} {dtype}: off by {off:.6f}, {100 * parts:.0f} % of the size")
            if not off <= limit:
                wrong.append(f"{model}/{graph} {dtype} is off by {off}, and may be by {limit}")
            if dtype == "fp16" and not off > 0:
                wrong.append(f"{model}/{graph} {dtype} is the same as in 32 bits")
    return wrong


def theirs(source: Path, to: Path, bits: int, symmetric: bool) -> None:
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=symmetric, bits=bits)
    quantiser = MatMulNBitsQuantizer(
        onnx.load(source), block_size=32, is_symmetric=symmetric, bits=bits, algo_config=config
    )
    quantiser.process()
    quantiser.model.save_model_to_file(str(to))


def compare(quantiser: Quantiser) -> list[str]:
    """Side by side with ONNX Runtime's own quantiser: the same bits, blocks and weights."""
    wrong = []
    for model, graph in COMPARED:
        source = MODELS / model / "onnx" / f"{graph}.onnx"
        own = outputs(source)
        to = quantiser.folder / "theirs.onnx"
        cases = []
        for symmetric in (True, False):
            theirs(source, to, 4, symmetric)
            arguments = ["--keep-tables"] if symmetric else ["--keep-tables", "--asymmetric"]
            cases.append(("q4", "symmetric" if symmetric else "asymmetric", arguments, outputs(to), to.stat().st_size))
        operators = ["MatMul", "Gemm", "Gather"]
        quantize_dynamic(source, to, per_channel=True, weight_type=QuantType.QUInt8, op_types_to_quantize=operators)
        cases.append(("q8", "dynamic", [], outputs(to), to.stat().st_size))
        for dtype, kind, arguments, others, bytes_theirs in cases:
            path = quantiser.run(model, graph, dtype, *arguments)
            ours, them, bytes_ours = error(own, outputs(path)), error(own, others), path.stat().st_size
            print(
                f"{model}/{graph} {dtype} {kind}: {ours:.6f} in {bytes_ours} bytes, theirs {them:.6f} in {bytes_theirs}"
            )
            if not ours <= them:
                wrong.append(f"{model}/{graph} {dtype} {kind}: off by {ours}, and ONNX Runtime's own by {them}")
            # Names and nodes differ a little; what the weights take does not.
            if not bytes_ours <= bytes_theirs * 1.03:
                wrong.append(
                    f"{model}/{graph} {dtype} {kind}: {bytes_ours} bytes, and ONNX Runtime's own {bytes_theirs}"
                )
    return wrong


def main() -> int:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        quantiser = Quantiser(sys.argv[1], Path(folder))
        wrong = check_each(quantiser) + compare(quantiser)
    print("\n".join(wrong) or "all files are as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
