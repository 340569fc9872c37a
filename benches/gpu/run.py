"""Measures a GPU: the service, the bare page loop and PyTorch on the same card, in turn, in one run.

    python make_models.py /tmp/models
    python run.py /tmp/models --out ../../results/gpu.json
    python run.py /tmp/models --rehearse        # tiny models, in software, on a machine without a GPU

It needs the Python client (`pip install ../../clients/python`), aiohttp and pillow, the page (`make page`), and for
the third column PyTorch and transformers. What is done is written at once, and not done again where the file is there;
`--budget` ends the run in time. `table.py` makes a table of the results.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import items
import numpy as np
from bare import Bare, browser_of
from cells import Cell, plan
from google.protobuf.json_format import ParseDict
from service import Service
from table import median
from watch import Watch, card

from webinfer import Execution
from webinfer.inputs import Audio, Image, to_items
from webinfer.v1 import inference_pb2, model_pb2

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEW_TOKENS = 16
#: How tasks are done.
PARAMETERS: dict[str, dict[str, Any]] = {
    "clip-vit-base": {"candidate_labels": items.LABELS},
    "whisper-tiny": {
        "generation": {"max_new_tokens": NEW_TOKENS, "do_sample": False},
        "transcription": {"language": "en"},
    },
}
#: Distinct texts, pictures and sounds, as many as there are callers at least. Texts of the service's own load are more.
TEXTS, PICTURES, SOUNDS = 256, 32, 16
Side = Callable[[float], Awaitable[dict[str, Any]]]


class Torch:
    """`reference.py` in a process of its own."""

    async def start(self, python: str, small: bool) -> dict[str, Any]:
        pipe = asyncio.subprocess.PIPE
        more = ["--small"] if small else []
        self._process = await asyncio.create_subprocess_exec(
            python, str(HERE / "reference.py"), *more, stdin=pipe, stdout=pipe, limit=1 << 24
        )
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        line = await self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError("PyTorch's process ended")
        return json.loads(line)

    async def measure(self, cell: Cell, batch: int, seconds: float, graph: bool = False) -> dict[str, Any]:
        ask = {"model": cell.base, "dtype": cell.dtype, "batch": batch, "tokens": cell.tokens, "seconds": seconds}
        ask |= {"new_tokens": NEW_TOKENS, "graph": graph}
        self._process.stdin.write(json.dumps(ask).encode() + b"\n")  # type: ignore[union-attr]
        return await self._answer()

    async def stop(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        await self._process.wait()


class Run:
    """All of a run: what runs, and what came of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.begin = arguments, time.monotonic()
        self.scratch = Path(tempfile.mkdtemp(prefix="gpu-"))
        self.results: dict[str, Any] = {"conditions": conditions(arguments), "cells": [], "errors": [], "loads": []}
        if arguments.out.exists():
            self.results = json.loads(arguments.out.read_text())
        self.done = {cell["name"] for cell in self.results["cells"]}
        self.torch: Torch | None = None
        self.pictures: list[Any] = []
        self.sounds: list[Any] = []

    def left(self) -> float:
        return self.arguments.budget - (time.monotonic() - self.begin)

    def write(self) -> None:
        self.arguments.out.parent.mkdir(parents=True, exist_ok=True)
        self.arguments.out.write_text(json.dumps(self.results, indent=1) + "\n")

    def failed(self, what: str, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"[:600]
        print(f"{what}: {said}", flush=True)
        self.results["errors"].append({"what": what, "error": said})
        self.write()

    async def all(self) -> None:
        given = self.arguments
        service = [f"--backend={given.backend}", f"--gpu={given.gpu}", "--state=none", "--no-coalescing", *given.serve]
        service += ["--model-memory=64000000000", "--no-browser-sandbox"]
        if given.torch:
            self.torch = Torch()
            self.results["conditions"]["pytorch"] = await self.torch.start(given.torch, given.rehearse)
        for number, group in enumerate(plan(given.rehearse, given.only)):
            cells = [cell for cell in group if cell.name not in self.done]
            if not cells or self.left() < 0:
                continue
            try:
                # One service for each group, as one bare browser: what one leaves on the card is not the next one's.
                started, before = time.perf_counter(), card()
                log = self.scratch / f"service-{number}.log"
                async with Service(given.webinfer, given.models, service, log) as running:
                    await self.group(running, cells, started, before)
            except Exception as error:
                self.failed(f"{cells[0].model} {cells[0].dtype}", error)
        if self.torch:
            await self.torch.stop()

    async def group(self, service: Service, cells: list[Cell], started: float, before: dict[str, Any]) -> None:
        first = cells[0]
        settings = {"backends": [f"BACKEND_{self.arguments.backend.upper()}"], **first.spec, **self.arguments.spec}
        spec, steps = await service.load(first.model, first.dtype, settings)
        answer = await self.once(service, spec, first)
        took = round(time.perf_counter() - started, 2)
        load = {"model": first.model, "dtype": first.dtype, "spec": first.spec, "load_s": steps}
        load["start_to_first_answer_s"] = took
        self.results["loads"].append(load | {"card_before": before, "card_after": card(), "record": answer})
        flags, environment = browser_of(service.process.pid)
        async with Bare(self.arguments.models, self.arguments.backend, flags, environment) as bare:
            await bare.load(spec)
            for cell in cells:
                if self.left() > 0:
                    try:
                        await self.cell(service, bare, spec, cell, answer)
                    except Exception as error:
                        self.failed(cell.name, error)

    def features(self) -> tuple[int, int, int]:
        """The shape of 30 s of sound, or of what the model of the rehearsal hears."""
        return (1, 40, 200) if self.arguments.rehearse else (1, 80, 3000)

    def request(self, spec: model_pb2.ModelSpec, cell: Cell) -> inference_pb2.InferRequest:
        """A request of all items of a cell."""
        if cell.base == "whisper-tiny-encoder":
            features = np.random.default_rng(1).standard_normal(self.features(), dtype=np.float32)
            inputs: list[Any] = [{"input_features": features}] * 4
        elif cell.tokens:
            inputs = items.texts(cell.tokens)[:TEXTS]
        elif cell.base == "whisper-tiny":
            inputs = self.sounds = self.sounds or [Audio(each, 16_000) for each in items.sounds(SOUNDS)]
        else:
            inputs = self.pictures = self.pictures or [Image(each) for each in items.pictures(PICTURES)]
        parameters = ParseDict(PARAMETERS.get(cell.base, {}), inference_pb2.Parameters())
        request = inference_pb2.InferRequest(model=spec.id, items=to_items(inputs))
        if cell.base in PARAMETERS:
            request.parameters.CopyFrom(parameters)
        return request

    async def once(self, service: Service, spec: model_pb2.ModelSpec, cell: Cell) -> dict[str, Any]:
        """One request, for the record of what runs."""
        request = self.request(spec, cell)
        del request.items[1:]
        answer = await service.infer(request)
        told = Execution.of(answer.executions[0])
        names = ("browser", "browser_version", "backend_used", "adapter", "hardware", "dtype", "model_sha256")
        names += ("onnxruntime_version", "transformers_version", "node_placements")
        return {name: getattr(told, name) for name in names}

    async def cell(self, service: Service, bare: Bare, spec: model_pb2.ModelSpec, cell: Cell, record: Any) -> None:
        request = self.request(spec, cell)
        one_each = []
        for item in request.items:
            single = inference_pb2.InferRequest(model=spec.id, items=[item])
            if request.HasField("parameters"):
                single.parameters.CopyFrom(request.parameters)
            one_each.append(single)

        async def through_service(seconds: float) -> dict[str, Any]:
            if cell.tokens:
                texts = items.text_file(self.scratch, cell.tokens)
                return await service.generated(cell.callers, seconds, ["--model", spec.id, "--file", str(texts)])
            if cell.base == "whisper-tiny-encoder":
                shape = "input_features=f32:" + "x".join(str(size) for size in self.features())
                return await service.generated(cell.callers, seconds, ["--model", spec.id, "--shape", shape])
            return await service.sent(one_each, cell.callers, seconds)

        async def in_bare_loop(seconds: float) -> dict[str, Any]:
            return await bare.loop(request, cell.batch, seconds)

        sides: dict[str, Side] = {"service": through_service, "bare": in_bare_loop}
        # What another registration of the same changes is not PyTorch.
        if self.torch and cell.dtype in ("fp32", "fp16") and not cell.spec:
            torch = self.torch

            async def in_torch(seconds: float) -> dict[str, Any]:
                return await torch.measure(cell, cell.batch, seconds / 2)

            sides["pytorch"] = in_torch
            if cell.callers == 1 and cell.tokens:
                sides["pytorch_graph"] = lambda seconds: torch.measure(cell, 1, seconds / 2, graph=True)
        # Compiles shaders for the shapes that come up.
        await in_bare_loop(0.2)
        await through_service(cell.seconds)
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        watch = Watch()
        processes = {"service": service.process.pid, "bare": bare.pid}
        for turn in range(cell.rounds):
            for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                with watch.during(name, processes.get(name)):
                    samples[name].append(await sides[name](cell.seconds))
        seen = {"card": watch.told(), "threads": watch.threads()}
        done = cell.json() | {"record": record, "samples": samples} | seen
        self.results["cells"].append(done)
        self.write()
        print(line(done), flush=True)


def line(cell: dict[str, Any]) -> str:
    """A cell on one line: medians."""
    parts = [
        f"{side} {median(cell, side, 'items_per_s'):.1f}/s {median(cell, side, 'p50_ms'):.2f}ms"
        for side in cell["samples"]
    ]
    return f"{cell['name']}: " + ", ".join(parts)


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    version = subprocess.run([arguments.webinfer, "--version"], capture_output=True, text=True, check=False)
    return {
        "commit": arguments.commit or commit.stdout.strip(),
        "webinfer": version.stdout.strip(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "backend": arguments.backend,
        "serve": arguments.serve,
        "spec": arguments.spec,
        "weights": "random",
        "loop": "closed, one item a request, no two items in flight alike; A B C, C B A",
        "media": "JPEG of 640 x 480; 30 s of sound at 16 kHz; Whisper makes 16 tokens",
        **card(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="the folder that make_models.py made")
    parser.add_argument("--out", type=Path, default=ROOT / "results/gpu.json")
    parser.add_argument("--webinfer", type=Path, default=ROOT / "target/release/webinfer")
    parser.add_argument("--backend", default="webgpu")
    parser.add_argument("--gpu", default="vulkan", help="as the service's --gpu")
    parser.add_argument("--spec", type=json.loads, default={}, help="""more of each registration, as {"replicas": 2}""")
    parser.add_argument("--serve", action="append", default=[], help="one more argument of the service")
    parser.add_argument("--torch", default=sys.executable, help="a Python with PyTorch; empty for none")
    parser.add_argument("--only", default="", help="a pattern of names of cells, such as 'bert-base fp32 128'")
    parser.add_argument("--budget", type=float, default=1e6, help="seconds after which no cell is begun")
    parser.add_argument("--commit", default="", help="what was built, where there is no repository beside it")
    parser.add_argument("--rehearse", action="store_true", help="tiny models, one round each, in software")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.gpu = "software"
    run = Run(arguments)
    try:
        asyncio.run(run.all())
    finally:
        run.write()
    return 1 if run.results["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
