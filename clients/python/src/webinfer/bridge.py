"""The classes of a framework's resource pool bridge, over a real service with real browsers.

    from webinfer.bridge import ResourcePoolBridgeIntegration

    integration = ResourcePoolBridgeIntegration(max_connections=2)
    integration.initialize()
    model = integration.get_model("text_embedding", "all-MiniLM-L6-v2", {"priority_list": ["webgpu", "cpu"]})
    print(model("A cat sleeps.")["output"])

Code that was written for them runs unchanged; what is told now is true. A result that no browser computed is an error,
not a number: nothing is simulated. Figures that nobody measures, such as the memory of a model, are not there.

The service is that of WEBINFER_ADDRESS. Where this is not set, one is started in the background, and ended by `close`
or with the program: see `webinfer.service`. WEBINFER_MODELS names its models folder.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from .client import Client
from .errors import ClosedError, InvalidInputError, NotFoundError, WebinferError
from .inputs import Audio, Image, Question
from .models import ALIASES
from .results import Response, Result
from .service import ADDRESS, Service

if TYPE_CHECKING:
    from typing_extensions import Self

# Model families of the framework, and the service's words for them.
_FAMILIES = {
    "text": "text",
    "text_embedding": "text",
    "text_generation": "text",
    "vision": "vision",
    "audio": "audio",
    "speech": "audio",
    "multimodal": "multimodal",
    "vision_language": "multimodal",
}
_BROWSERS = ("chrome", "chromium", "edge", "firefox", "safari", "webkit")
_PRECISIONS = (2, 4, 8, 16, 32)
# The best first.
_ON_GPU = ("webgpu", "webnn-gpu", "webnn-npu")
_ON_CPU = ("wasm", "webnn-cpu")
# Of a model that was loaded, and is no more: the service was restarted, or somebody has unloaded it.
_NOT_THERE = ("NOT_FOUND", "FAILED_PRECONDITION")


class _Done:
    """What is done already. It can be used as it is, or awaited: callers of both kinds are out there."""

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


class _Record(_Done, dict[str, Any]):
    """A result."""


class _Results(_Done, list[_Record]):
    """Results."""


class _Pool:
    """A client, its service where there is one, the models that were asked for, and what was counted."""

    def __init__(
        self,
        max_connections: int,
        headless: bool,
        browsers: Mapping[str, str],
        adaptive: bool,
        backends: Sequence[str],
        address: str | None,
    ) -> None:
        self._arguments = [f"--browsers={max_connections}", *(["--min-browsers=1"] if adaptive else [])]
        self._arguments += [] if headless else ["--show-browser"]
        for family, browser in browsers.items():
            if family in _FAMILIES and browser in _BROWSERS:
                self._arguments.append(f"--guess={_FAMILIES[family]}={browser}")
        self._address = address or os.environ.get(ADDRESS)
        self._backends = list(backends)
        self._lock = threading.RLock()
        self._service: Service | None = None
        self._client: Client | None = None
        self._closed = False
        self._configs: dict[str, dict[str, Any]] = {}
        self._loaded: set[str] = set()
        self.stats = Stats()

    @property
    def client(self) -> Client:
        """The client. Connects, and starts a service where none was named."""
        with self._lock:
            if self._closed:
                raise ClosedError("this pool is closed; initialize it again, or make another one")
            if self._client is None:
                address = self._address
                if address is None:
                    self._service = self._service or Service(self._arguments)
                    address = self._service.address
                self._client = Client(address)
            return self._client

    def open(self) -> Client:
        """The client, also of a pool that was closed."""
        with self._lock:
            self._closed = False
            return self.client

    def configure(self, model: str, config: Mapping[str, Any]) -> None:
        """Keeps what is wished of a model until it is loaded."""
        _bits(config)
        self._chosen(config)
        with self._lock:
            self._configs[model] = dict(config)

    def configure_apart(self, model: str, config: Mapping[str, Any]) -> str:
        """The same, under an id of its own where something else was wished of the model before. Returns the id."""
        with self._lock:
            ids = itertools.chain([model], (f"{model}:{number}" for number in itertools.count(2)))
            free = next(each for each in ids if self._configs.get(each, config) == config)
            self.configure(free, config)
            return free

    def config(self, model: str) -> dict[str, Any]:
        """What is wished of a model. NotFoundError where nothing was."""
        with self._lock:
            if model not in self._configs:
                raise NotFoundError(f"no model has the id {model!r}: register it first")
            return self._configs[model]

    def load(self, model: str, task: str = "") -> str:
        """Registers and loads a model, once, and returns the id that it has at the service."""
        config = self.config(model)
        source = str(config.get("model_name") or config.get("source") or model)
        backends, bits = self._chosen(config), _bits(config)
        # Wishes that differ are models that differ, also where they read the same.
        wishes = "-".join(filter(None, [model, task, *backends, str(bits or "")]))
        digest = hashlib.sha256(repr((model, source, wishes)).encode()).hexdigest()[:8]
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', wishes)[:100]}-{digest}".lstrip("._-")
        with self._lock:
            if name in self._loaded:
                return name
        began = time.perf_counter()
        self.client.models.register(
            name,
            source,
            task=task,
            backends=backends,
            bits=bits,
        )
        self.client.models.load(name)
        with self._lock:
            self._loaded.add(name)
            self.stats.loaded(time.perf_counter() - began)
        return name

    def run(self, model: str, inputs: Any) -> _Record:
        """Runs a model and tells how it went; a failure is told, not raised."""
        return self.submit(model, inputs).result()

    def submit(self, model: str, inputs: Any) -> Future[_Record]:
        """As `run`, without waiting for the answer; a model that is not loaded is waited for."""
        began = time.perf_counter()
        record: Future[_Record] = Future()

        def failed(error: BaseException) -> None:
            record.set_result(self._failed(model, error, time.perf_counter() - began))

        def attempt(is_last: bool) -> None:
            try:
                item = _item(inputs)
                name = self.load(model, "tensor" if _is_encoded(inputs) else "")
                answer = self.client.submit(name, item)
            except Exception as error:
                failed(error)
            else:
                answer.add_done_callback(functools.partial(done, name, is_last))

        def done(name: str, is_last: bool, answer: Future[Response]) -> None:
            error = answer.exception()
            if error is None:
                record.set_result(self._succeeded(model, answer.result()[0], time.perf_counter() - began))
            elif isinstance(error, WebinferError) and error.code in _NOT_THERE and not is_last:
                with self._lock:
                    self._loaded.discard(name)
                # This is gRPC's own thread, which cannot wait for a load.
                threading.Thread(target=attempt, args=[True], name="webinfer-load", daemon=True).start()
            else:
                failed(error)

        attempt(is_last=False)
        return record

    def close(self) -> None:
        """Ends the connection, and the service that was started here."""
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()
            if self._service is not None:
                self._service.close()
            self._client = self._service = None
            self._loaded.clear()

    def _chosen(self, config: Mapping[str, Any]) -> list[str]:
        wished = config.get("priority_list") or config.get("backend") or config.get("platform") or []
        wished = [wished] if isinstance(wished, str) else list(wished)
        # Several names of one backend are one wish.
        named = dict.fromkeys(ALIASES.get(name, name) for name in wished)
        # The framework had words for more than there is; what is no backend is passed over, as it was there.
        known = [name for name in named if name in (*_ON_GPU, *_ON_CPU)]
        if not known:
            return self._backends
        chosen = [name for name in known if name in (self._backends or known)]
        if not chosen:
            raise InvalidInputError(f"enable_gpu or enable_cpu is off, and with it all that is wished for: {wished}")
        return chosen

    def _succeeded(self, model: str, result: Result, seconds: float) -> _Record:
        ran = result.execution
        self.stats.ran(model, self.config(model).get("family", ""), ran.browser, seconds)
        return _Record(
            success=True,
            status="success",
            model_id=model,
            model_name=self.config(model).get("model_name", model),
            model_family=self.config(model).get("family", ""),
            output=result.output,
            result=result.output,
            platform=ran.backend_used,
            browser=ran.browser.lower(),
            is_real_implementation=not ran.simulated,
            is_simulation=ran.simulated,
            total_time=seconds,
            inference_time=ran.timings.inference_us / 1e6,
            performance_metrics={
                "inference_time_ms": ran.timings.inference_us / 1e3,
                "latency_ms": seconds * 1e3,
                "throughput_items_per_sec": 1 / seconds,
                "batch_size": ran.batch_size,
            },
            execution=ran,
        )

    def _failed(self, model: str, error: BaseException, seconds: float) -> _Record:
        self.stats.failed()
        told = {"error_code": error.code} if isinstance(error, WebinferError) else {}
        return _Record(
            success=False, status="error", error=str(error), model_id=model, total_time=seconds, exception=error, **told
        )


class Stats:
    """What was counted and timed, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks = self._errors = self._loads = 0
        self._seconds = self._load_seconds = 0.0
        self._by_model: dict[str, list[float]] = {}
        self._by_family: dict[str, list[float]] = {}
        self._by_browser: dict[str, list[float]] = {}

    def loaded(self, seconds: float) -> None:
        """A model was loaded."""
        with self._lock:
            self._loads += 1
            self._load_seconds += seconds

    def ran(self, model: str, family: str, browser: str, seconds: float) -> None:
        """A model gave an answer."""
        with self._lock:
            self._tasks += 1
            self._seconds += seconds
            for table, key in ((self._by_model, model), (self._by_family, family), (self._by_browser, browser)):
                entry = table.setdefault(key, [0, 0.0])
                entry[0] += 1
                entry[1] += seconds

    def failed(self) -> None:
        """A model gave none."""
        with self._lock:
            self._errors += 1

    def told(self) -> dict[str, Any]:
        """All of it, by the framework's names."""
        with self._lock:
            return {
                "executed_tasks": self._tasks,
                "total_inferences": self._tasks,
                "total_model_loads": self._loads,
                "errors": self._errors,
                "total_execution_time": self._seconds,
                "avg_inference_time": self._seconds / self._tasks if self._tasks else 0.0,
                "avg_startup_time": self._load_seconds / self._loads if self._loads else 0.0,
                "model_execution_count": {key: int(count) for key, (count, _) in self._by_model.items()},
                "model_execution_times": {key: seconds for key, (_, seconds) in self._by_model.items()},
                "family_execution_count": {key: int(count) for key, (count, _) in self._by_family.items()},
                "family_execution_times": {key: seconds for key, (_, seconds) in self._by_family.items()},
                "browser_success_count": {key: int(count) for key, (count, _) in self._by_browser.items()},
                "browser_execution_times": {key: seconds for key, (_, seconds) in self._by_browser.items()},
            }


