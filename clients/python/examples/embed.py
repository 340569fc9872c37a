"""Embeds sentences with a model that runs in a browser, and shows which are alike and what ran.

python examples/embed.py --address localhost:50051 "A cat sleeps." "A kitten naps." "Stocks fell."
"""

from __future__ import annotations

import argparse
import math
import sys

import grpc

from webinfer.v1 import (
    execution_pb2,
    inference_pb2,
    inference_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
)

SENTENCES = [
    "A person is playing a guitar on stage.",
    "Someone performs music in front of an audience.",
    "The cat sleeps on the warm windowsill.",
    "A kitten naps in the sun.",
]


def ensure_registered(models: model_pb2_grpc.ModelServiceStub, model: str) -> None:
    """Registers the model under the name of its folder, unless the service knows it."""
    try:
        models.Get(model_pb2.ModelServiceGetRequest(id=model))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        models.Register(model_pb2.RegisterRequest(spec=model_pb2.ModelSpec(id=model)))
        print(f"registered {model}")


def load(models: model_pb2_grpc.ModelServiceStub, model: str) -> None:
    """Loads the model and shows how it goes."""
    for step in models.Load(model_pb2.LoadRequest(id=model)):
        phase = model_pb2.LoadPhase.Name(step.phase).removeprefix("LOAD_PHASE_").lower()
        read = f"{step.loaded_bytes / 1e6:.1f} of {step.total_bytes / 1e6:.1f} MB"
        print(f"{step.elapsed_ms / 1e3:6.1f} s  {phase:8} {read}  {step.file}")


def cosine(a: list[float], b: list[float]) -> float:
    """The cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def show(sentences: list[str], answer: inference_pb2.InferResponse) -> None:
    """Prints how alike the sentences are, and the record of what ran."""
    vectors = [list(result.embedding.values) for result in answer.results]
    print(f"\nsimilarities of {len(vectors)} vectors of {len(vectors[0])} components:")
    for sentence, vector in zip(sentences, vectors, strict=True):
        print("  " + "".join(f"{cosine(vector, other):7.3f}" for other in vectors) + f"   {sentence}")
    for execution in answer.executions:
        backend = execution_pb2.Backend.Name(execution.backend_used).removeprefix("BACKEND_").lower()
        print(f"\nran on {backend} in {execution.browser} {execution.browser_version}. The whole record:")
        print("  " + str(execution).strip().replace("\n", "\n  "))


def main() -> int:
    """Runs the example."""
    parser = argparse.ArgumentParser(description="Embeds sentences with a model that runs in a browser.")
    parser.add_argument("sentences", nargs="*", default=SENTENCES, help="sentences to compare")
    parser.add_argument("--address", default="localhost:50051", help="where the service listens (%(default)s)")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="id of the model (%(default)s)")
    arguments = parser.parse_args()
    sentences = list(arguments.sentences)

    with grpc.insecure_channel(arguments.address) as channel:
        models = model_pb2_grpc.ModelServiceStub(channel)
        inference = inference_pb2_grpc.InferenceServiceStub(channel)
        try:
            ensure_registered(models, arguments.model)
            load(models, arguments.model)
            items = [inference_pb2.Item(text=sentence) for sentence in sentences]
            answer = inference.Infer(inference_pb2.InferRequest(model=arguments.model, items=items), timeout=30)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1
        show(sentences, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
