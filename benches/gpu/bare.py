"""The bare page: the product's own runner in a browser of its own, told what to do over one WebSocket.

The page is `harness/bench`, as the Rust benches use it. Its browser gets the flags of the service's browser.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from google.protobuf.json_format import MessageToDict
from threads import below

from webinfer.v1 import execution_pb2, inference_pb2, model_pb2

PAGE = Path(__file__).resolve().parents[2] / "harness" / "dist-bench"
#: Seconds that an answer of the page may take.
PATIENCE = 300
#: Memory for recordings of the GPU's work, as the service has it by default.
CAPTURE_BYTES = 2 << 30
ISOLATION = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}
#: What a precision adds to the name of a graph's file.
SUFFIX = {"fp32": "", "q8": "_quantized"}


def browser_of(service_pid: int) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of the browser that a service started, the first below it."""
    for process in below(service_pid):
        parts = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        own = any(part.startswith("--user-data-dir=") for part in parts)
        if own and parts[0].endswith(("chromium", "chrome")) and not any(part.startswith("--type=") for part in parts):
            environment = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
            pairs = (each.partition("=") for each in environment if each)
            return [part for part in parts if part], {name: value for name, _, value in pairs}
    raise RuntimeError("the service has no Chromium to take the flags of")


class Bare:
    """A browser with the bare page. Use it as `async with Bare(...)`."""

    def __init__(self, models: Path, backend: str, flags: list[str], environment: dict[str, str]) -> None:
        self._models, self._backend, self._flags, self._environment = models, backend, flags, environment
        self._items = b""
        self._socket: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
        self._profile = tempfile.mkdtemp(prefix="bare-")

    async def __aenter__(self) -> Bare:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/bare", self._link)
        app.router.add_get("/items", self._give)
        app.router.add_get("/{path:.+}", self._file)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        own = ("--user-data-dir=", "--remote-debugging-port=", "about:blank")
        kept = [flag for flag in self._flags if not flag.startswith(own)]
        url = f"http://127.0.0.1:{port}/bare.html#bundle={self._backend}&workers=1"
        more = [f"--user-data-dir={self._profile}", "--no-sandbox", url]
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        self._browser = await asyncio.create_subprocess_exec(*kept, *more, env=self._environment, **quiet)
        self.pid = self._browser.pid
        self._channel = await asyncio.wait_for(self._socket, PATIENCE)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._browser.terminate()
        await self._browser.wait()
        await self._runner.cleanup()
        shutil.rmtree(self._profile, ignore_errors=True)

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        self._socket.set_result(socket)
        while not socket.closed:
            await asyncio.sleep(1)
        return socket

    async def _give(self, _: web.Request) -> web.Response:
        return web.Response(body=self._items, headers=ISOLATION)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        inside = path.removeprefix("models/")
        full = PAGE / path if inside == path else self._models / inside
        return web.FileResponse(full, headers=ISOLATION) if full.is_file() else web.Response(status=404)

    async def tell(self, command: dict[str, Any]) -> dict[str, Any]:
        """Tells the worker something, and waits for what comes of it."""
        await self._channel.send_str(json.dumps(command))
        message = await asyncio.wait_for(self._channel.receive(), PATIENCE)
        if message.type != WSMsgType.TEXT:
            raise RuntimeError("the bare worker is gone")
        answer: dict[str, Any] = json.loads(message.data)
        if "error" in answer:
            raise RuntimeError(f"the bare worker says: {answer['error']}")
        return answer

    async def load(self, spec: model_pb2.ModelSpec) -> None:
        """Has it load what a service has registered. The worker holds one model: the last."""
        backend = execution_pb2.Backend.Name(spec.backends[0])
        folder = self._models / spec.source
        files = [f"onnx/{graph}{SUFFIX.get(dtype, f'_{dtype}')}.onnx_data" for graph, dtype in spec.dtypes.items()]
        beside = [file for file in files if (folder / file).exists()]
        load = {
            "base": f"/models/{spec.source}/",
            "spec": MessageToDict(spec) | {"backends": [backend], "threads": max(1, spec.threads)},
            "externalData": beside,
        }
        if "graph_capture" in spec.DESCRIPTOR.fields_by_name:
            load["captureBytes"] = str(CAPTURE_BYTES)
        await self.tell({"cmd": "load", "load": load, "lever": {}})

    async def loop(self, request: inference_pb2.InferRequest, batch: int, seconds: float) -> dict[str, Any]:
        """Batches back to back, of a request's items in turn."""
        self._items = run_frame(request)
        answer = await self.tell({"cmd": "loop", "batch": batch, "millis": seconds * 1000})
        times = sorted(answer.pop("latencies_us"))
        answer["items_per_s"] = answer["items"] / (answer["millis"] / 1000)
        answer["p50_ms"] = times[len(times) // 2] / 1000
        return answer


def run_frame(request: inference_pb2.InferRequest) -> bytes:
    """A request as `webinfer.bridge.v1.Run`, which no client has stubs of: items = 1 (item = 1, parameters = 2)."""

    def field(number: int, value: bytes) -> bytes:
        length, size = b"", len(value)
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + value

    parameters = field(2, request.parameters.SerializeToString()) if request.HasField("parameters") else b""
    return b"".join(field(1, field(1, item.SerializeToString()) + parameters) for item in request.items)
