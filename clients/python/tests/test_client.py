"""The client against a service that does as a test says."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
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


@pytest.fixture
def client(address: str) -> Iterator[webinfer.Client]:
    with webinfer.Client(address, backoff=(0.01, 0.05)) as client:
        yield client


def test_it_says_who_it_is_and_how_urgent_it_is(fake: Fake, address: str) -> None:
    with webinfer.Client(address, client_name="me", priority="low") as client:
        client.infer("m", "x")
        assert fake.metadata["webinfer-client"] == "me"
        assert fake.calls.get(timeout=SOON_S).priority == inference_pb2.PRIORITY_LOW
        client.infer("m", "x", priority="high")
        assert fake.calls.get(timeout=SOON_S).priority == inference_pb2.PRIORITY_HIGH


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"max_attempts": 6},
        {"max_attempts": 0},
        {"backoff": (2, 1)},
        {"priority": "urgent"},
        {"max_message_bytes": 0},
        {"max_message_bytes": 2**31},
        {"timeout": "5"},
        {"timeout": None},
        {"max_attempts": 2.5},
        {"backoff": 1},
        {"backoff": (1e-5, 1)},
        {"client_name": "naïve"},
        {"credentials": "secret"},
    ],
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(webinfer.InvalidInputError):
        webinfer.Client("localhost:1", **settings)


@pytest.mark.parametrize("address", ["http://localhost:50051", "", "local host:1", 5, None])
def test_what_is_no_address_is_refused(address: object) -> None:
    with pytest.raises(webinfer.InvalidInputError, match="address"):
        webinfer.Client(address)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.infer(5, "x"),
        lambda client: client.infer("m", "x", timeout="1"),
        lambda client: client.infer("m", "x", timeout=float("nan")),
        lambda client: client.infer("m", "x", parameters="top_k"),
        lambda client: client.infer("m", "x", parameters={"top": 3}),
        lambda client: client.models.load(5),
        lambda client: client.models.register("m", replicas=-1),
        lambda client: client.models.register("m", backends="wasm"),
        lambda client: client.models.register("m", dtypes=["q8"]),
        lambda client: client.models.register("m", bits="4"),
        lambda client: list(client.stream(["x"])),
        lambda client: list(client.stream([], in_flight="all")),
    ],
)
def test_what_cannot_be_sent_is_refused_as_an_input(
    fake: Fake, client: webinfer.Client, call: Callable[[webinfer.Client], object]
) -> None:
    with pytest.raises(webinfer.InvalidInputError) as caught:
        call(client)
    assert str(caught.value).count("INVALID_ARGUMENT") == 1
    assert fake.calls.empty()


@pytest.mark.parametrize("forever", [float("inf"), 1e30, 10**12])
def test_a_timeout_may_be_endless(address: str, forever: float) -> None:
    with webinfer.Client(address, timeout=forever) as client:
        client.infer("m", "x")
        assert [it.embedding[0] for it in client.map("m", ["x"])] == [1]


def test_a_refused_call_is_tried_again_when_the_service_says(fake: Fake, client: webinfer.Client) -> None:
    left = iter([1, 1, 0])
    fake.infer = lambda request, context: abort(context, refusal(), 1) if next(left) else answer(7)
    assert client.embed("m", "x").tolist() == [7]
    assert fake.calls.qsize() == 3


def test_what_stays_refused_says_when_to_come_back(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: abort(context, refusal(after=0.25), 1)
    with pytest.raises(webinfer.OverloadedError) as caught:
        client.infer("m", "x")
    assert (caught.value.reason, caught.value.retry_after, fake.calls.qsize()) == ("OVERLOADED", 0.25, 5)


def test_a_negative_pushback_means_never(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: abort(context, refusal(reason="OUT_OF_MEMORY"), -1)
    with pytest.raises(webinfer.OverloadedError):
        client.infer("m", "x")
    assert fake.calls.qsize() == 1


def test_one_attempt_is_one_attempt(fake: Fake, address: str) -> None:
    fake.infer = lambda request, context: abort(context, refusal(), 1)
    with webinfer.Client(address, max_attempts=1) as client, pytest.raises(webinfer.OverloadedError):
        client.infer("m", "x")
    assert fake.calls.qsize() == 1


def test_an_answer_that_does_not_come_in_time(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: fake.hold(context)
    with pytest.raises(webinfer.DeadlineExceededError, match=r"127\.0\.0\.1:") as caught:
        client.infer("m", "x", timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert fake.cancelled.wait(SOON_S)


def test_cancelling_a_future_cancels_its_call(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: fake.hold(context)
    future = client.submit("m", "x")
    fake.calls.get(timeout=SOON_S)
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(SOON_S)
    assert fake.cancelled.wait(SOON_S)


def test_a_future_has_the_answer_or_the_error(fake: Fake, client: webinfer.Client) -> None:
    assert client.submit("m", "x").result(SOON_S)[0].embedding.tolist() == [1]
    fake.infer = lambda request, context: abort(context, refusal(), -1)
    assert isinstance(client.submit("m", "x").exception(SOON_S), webinfer.OverloadedError)


def test_a_closed_client_says_so(fake: Fake, client: webinfer.Client) -> None:
    client.close()
    client.close()
    for call in (
        lambda: client.infer("m", "x"),
        lambda: client.submit("m", "x"),
        lambda: client.generate("m", "x"),
        lambda: next(client.stream([webinfer.Request("m", "x")])),
        lambda: client.models.list(),
        lambda: client.channel,
    ):
        with pytest.raises(webinfer.ClosedError):
            call()
    assert fake.calls.empty()


def test_closing_ends_calls_that_run(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: fake.hold(context)
    future = client.submit("m", "x")
    failed: list[Exception] = []

    def wait() -> None:
        try:
            client.infer("m", "x")
        except webinfer.WebinferError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    for _ in range(2):
        fake.calls.get(timeout=SOON_S)
    client.close()
    thread.join(SOON_S)
    assert isinstance(failed[0], webinfer.CancelledError)
    assert isinstance(future.exception(SOON_S), webinfer.CancelledError)


def test_a_service_that_is_not_there_comes_back_and_goes_away(fake: Fake) -> None:
    with serving(fake) as address:
        pass
    with webinfer.Client(address, backoff=(0.01, 0.05)) as client:
        with pytest.raises(webinfer.UnavailableError, match=f"{address}.*webinfer serve") as caught:
            client.infer("m", "x")
        assert isinstance(caught.value, ConnectionError)
        for _ in range(2):
            with serving(Fake(), address):
                end = time.monotonic() + SOON_S
                while True:
                    try:
                        client.infer("m", "x")
                        break
                    except webinfer.UnavailableError:
                        assert time.monotonic() < end
            with pytest.raises(webinfer.UnavailableError):
                client.infer("m", "x")


def test_a_message_over_a_limit_is_refused_and_nothing_else(fake: Fake) -> None:
    with serving(fake, options=[("grpc.max_receive_message_length", 1000)]) as address:
        with webinfer.Client(address, max_attempts=1) as client:
            with pytest.raises(webinfer.InvalidInputError, match=r"larger|max"):
                client.infer("m", "x" * 2000)
            client.infer("m", "x")
        with webinfer.Client(address, max_message_bytes=100) as client:
            with pytest.raises(webinfer.InvalidInputError, match=r"larger|max"):
                client.infer("m", "x" * 200)
            fake.infer = lambda request, context: answer(*range(100))
            with pytest.raises(webinfer.InvalidInputError, match=r"larger|max"):
                client.infer("m", "x")


def test_threads_share_a_client(client: webinfer.Client) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        vectors = list(pool.map(lambda n: client.embed("m", ["x"] * n)[0, 0] if n else 0, [1] * 200))
    assert vectors == [1] * 200


def test_a_forked_process_is_told_to_make_its_own(client: webinfer.Client) -> None:
    client.infer("m", "x")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.infer("m", "x")
            os.write(writes, b"it ran")
        except webinfer.ClosedError as error:
            os.write(writes, str(error).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        assert b"another process" in pipe.read()
    os.waitpid(child, 0)
    client.infer("m", "x")


def test_errors_travel_between_processes() -> None:
    error = webinfer.OverloadedError("too much", reason="OVERLOADED", fields=["a"], retry_after=2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))


def test_generation_tells_its_steps_and_its_answer(client: webinfer.Client) -> None:
    with client.generate("m", "x") as generation:
        assert [partial.text for partial in generation] == ["so ", "far"]
        assert generation.response()[0].embedding.tolist() == [1]
        assert list(generation) == []
    assert client.generate("m", "x").response()[0].kind == "embedding"


def test_leaving_a_generation_stops_it(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: fake.hold(context)
    with client.generate("m", "x") as generation:
        assert next(generation).text == "so "
        fake.calls.get(timeout=SOON_S)
        assert next(generation).text == "far"
    assert fake.cancelled.wait(SOON_S)
    with pytest.raises(webinfer.CancelledError):
        generation.response()


def test_a_refused_generation_is_an_error(fake: Fake, client: webinfer.Client) -> None:
    fake.infer = lambda request, context: abort(context, refusal(), -1)
    with client.generate("m", "x") as generation, pytest.raises(webinfer.OverloadedError):
        list(generation)


def test_a_stream_answers_all_and_holds_back_what_is_too_much(client: webinfer.Client) -> None:
    taken = []

    def requests() -> Iterator[webinfer.Request]:
        for number in range(50):
            taken.append(number)
            yield webinfer.Request("m", str(number))

    answered = []
    for one in client.stream(requests(), in_flight=4):
        answered.append(one.index)
        assert len(taken) - len(answered) < 4
        assert one.request.inputs == str(one.index)
    assert answered == list(range(50))
    assert list(client.stream([])) == []


def test_a_stream_sends_again_what_was_refused_for_now(fake: Fake, client: webinfer.Client) -> None:
    refused: set[str] = set()

    def outcome(request: inference_pb2.InferStreamRequest) -> object:
        text = request.request.items[0].text
        if text == "never":
            return refusal()
        if text not in refused:
            refused.add(text)
            return refusal()
        return answer(5)

    fake.on_stream = outcome
    answers = {
        one.request.inputs: one for one in client.stream(webinfer.Request("m", it) for it in ("a", "never", "b"))
    }
    assert answers["a"].result()[0].embedding.tolist() == [5]
    assert isinstance(answers["never"].error, webinfer.OverloadedError)
    with pytest.raises(webinfer.OverloadedError):
        answers["never"].result()
    assert fake.calls.qsize() == 2 + 2 + 5


def test_an_error_of_the_requests_ends_the_stream_and_is_the_caller_s(fake: Fake, client: webinfer.Client) -> None:
    def requests() -> Iterator[webinfer.Request]:
        yield webinfer.Request("m", "x")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        # The first one is answered before the next is asked for.
        list(client.stream(requests(), in_flight=1))
    assert fake.cancelled.wait(SOON_S)


def test_leaving_a_stream_cancels_it(fake: Fake, client: webinfer.Client) -> None:
    for _ in client.stream(webinfer.Request("m", "x") for _ in range(1000)):
        break
    assert fake.cancelled.wait(SOON_S)


def test_a_stream_that_the_service_ends_is_an_error(fake: Fake, client: webinfer.Client) -> None:
    fake.on_stream = lambda request: None
    with pytest.raises(webinfer.UnavailableError):
        list(client.stream([webinfer.Request("m", "x")]))


def waiting(text: str, is_waiting: threading.Event, released: threading.Event) -> Iterator[webinfer.Request]:
    """A request, and another that does not come before it is released."""
    yield webinfer.Request("m", text)
    is_waiting.set()
    assert released.wait(SOON_S), "nobody could wait so long for the next request"
    yield webinfer.Request("m", text)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end; then the threads of streams end as well."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "webinfer-stream":
            thread.join(SOON_S)
            assert not thread.is_alive()


@pytest.mark.parametrize("call", ["stream", "map"])
def test_answers_do_not_wait_for_the_next_request(client: webinfer.Client, call: str) -> None:
    answered: queue.Queue[int] = queue.Queue()

    def numbers() -> Iterator[str]:
        for number in range(4):
            yield str(number)
            assert answered.get(timeout=SOON_S) == number

    if call == "stream":
        answers = (one.index for one in client.stream(webinfer.Request("m", it) for it in numbers()))
    else:
        answers = (at for at, _ in enumerate(client.map("m", numbers())))
    for index in answers:
        answered.put(index)
    assert index == 3


def test_leaving_a_stream_does_not_wait_for_the_next_request(
    fake: Fake, client: webinfer.Client, released: threading.Event
) -> None:
    is_waiting = threading.Event()
    stream = client.stream(waiting("x", is_waiting, released))
    assert next(stream).index == 0
    assert is_waiting.wait(SOON_S)
    stream.close()
    assert fake.cancelled.wait(SOON_S)


@pytest.mark.usefixtures("released")
def test_leaving_a_stream_ends_the_thread_that_has_no_room(client: webinfer.Client) -> None:
    stream = client.stream((webinfer.Request("m", "x") for _ in range(1000)), in_flight=1)
    assert next(stream).index == 0
    stream.close()


def test_a_deadline_holds_while_the_next_request_is_waited_for(
    client: webinfer.Client, released: threading.Event
) -> None:
    with pytest.raises(webinfer.DeadlineExceededError):
        list(client.stream(waiting("x", threading.Event(), released), timeout=0.2))


def test_closing_the_client_ends_a_stream_that_waits_for_the_next_request(
    client: webinfer.Client, released: threading.Event
) -> None:
    is_waiting = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answers = pool.submit(list, client.stream(waiting("x", is_waiting, released)))
        assert is_waiting.wait(SOON_S)
        client.close()
        assert isinstance(answers.exception(SOON_S), webinfer.CancelledError)


def test_a_service_that_ends_a_stream_is_heard_while_the_next_request_is_waited_for(
    fake: Fake, client: webinfer.Client, released: threading.Event
) -> None:
    fake.on_stream = lambda request: None
    with pytest.raises(webinfer.UnavailableError):
        list(client.stream(waiting("x", threading.Event(), released)))


def test_an_error_of_the_requests_keeps_its_cause(client: webinfer.Client) -> None:
    def requests() -> Iterator[webinfer.Request]:
        yield webinfer.Request("m", "x")
        raise KeyError("mine") from OSError("below")

    with pytest.raises(KeyError, match="mine") as caught:
        list(client.stream(requests()))
    assert isinstance(caught.value.__cause__, OSError)


def test_map_keeps_the_order(fake: Fake, client: webinfer.Client) -> None:
    fake.on_stream = lambda request: answer(float(request.request.items[0].text))
    assert [it.embedding[0] for it in client.map("m", map(str, range(100)), in_flight=8)] == list(range(100))


def test_records_are_flat_rows(client: webinfer.Client) -> None:
    (row,) = client.infer("m", "x").records()
    assert (row["item"], row["kind"], row["browser"], row["queue_us"]) == (0, "embedding", "Fake", 0)
    assert isinstance(row["embedding"], np.ndarray)


def test_the_channel_is_for_other_stubs(address: str) -> None:
    with webinfer.Client(address) as client:
        assert isinstance(client.channel, grpc.Channel)
