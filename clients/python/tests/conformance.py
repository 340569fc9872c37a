"""Runs the cases of clients/conformance through this client: see the README there.

WEBINFER_ADDRESS=localhost:50051 python tests/conformance.py [--asyncio] CASES.JSON [NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import concurrent.futures
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from google.protobuf import json_format

import webinfer
from webinfer.v1 import inference_pb2

REPOSITORY = Path(__file__).resolve().parents[3]
RESTART_S = 300
Case = dict[str, Any]


def message(value: Any, name: str) -> inference_pb2.InferRequest:
    """A request as the file has it."""
    return json_format.ParseDict(resolve(value, name), inference_pb2.InferRequest())


def resolve(value: Any, name: str) -> Any:
    """With all that stands for something else replaced."""
    if isinstance(value, dict):
        return {key: resolve(part, name) for key, part in value.items()}
    if isinstance(value, list):
        return [resolve(part, name) for part in value]
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(":")
    match kind:
        case "@file":
            return base64.b64encode((REPOSITORY / "tests/media" / rest).read_bytes()).decode()
        case "@zeros":
            return base64.b64encode(bytes(int(rest))).decode()
        case "@ramp":
            return base64.b64encode((bytes(range(256)) * (int(rest) // 256 + 1))[: int(rest)]).decode()
        case "@letters":
            return "x" * int(rest)
    return value.replace("{client}", name)


class Blocking:
    """The cases' calls, with the client that waits."""

    name = "python"

    def __init__(self, address: str) -> None:
        self.client = webinfer.Client(address, client_name=self.name)
        self.pool = concurrent.futures.ThreadPoolExecutor(200)

    async def _on_a_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def register(self, spec: dict[str, Any]) -> None:
        await self._on_a_thread(lambda: self.client.models.register(**spec))
        await self._on_a_thread(lambda: self.client.models.load(spec["model"]))

    async def unregister(self, model: str) -> None:
        await self._on_a_thread(lambda: self.client.models.unregister(model))

    async def infer(self, timeout: float, cancel: bool, **request: Any) -> webinfer.Response:
        if not cancel:
            return await self._on_a_thread(lambda: self.client.infer(**request, timeout=timeout))
        answer = self.client.submit(**request, timeout=timeout)
        answer.cancel()
        return await self._on_a_thread(answer.result)

    async def generate(self, timeout: float, partials: list[Any], cancel: bool, **request: Any) -> webinfer.Response:
        def call() -> webinfer.Response:
            with self.client.generate(**request, timeout=timeout) as generation:
                for partial in generation:
                    partials.append(partial)
                    if cancel:
                        generation.cancel()
                return generation.response()

        return await self._on_a_thread(call)

    async def stream(self, timeout: float, requests: list[webinfer.Request]) -> AsyncIterator[webinfer.Answer]:
        answers = self.client.stream(requests, in_flight=len(requests), timeout=timeout)
        try:
            while (answer := await self._on_a_thread(lambda: next(answers, None))) is not None:
                yield answer
        finally:
            answers.close()

    async def close(self) -> None:
        self.client.close()
        self.pool.shutdown()


class Asynchronous:
    """The cases' calls, with the client for asyncio."""

    name = "python-asyncio"

    def __init__(self, address: str) -> None:
        self.client = webinfer.AsyncClient(address, client_name=self.name)

    async def register(self, spec: dict[str, Any]) -> None:
        await self.client.models.register(**spec)
        await self.client.models.load(spec["model"])

    async def unregister(self, model: str) -> None:
        await self.client.models.unregister(model)

    async def infer(self, timeout: float, cancel: bool, **request: Any) -> webinfer.Response:
        call = asyncio.create_task(self.client.infer(**request, timeout=timeout))
        if cancel:
            await asyncio.sleep(0)
            call.cancel()
        return await call

    async def generate(self, timeout: float, partials: list[Any], cancel: bool, **request: Any) -> webinfer.Response:
        async with self.client.generate(**request, timeout=timeout) as generation:
            async for partial in generation:
                partials.append(partial)
                if cancel:
                    generation.cancel()
            return await generation.response()

    def stream(self, timeout: float, requests: list[webinfer.Request]) -> AsyncIterator[webinfer.Answer]:
        return self.client.stream(requests, in_flight=len(requests), timeout=timeout)

    async def close(self) -> None:
        await self.client.close()


