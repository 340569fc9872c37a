"""The examples, with a running service. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from support import LOAD_S, MINILM

CLIENT = Path(__file__).resolve().parents[1]


def test_the_example_of_the_readme_runs(address: str, minilm: str, capsys: pytest.CaptureFixture[str]) -> None:
    block, _ = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert minilm in block
    assert "localhost:50051" in block
    exec(compile(block.replace("localhost:50051", address), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "LOAD_PHASE_READY" in said
    assert "BACKEND_WASM" in said


@pytest.mark.usefixtures("minilm")
def test_the_example_runs(address: str) -> None:
    texts = ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."]
    command = [sys.executable, CLIENT / "examples/embed.py", "--address", address, *texts]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LOAD_S)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ +(-?\d\.\d{3}) +(-?\d\.\d{3}) +(-?\d\.\d{3})   (.+)$", done.stdout, re.MULTILINE)
    assert [row[3] for row in rows] == texts
    table = [[float(value) for value in row[:3]] for row in rows]
    assert [table[index][index] for index in range(3)] == [1.0, 1.0, 1.0]
    assert table[0][1] > statistics.fmean([table[0][2], table[1][2]])
    assert MINILM.sha256() in done.stdout