class ResourcePoolBridge:
    """A pool of browsers, for asyncio.

    Args:
        max_connections: Most browsers of a service that is started here.
        browser: Kind of browser that is wished for: "chrome", "firefox", "edge" or "safari".
        enable_gpu: Whether models may run on WebGPU.
        enable_cpu: Whether models may run on the CPU.
        headless: Whether browsers open no windows.
        address: Where a service listens; by default what WEBINFER_ADDRESS says.

    Further arguments of the framework are taken and have no meaning here.
    """

    def __init__(
        self,
        max_connections: int = 4,
        browser: str = "chrome",
        enable_gpu: bool = True,
        enable_cpu: bool = True,
        headless: bool = True,
        *_: Any,
        address: str | None = None,
        **__: Any,
    ) -> None:
        backends = _enabled(enable_gpu, enable_cpu)
        self._pool = _Pool(max_connections, headless, dict.fromkeys(_FAMILIES, browser), True, backends, address)

    async def initialize(self, model_configs: Iterable[Mapping[str, Any]] | None = None) -> bool:
        """Connects, and registers models, each with a `model_id`. Raises `UnavailableError` where that cannot be."""
        for config in model_configs or ():
            self.register_model(config)
        client = await asyncio.to_thread(self._pool.open)
        await asyncio.to_thread(client.models.list)
        return True

    def register_model(self, model_config: Mapping[str, Any]) -> _Done:
        """Makes a model known: `model_id`, and as wished `model_name`, `family`, `backend`, `precision`."""
        if not model_config.get("model_id"):
            raise InvalidInputError("a model's configuration needs a model_id")
        self._pool.configure(str(model_config["model_id"]), model_config)
        return _Done()

    async def load_model(self, model_id: str) -> tuple[bool, str | None]:
        """Loads a model. Returns whether that went well, and the id that it has at the service."""
        try:
            return True, await asyncio.to_thread(self._pool.load, model_id)
        except WebinferError:
            return False, None

    async def run_inference(self, model_id: str, inputs: Any, retry_attempts: int = 1) -> dict[str, Any]:
        """Runs a model, and loads it where it must.

        Returns a result with `success`; where that is true with `output`, `platform`, `browser` and `execution`, the
        record of what ran, else with `error`. Refused calls are tried again by the client itself.
        """
        del retry_attempts
        future = await asyncio.to_thread(self._pool.submit, model_id, inputs)
        return await asyncio.wrap_future(future)

    async def run_parallel(self, tasks: Sequence[tuple[str, Any]], *_: Any, **__: Any) -> list[dict[str, Any]]:
        """Runs several models at once. Results are in the order of the tasks."""
        return list(await asyncio.gather(*(self.run_inference(model, inputs) for model, inputs in tasks)))

    def get_stats(self) -> dict[str, Any]:
        """What was counted and timed."""
        return self._pool.stats.told()

    async def close(self) -> None:
        """Ends the connection, and the service that was started here."""
        await asyncio.to_thread(self._pool.close)