Caller = Blocking | Asynchronous


def arguments(request: inference_pb2.InferRequest) -> dict[str, Any]:
    """What the client is given for a request."""
    priority = inference_pb2.Priority.Name(request.priority).removeprefix("PRIORITY_").lower()
    return {
        "model": request.model,
        "inputs": list(request.items),
        "parameters": request.parameters if request.HasField("parameters") else None,
        "priority": "" if priority == "unspecified" else priority,
    }


async def outcome(call: Any) -> Any:
    """A response, or the error that stands for it."""
    try:
        return await call
    except webinfer.WebinferError as error:
        return error
    except (asyncio.CancelledError, concurrent.futures.CancelledError):
        # What tasks and futures say of themselves when they were cancelled.
        return webinfer.CancelledError("the caller cancelled it")


class Runner:
    """Runs cases with one client."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def run(self, case: Case) -> str:
        """What is wrong, or nothing."""
        if case.get("restart"):
            subprocess.run(os.environ["WEBINFER_RESTART"], shell=True, check=True, timeout=RESTART_S)
        timeout = case.get("timeout_ms", 30_000) / 1e3
        if case["call"] == "stream":
            return await self.stream(case, timeout)
        request = message(case["request"], self.caller.name)
        partials: list[webinfer.Partial] = []
        cancel = case.get("cancel_after", "")
        calls = [
            outcome(self.caller.infer(timeout, cancel == "send", **arguments(request)))
            if case["call"] == "infer"
            else outcome(self.caller.generate(timeout, partials, cancel == "first", **arguments(request)))
            for _ in range(case.get("times", 1))
        ]
        for actual in await asyncio.gather(*calls):
            if why := Expectation(case["expect"]).check(request, actual, partials):
                return why
        return ""

    async def stream(self, case: Case, timeout: float) -> str:
        partials: list[webinfer.Partial] = []
        messages = {it["id"]: message(it["request"], self.caller.name) for it in case["requests"]}
        requests = [
            webinfer.Request(
                **arguments(messages[it["id"]]), on_partial=partials.append if it.get("partials") else None
            )
            for it in case["requests"]
        ]
        stream = self.caller.stream(timeout, requests)
        answers = {}
        async for answer in stream:
            answers[case["requests"][answer.index]["id"]] = answer.response or answer.error
            if case.get("cancel_after") == "first":
                await stream.aclose()
        if "answers" not in case["expect"]:
            # Whoever leaves the iteration has cancelled the stream: there is no error to be had from it.
            left = len(answers) < len(requests)
            actual = webinfer.CancelledError("the caller left") if left else answers[case["requests"][0]["id"]]
            return Expectation(case["expect"]).check(next(iter(messages.values())), actual, partials)
        for name, expect in case["expect"]["answers"].items():
            shared = {key: value for key, value in case["expect"].items() if key != "answers"}
            expectation = Expectation(expect | shared)
            if why := expectation.check(messages[name], answers.get(name), partials):
                return f"{name}: {why}"
        return ""


class Expectation:
    """What a case expects."""

    def __init__(self, expect: dict[str, Any]) -> None:
        self.expect = expect
        self.tolerance = expect.get("tolerance", 0.001)

    def check(self, request: inference_pb2.InferRequest, actual: Any, partials: list[webinfer.Partial]) -> str:
        """What is wrong, or nothing."""
        if "error" in self.expect:
            return self.error(self.expect["error"], actual)
        if not isinstance(actual, webinfer.Response):
            return f"expected an answer, got {actual!r}"
        got = json_format.MessageToDict(actual.message)
        return self.part("response", self.expect["response"], got, request) or self.partials(partials, actual)

    def error(self, wanted: dict[str, Any], actual: Any) -> str:
        if not isinstance(actual, webinfer.WebinferError):
            return f"expected {wanted['code']}, got an answer"
        seen = {
            "code": actual.code,
            "reason": actual.reason,
            "fields": actual.fields,
            "retry": actual.retry_after is not None,
        }
        wrong = [f"{key} {seen[key]!r} in place of {value!r}" for key, value in wanted.items() if seen[key] != value]
        return f"{'; '.join(wrong)}: {actual}" if wrong else ""

    def partials(self, partials: list[webinfer.Partial], response: webinfer.Response) -> str:
        wanted = self.expect.get("partials")
        if wanted is None:
            return ""
        if len(partials) < wanted["at_least"]:
            return f"expected at least {wanted['at_least']} partials, got {len(partials)}"
        text = ""
        for partial in partials:
            text = partial.text if partial.restarted else text + partial.text
        if wanted.get("text") and text.strip() != response[0].text.strip():
            return f"the partials have {text!r}, the answer {response[0].text!r}"
        return ""

    def part(self, path: str, wanted: Any, actual: Any, request: inference_pb2.InferRequest) -> str:
        if isinstance(wanted, dict):
            if not isinstance(actual, dict):
                return f"{path} is no object"
            parts = ((f"{path}.{key}", value, actual.get(key)) for key, value in wanted.items())
            return next(filter(None, (self.part(*part, request) for part in parts)), "")
        if isinstance(wanted, list):
            if not isinstance(actual, list) or len(actual) != len(wanted):
                return f"{path} has not {len(wanted)} elements"
            parts = ((f"{path}[{at}]", *pair) for at, pair in enumerate(zip(wanted, actual, strict=True)))
            return next(filter(None, (self.part(*part, request) for part in parts)), "")
        if actual is None:
            return f"{path} is not there"
        if wanted == "@any":
            return ""
        if wanted == "@request":
            sent = next(iter(request.items[0].tensors.tensors.values())).data
            return "" if base64.b64decode(actual) == sent else f"{path} has not the bytes that were sent"
        if isinstance(wanted, (int, float)) and isinstance(actual, (int, float)):
            near = math.isclose(wanted, actual, rel_tol=0, abs_tol=self.tolerance * max(1, abs(wanted)))
            return "" if near else f"{path}: expected {wanted}, got {actual}"
        # 64-bit numbers are strings in protobuf's JSON form.
        return "" if str(wanted) == str(actual) else f"{path}: expected {wanted!r}, got {actual!r}"


async def main() -> int:
    """Runs all cases whose names contain NAME."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--asyncio", action="store_true")
    parser.add_argument("cases", type=Path)
    parser.add_argument("name", nargs="?", default="")
    options = parser.parse_args()
    file = json.loads(options.cases.read_text(encoding="utf-8"))
    caller = (Asynchronous if options.asyncio else Blocking)(os.environ["WEBINFER_ADDRESS"])
    runner, good = Runner(caller), True
    specs = []
    for model in resolve(file["models"], caller.name):
        spec = {re.sub("[A-Z]", lambda it: "_" + it[0].lower(), key): value for key, value in model.items()}
        specs.append({"model": spec.pop("id")} | spec)
    for spec in specs:
        await caller.register(spec)
    for case in file["cases"]:
        if options.name not in case["name"]:
            continue
        try:
            why = await runner.run(case)
        except Exception as error:  # a case that fails is told, and the others go on
            why = f"{type(error).__name__}: {error}"
        good &= not why
        print(json.dumps({"name": case["name"], "ok": not why} | ({"why": why} if why else {})), flush=True)
    for spec in specs:
        # A restarted service has forgotten it already.
        await outcome(caller.unregister(spec["model"]))
    await caller.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
