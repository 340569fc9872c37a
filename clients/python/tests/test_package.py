"""The package without a service: imports, the README, the example."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["capability", "execution", "inference", "model", "pool"])
def test_every_file_of_the_api_has_its_modules(name: str) -> None:
    messages = importlib.import_module(f"webinfer.v1.{name}_pb2")
    assert messages.DESCRIPTOR.package == "webinfer.v1"
    importlib.import_module(f"webinfer.v1.{name}_pb2_grpc")


def test_an_error_on_a_stream_is_the_public_status() -> None:
    from google.rpc import status_pb2

    from webinfer.v1 import inference_pb2

    answer = inference_pb2.InferStreamResponse(error=status_pb2.Status(code=5, message="no"))
    assert inference_pb2.InferStreamResponse.FromString(answer.SerializeToString()).error.code == 5


def test_the_examples_of_the_readme_compile() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_example_tells_its_options() -> None:
    command = [sys.executable, HERE / "examples/embed.py", "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "--address" in said
