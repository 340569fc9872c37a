"""The client for asyncio against a service that does as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from fake_service import SOON_S, Fake, abort, answer, refusal, serving

import webinfer
from webinfer.v1 import inference_pb2


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def address(fake: Fake) -> Iterator[str]:
    with serving(fake) as address:
        yield address


def test_calls_are_awaited(address: str) -> None:
    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            assert (await client.embed("m", ["a", "b"])).shape == (1, 1)
            answers = await asyncio.gather(*(client.infer("m", "x") for _ in range(50)))
            assert all(one[0].embedding.tolist() == [1] for one in answers)
            async with client.generate("m", "x") as generation:
                assert [partial.text async for partial in generation] == ["so ", "far"]
                assert (await generation.response())[0].embedding.tolist() == [1]
            assert len([one async for one in client.map("m", ["a", "b", "c"])]) == 3
            assert [one async for one in client.stream([])] == []

    asyncio.run(use())


def test_cancelling_a_task_cancels_its_call(fake: Fake, address: str) -> None:
    fake.infer = lambda request, context: fake.hold(context)

    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            task = asyncio.create_task(client.infer("m", "x"))
            await asyncio.to_thread(fake.calls.get, timeout=SOON_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(fake.cancelled.wait, SOON_S)

    asyncio.run(use())


def test_closing_ends_calls_that_run(fake: Fake, address: str) -> None:
    fake.infer = lambda request, context: fake.hold(context)

    async def use() -> None:
        client = webinfer.AsyncClient(address)
        task = asyncio.create_task(client.infer("m", "x"))
        await asyncio.to_thread(fake.calls.get, timeout=SOON_S)
        await client.close()
        with pytest.raises(webinfer.CancelledError):
            await task
        with pytest.raises(webinfer.ClosedError):
            await client.infer("m", "x")

    asyncio.run(use())


def test_errors_are_those_of_the_other_client(fake: Fake, address: str) -> None:
    fake.infer = lambda request, context: abort(context, refusal(after=0.25), -1)

    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            with pytest.raises(webinfer.OverloadedError) as caught:
                await client.infer("m", "x")
            assert caught.value.retry_after == 0.25
            with pytest.raises(webinfer.InvalidInputError):
                await client.infer("m", object())

    asyncio.run(use())


def test_each_loop_has_its_own_client(address: str) -> None:
    client = webinfer.AsyncClient(address)

    async def use() -> float:
        return (await client.embed("m", "x"))[0]

    assert asyncio.run(use()) == 1
    with pytest.raises(webinfer.ClosedError, match="another event loop"):
        asyncio.run(use())
    with pytest.raises(webinfer.ClosedError, match="inside of an event loop"):
        client.generate("m", "x")


def test_a_stream_holds_back_what_is_too_much(address: str) -> None:
    taken: list[int] = []

    async def requests() -> AsyncIterator[webinfer.Request]:
        for number in range(50):
            taken.append(number)
            yield webinfer.Request("m", str(number))

    async def use() -> None:
        answered = []
        async with webinfer.AsyncClient(address) as client:
            async for one in client.stream(requests(), in_flight=4):
                answered.append(one.index)
                assert len(taken) - len(answered) <= 4
        assert answered == list(range(50))

    asyncio.run(use())


def test_a_stream_sends_again_what_was_refused_for_now(fake: Fake, address: str) -> None:
    refused: set[str] = set()

    def outcome(request: inference_pb2.InferStreamRequest) -> object:
        text = request.request.items[0].text
        if text not in refused:
            refused.add(text)
            return refusal()
        return answer(5)

    fake.on_stream = outcome

    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            answers = [one async for one in client.stream([webinfer.Request("m", it) for it in ("a", "b")])]
            assert [one.result()[0].embedding.tolist() for one in answers] == [[5], [5]]

    asyncio.run(use())


def test_an_error_of_the_requests_is_the_caller_s(fake: Fake, address: str) -> None:
    async def requests() -> AsyncIterator[webinfer.Request]:
        yield webinfer.Request("m", "x")
        raise KeyError("mine")

    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            with pytest.raises(KeyError, match="mine"):
                [one async for one in client.stream(requests(), in_flight=1)]
        assert await asyncio.to_thread(fake.cancelled.wait, SOON_S)

    asyncio.run(use())


def test_a_stream_that_the_service_ends_is_an_error(fake: Fake, address: str) -> None:
    fake.on_stream = lambda request: None

    async def use() -> None:
        async with webinfer.AsyncClient(address) as client:
            with pytest.raises(webinfer.UnavailableError):
                [one async for one in client.stream([webinfer.Request("m", "x")])]

    asyncio.run(use())
