"""The service in a process of its own, and loads of it: texts and tensors by its load generator, the rest from here."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

import webinfer
from webinfer.v1 import execution_pb2, inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc

#: Seconds to come up, and to end.
PATIENCE = 120
#: Seconds before a measurement whose requests are not counted.
WARM_UP = 0.3
HOPS = ("queue_us", "bridge_us", "preprocess_us", "inference_us", "postprocess_us")


class Service:
    """A running service. Use it as `async with Service(...)`."""

    def __init__(self, program: Path, models: Path, arguments: list[str], log: Path) -> None:
        self._program, self._models, self._arguments, self._log = program, models, arguments, log

    async def __aenter__(self) -> Service:
        own = ["--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--load=none", f"--models={self._models}"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WEBINFER_")}
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            self._program, "serve", *own, *self._arguments, stderr=pipe, env=clean
        )
        self._lines = self._log.open("w")
        self.address = await asyncio.wait_for(self._listening(), PATIENCE)
        self._reading = asyncio.create_task(self._read_on())
        self.client = webinfer.AsyncClient(self.address, timeout=PATIENCE, load_timeout=300)
        self._infer = inference_pb2_grpc.InferenceServiceStub(self.client.channel).Infer
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self.process.terminate()
        await asyncio.wait_for(self.process.wait(), PATIENCE)
        await self._reading
        self._lines.close()

    async def _next_line(self) -> str:
        line = (await self.process.stderr.readline()).decode() if self.process.stderr else ""
        self._lines.write(line)
        return line

    async def _listening(self) -> str:
        while line := await self._next_line():
            if "gRPC on " in line:
                return line.split("gRPC on ")[1].split(",")[0]
        raise RuntimeError(f"the service ended while starting; see {self._log}")

    async def _read_on(self) -> None:
        """So that it never waits for its log to be taken."""
        while await self._next_line():
            self._lines.flush()

    async def load(
        self, source: str, dtype: str, settings: dict[str, Any]
    ) -> tuple[model_pb2.ModelSpec, dict[str, Any]]:
        """Registers a model in a precision and loads it; tells when each phase of that began."""
        name = f"{source}-{dtype}"
        spec = model_pb2.ModelSpec(id=name, source=source, dtype=dtype, fallback=model_pb2.FALLBACK_EXACT)
        stub = model_pb2_grpc.ModelServiceStub(self.client.channel)
        await stub.Register(model_pb2.RegisterRequest(spec=ParseDict(settings, spec)))
        steps: dict[str, float] = {}
        await self.client.models.load(name, progress=lambda step: steps.setdefault(step.phase, step.elapsed_s))
        return (await stub.Get(model_pb2.ModelServiceGetRequest(id=name))).model.spec, steps

    async def infer(self, request: inference_pb2.InferRequest) -> inference_pb2.InferResponse:
        """Its answer to one request."""
        return await self._infer(request, timeout=PATIENCE)

    async def generated(self, callers: int, seconds: float, more: list[str]) -> dict[str, Any]:
        """A closed loop of `webinfer bench load`."""
        command = [self._program, "bench", "load", "--address", self.address, "--format=json", f"--callers={callers}"]
        command += [f"--duration={round(seconds * 1000)}ms", f"--warm-up={round(WARM_UP * 1000)}ms", *more]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        out, errors = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"bench load: {errors.decode()[-400:]}")
        report = json.loads(out)
        if report["errors"]:
            raise RuntimeError(f"bench load: {report['errors'][0]}")
        return {
            "items_per_s": report["achieved_items_per_s"],
            "p50_ms": report["latency_us"]["p50"] / 1e3,
            "p99_ms": report["latency_us"]["p99"] / 1e3,
            "mean_batch": report["mean_batch_items"],
            "hops_us": report["mean_hops_us"],
        }

    async def sent(self, requests: list[inference_pb2.InferRequest], callers: int, seconds: float) -> dict[str, Any]:
        """A closed loop of requests in turn. What began in the warm-up is not counted."""
        begin = time.perf_counter() + WARM_UP
        end = begin + seconds
        times: list[float] = []
        records: list[execution_pb2.Execution] = []
        done = 0

        async def caller(number: int) -> None:
            nonlocal done
            while (due := time.perf_counter()) < end:
                answer = await self.infer(requests[number % len(requests)])
                number += callers
                now = time.perf_counter()
                done += begin <= now < end
                if due >= begin:
                    times.append(now - due)
                    records.extend(answer.executions)

        await asyncio.gather(*(caller(number) for number in range(callers)))
        if not times:
            raise RuntimeError(f"no request was begun and answered within {seconds} s")
        return {
            # Of a few long requests too few end inside the window to count them.
            "items_per_s": done / seconds if len(times) > 50 else callers / statistics.mean(times),
            "p50_ms": statistics.median(times) * 1e3,
            "p99_ms": sorted(times)[int(len(times) * 0.99)] * 1e3,
            "mean_batch": len(records) / sum(1 / each.batch_size for each in records),
            "hops_us": {hop.removesuffix("_us"): mean_hop(records, hop) for hop in HOPS},
        }


def mean_hop(records: list[execution_pb2.Execution], hop: str) -> float:
    return statistics.mean(getattr(each.timings, hop) for each in records)
