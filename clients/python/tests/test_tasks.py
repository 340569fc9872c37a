"""A running service with the models of tests/models in its models folder. WEBINFER_ADDRESS names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import CALL_S, failure, load

import webinfer
from webinfer.v1 import inference_pb2, inference_pb2_grpc, model_pb2_grpc

README = Path(__file__).resolve().parents[1] / "README.md"
MEDIA = Path(__file__).resolve().parents[3] / "tests" / "media"
Models = model_pb2_grpc.ModelServiceStub
Inference = inference_pb2_grpc.InferenceServiceStub


def picture(name: str) -> inference_pb2.Item:
    return inference_pb2.Item(image=inference_pb2.Image(encoded=(MEDIA / name).read_bytes()))


def test_a_text_comes_as_it_is_made(models: Models, inference: Inference) -> None:
    load(models, "tiny-llama")
    parameters = inference_pb2.Parameters(generation=inference_pb2.Generation(max_new_tokens=6))
    items = [inference_pb2.Item(text="The cat sleeps")]
    request = inference_pb2.InferRequest(model="tiny-llama", items=items, parameters=parameters)
    told, response = "", None
    for step in inference.Generate(inference_pb2.GenerateRequest(request=request), timeout=CALL_S):
        assert response is None, "something came after the answer"
        if step.WhichOneof("result") == "partial":
            told += step.partial.text
        else:
            response = step.response
    assert response is not None
    generated = response.results[0].generated
    assert told == generated.text
    assert generated.usage.generated_tokens == 6
    assert generated.finish_reason == inference_pb2.FINISH_REASON_LENGTH


def test_the_example_of_the_readme_that_writes_runs(
    address: str, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    load(models, "tiny-llama")
    _, block, *_ = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert "smollm" in block
    with webinfer.Client(address) as client:
        names = {"client": client, "webinfer": webinfer}
        exec(compile(block.replace("smollm", "tiny-llama"), "README.md", "exec"), names)
    assert "generated_tokens=100" in capsys.readouterr().out


def test_pictures_are_classified(models: Models, inference: Inference) -> None:
    load(models, "tiny-vit")
    parameters = inference_pb2.Parameters(top_k=2)
    items = [picture("shapes-32.png"), picture("photo-like.jpg"), picture("animated.gif")]
    request = inference_pb2.InferRequest(model="tiny-vit", items=items, parameters=parameters)
    for result in inference.Infer(request, timeout=CALL_S).results:
        scores = [found.score for found in result.classes.classes]
        assert len(scores) == 2
        assert 1 >= scores[0] >= scores[1] >= 0


@pytest.mark.parametrize("name", ["truncated.png", "bomb.png", "tones-16k.wav"])
def test_what_is_no_whole_picture_is_refused(models: Models, inference: Inference, name: str) -> None:
    load(models, "tiny-vit")
    request = inference_pb2.InferRequest(model="tiny-vit", items=[picture(name)])
    assert failure(lambda: inference.Infer(request, timeout=CALL_S)).fields == ["items[0].image.encoded"]
