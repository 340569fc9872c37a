"""Makes the models of full size that `run.py` measures: real graphs with random weights, in each precision.

    python make_models.py FOLDER --webinfer ../../target/release/webinfer

The graphs are those of `../models`, whose weights `../models/make.py` took out. The other precisions are made of them
by `webinfer models quantize`, and the fused copies by `webinfer models optimize`. What is there is kept. With `--small`
they are the models of the tests, to rehearse.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GRAPHS = HERE.parent / "models"
#: The tokenizer of the models of texts alone.
TOKENIZER = ROOT / "models" / "all-MiniLM-L6-v2"
#: Models by name, and the models of the tests that stand for them in a rehearsal.
MODELS = {
    "bert-base": "tiny-bert",
    "minilm": "tiny-bert",
    "vit-base": "tiny-vit",
    "clip-vit-base": "tiny-clip",
    "whisper-tiny": "tiny-whisper",
}
PRECISIONS = ("fp16", "q8", "q4")
#: The encoder of Whisper alone, as a graph of tensors.
ENCODER = "whisper-tiny-encoder"
#: Standard deviation of the weights, as the models' configurations have it.
SPREAD = 0.02
#: What a fused copy of a model adds to its name.
FUSED = "-fused"
#: What a precision adds to the name of a graph's file.
SUFFIX = {"fp32": "", "q8": "_quantized"}


def fill(name: str, target: Path) -> None:
    """Copies a model's graphs, and makes the file of weights that lies beside each."""
    sizes = json.loads((GRAPHS / "weights.json").read_text())
    shutil.copytree(GRAPHS / name, target, dirs_exist_ok=True)
    if not (target / "preprocessor_config.json").exists():
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(TOKENIZER / file, target)
    random = np.random.default_rng(1)
    for graph in sorted((GRAPHS / name / "onnx").glob("*.onnx")):
        count = sizes[f"{name}/{graph.name}"] // 4
        weights = random.standard_normal(count, dtype=np.float32) * np.float32(SPREAD)
        weights.tofile(target / "onnx" / f"{graph.name}_data")


def webinfer_models(webinfer: str, *arguments: object) -> str:
    """Runs `webinfer models`; returns what was asked for, with its time or what was wrong."""
    asked = [str(argument) for argument in arguments]
    begin = time.perf_counter()
    done = subprocess.run([webinfer, "models", *asked], capture_output=True, text=True, check=False)
    outcome = f"{time.perf_counter() - begin:.1f} s" if done.returncode == 0 else done.stderr.strip()[-400:]
    return f"{' '.join(asked)}: {outcome}"


def encoder(folder: Path, source: Path) -> None:
    """Lays out an encoder's graphs as a model of tensors. Graphs know the files of their weights by name."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "onnx").glob("encoder_model*")):
        if path.name.endswith("_data"):
            shutil.copy(path, folder / "onnx" / path.name)
        else:
            shutil.copy(path, folder / "onnx" / path.name.replace("encoder_model", "model"))


def make(target: Path, webinfer: str, small: bool, names: list[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    fresh = [name for name in names if not (target / name).exists()]
    for name in fresh:
        if small:
            shutil.copytree(ROOT / "tests" / "models" / MODELS[name], target / name)
        else:
            fill(name, target / name)
        print(f"{name}: laid out", flush=True)
    wanted = [
        (name, precision)
        for name in names
        for precision in PRECISIONS
        if not list((target / name / "onnx").glob(f"*{SUFFIX.get(precision, f'_{precision}')}.onnx"))
    ]
    with ThreadPoolExecutor() as pool:
        made = [
            pool.submit(webinfer_models, webinfer, "quantize", target / name, "--dtype", precision, "--no-run")
            for name, precision in wanted
        ]
        for each in made:
            print(each.result(), flush=True)
    for name in names:
        if not (target / f"{name}{FUSED}").exists():
            print(webinfer_models(webinfer, "optimize", target / name, target / f"{name}{FUSED}"), flush=True)
    if "whisper-tiny" in names:
        encoder(target / ENCODER, target / "whisper-tiny")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--webinfer", default=str(ROOT / "target/release/webinfer"), help="the program that quantises")
    parser.add_argument("--small", action="store_true", help="take the models of the tests")
    parser.add_argument("--model", nargs="*", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    make(arguments.folder, arguments.webinfer, arguments.small, arguments.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