class ResourcePoolBridgeIntegration:
    """A pool of browsers whose models are called like functions.

    Args:
        max_connections: Most browsers of a service that is started here.
        enable_gpu: Whether models may run on WebGPU.
        enable_cpu: Whether models may run on the CPU.
        headless: Whether browsers open no windows.
        browser_preferences: Kind of browser by family of models, such as `{"audio": "firefox"}`. A guess: what is found
            to be faster wins.
        adaptive_scaling: Whether browsers come and go with the work.
        address: Where a service listens; by default what WEBINFER_ADDRESS says.

    Further arguments of the framework are taken and have no meaning here. `initialize`, `get_model`, a model's call and
    `close` can be awaited or not.
    """

    def __init__(
        self,
        max_connections: int = 4,
        enable_gpu: bool = True,
        enable_cpu: bool = True,
        headless: bool = True,
        browser_preferences: Mapping[str, str] | None = None,
        adaptive_scaling: bool = True,
        *_: Any,
        address: str | None = None,
        **__: Any,
    ) -> None:
        backends = _enabled(enable_gpu, enable_cpu)
        self._pool = _Pool(max_connections, headless, browser_preferences or {}, adaptive_scaling, backends, address)

    def initialize(self) -> _Done:
        """Connects. Raises `UnavailableError` where no service is there and none can be started."""
        self._pool.open().models.list()
        return _Done()

    def get_model(
        self,
        model_type: str,
        model_name: str,
        hardware_preferences: Mapping[str, Any] | None = None,
        *_: Any,
        **__: Any,
    ) -> WebModel:
        """Loads a model and returns it.

        Args:
            model_type: Family, such as "text_embedding", "vision" or "audio".
            model_name: Folder of the model, below the service's models folder.
            hardware_preferences: `priority_list`, backends with the best first; `precision`, in bits.

        Raises:
            WebinferError: It could not be loaded; the error says why.
        """
        config = {"model_name": model_name, "family": model_type, **(hardware_preferences or {})}
        model = self._pool.configure_apart(f"{model_type}:{model_name}", config)
        self._pool.load(model)
        return WebModel(self._pool, model, model_type, model_name)

    def execute_concurrent(self, models_and_inputs: Iterable[tuple[Any, Any]]) -> _Results:
        """Runs models, each given as what `get_model` returned or by its `model_id`, on their inputs, all at once."""
        futures = [
            self._pool.submit(model.model_id if isinstance(model, WebModel) else str(model), inputs)
            for model, inputs in models_and_inputs
        ]
        return _Results(future.result() for future in futures)

    def get_execution_stats(self) -> dict[str, Any]:
        """What was counted and timed."""
        return self._pool.stats.told()

    get_metrics = get_execution_stats

    def close(self) -> _Done:
        """Ends the connection, and the service that was started here."""
        self._pool.close()
        return _Done()

    def __enter__(self) -> ResourcePoolBridgeIntegration:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WebModel(_Done):
    """A model in browsers. Calling it runs it."""

    def __init__(self, pool: _Pool, model_id: str, model_type: str, model_name: str) -> None:
        self._pool = pool
        self.model_id = model_id
        self.model_type = model_type
        self.model_name = model_name

    def __call__(self, inputs: Any) -> _Record:
        """Runs it on one input: a text, a picture, sound, or a mapping of them or of arrays.

        Returns a result with `success`; where that is true with `output`, `platform`, `browser` and `execution`, the
        record of what ran, else with `error`.
        """
        return self._pool.run(self.model_id, inputs)

    def run_batch(self, batch_inputs: Iterable[Any]) -> _Results:
        """Runs it on many inputs at once."""
        return _Results(future.result() for future in [self._pool.submit(self.model_id, it) for it in batch_inputs])

    run_concurrent = run_batch


