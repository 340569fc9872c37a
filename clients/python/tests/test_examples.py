"""The examples, with a running service. WEBINFER_ADDRESS names it; its models folder has all-MiniLM-L6-v2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import LOAD_S

CLIENT = Path(__file__).resolve().parents[1]


def test_the_example_of_the_readme_runs(address: str, minilm: str, capsys: pytest.CaptureFixture[str]) -> None:
    block = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    assert minilm in block
    assert "localhost:50051" in block
    exec(compile(block.replace("localhost:50051", address), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "ready" in said
    likeness = float(re.search(r"(\d\.\d+) by wasm", said)[1])
    assert 0.5 < likeness < 1


@pytest.mark.usefixtures("minilm")
def test_the_example_runs(address: str, tmp_path: Path) -> None:
    sentences = ["A cat sleeps.", "Stocks fell on Monday.", "A kitten naps.", "The market closed lower."]
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(sentences))
    command = [sys.executable, CLIENT / "examples/neighbours.py", file, "--address", address]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LOAD_S)
    assert done.returncode == 0, done.stderr
    pairs = re.findall(r"^(\S.*)\n    (.+)$", done.stdout, re.MULTILINE)
    assert pairs == [(sentences[at], sentences[other]) for at, other in enumerate([2, 3, 0, 1])]
    assert "ran on wasm in" in done.stderr


def test_the_example_tells_what_is_wrong(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("Alone.\n")
    two = tmp_path / "two.txt"
    two.write_text("A.\nB.\n")
    for arguments, word in (["missing.txt"], "cannot be read"), ([one], "at least 2"), ([two], "UNAVAILABLE"):
        command = [sys.executable, CLIENT / "examples/neighbours.py", *arguments, "--address", "127.0.0.1:1"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LOAD_S)
        assert (done.returncode, word in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
