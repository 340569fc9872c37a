"""Does what each line of standard input asks for, and answers with a line of JSON: times in microseconds.

calls COUNT FLOATS    round trips of a tensor of the model "identity", one after the other
stream COUNT          embeds that many short sentences with the model "all-MiniLM-L6-v2", over one call; one time

WEBINFER_ADDRESS=localhost:50051 python tests/bench.py
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

import webinfer


def calls(client: webinfer.Client, count: int, floats: int) -> list[float]:
    """Times of round trips."""
    inputs = {"x": np.ones(floats, np.float32)}
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        response = client.infer("identity", inputs)
        assert response[0].tensors["y"].shape == (floats,)
        times.append((time.perf_counter() - begun) * 1e6)
    return times


def stream(client: webinfer.Client, count: int) -> list[float]:
    """The time of all."""
    sentences = (f"Sentence {number} is short." for number in range(count))
    begun = time.perf_counter()
    embedded = sum(result.embedding.shape == (384,) for result in client.map("all-MiniLM-L6-v2", sentences))
    assert embedded == count
    return [(time.perf_counter() - begun) * 1e6]


def main() -> None:
    """Serves until standard input ends."""
    with webinfer.Client(os.environ["WEBINFER_ADDRESS"]) as client:
        for line in sys.stdin:
            what, *numbers = line.split()
            print(json.dumps({"calls": calls, "stream": stream}[what](client, *map(int, numbers))), flush=True)


if __name__ == "__main__":
    main()