def _enabled(gpu: bool, cpu: bool) -> Sequence[str]:
    """Backends that models may run on, where that is not any."""
    if not gpu and not cpu:
        raise InvalidInputError("enable_gpu and enable_cpu are both off: nothing is left to run on")
    return () if gpu and cpu else _ON_GPU if gpu else _ON_CPU


def _bits(config: Mapping[str, Any]) -> int:
    bits = config.get("precision", config.get("bits"))
    if bits is None:
        return 0
    if bits not in _PRECISIONS:
        raise InvalidInputError(f"a precision of {bits!r} bits is none of {', '.join(map(str, _PRECISIONS))}")
    return int(bits)


def _is_encoded(inputs: Any) -> bool:
    """Whether a mapping has what a tokenizer or a processor makes, and not what people have."""
    return isinstance(inputs, Mapping) and bool({"input_ids", "pixel_values", "input_features"} & inputs.keys())


def _item(inputs: Any) -> Any:
    """The input that the service takes, of what callers of the framework give."""
    if _is_encoded(inputs):
        return {name: _batch(np.asarray(value)) for name, value in inputs.items()}
    if not isinstance(inputs, Mapping):
        return inputs
    for keys, make in (
        (("question", "context"), lambda question, context: Question(question, context)),
        (("text",), lambda text: text),
        (("input_text",), lambda text: text),
        (("image",), Image),
        (("audio", "sampling_rate"), Audio),
        (("audio",), Audio),
    ):
        if inputs.keys() == set(keys):
            return make(*(inputs[key] for key in keys))
    return inputs


def _batch(array: np.ndarray) -> np.ndarray:
    """As the graph takes it: a row of ids is a batch of one, floats have 32 bits."""
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return array[np.newaxis] if array.ndim == 1 else array
