"""The package without a service: what is built of it, imports, the README."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import webinfer

HERE = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["capability", "execution", "inference", "model", "pool"])
def test_every_file_of_the_api_has_its_modules(name: str) -> None:
    messages = importlib.import_module(f"webinfer.v1.{name}_pb2")
    assert messages.DESCRIPTOR.package == "webinfer.v1"
    importlib.import_module(f"webinfer.v1.{name}_pb2_grpc")


def test_what_is_said_to_be_there_is() -> None:
    assert all(hasattr(webinfer, name) for name in webinfer.__all__)


def test_an_error_on_a_stream_is_the_public_status() -> None:
    from google.rpc import status_pb2

    from webinfer.v1 import inference_pb2

    answer = inference_pb2.InferStreamResponse(error=status_pb2.Status(code=5, message="no"))
    assert inference_pb2.InferStreamResponse.FromString(answer.SerializeToString()).error.code == 5


def test_the_examples_of_the_readme_compile() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_readme_has_all_settings() -> None:
    from webinfer._core import Settings

    table = (HERE / "README.md").read_text().split("## Settings")[1].split("## Errors")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(Settings.__dataclass_fields__)


def test_the_example_tells_its_options() -> None:
    command = [sys.executable, HERE / "examples/neighbours.py", "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "--address" in said


def test_the_wheel_that_the_archive_makes_is_whole(tmp_path: Path) -> None:
    # The wheel is built of the source archive, as `pip install` of that would.
    subprocess.run([sys.executable, "-m", "build", "--outdir", tmp_path, HERE], check=True, capture_output=True)
    (archive,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"README.md", "LICENSE", "conformance", "examples/neighbours.py", "tests/test_client.py"} <= names
    with zipfile.ZipFile(wheel) as files:
        assert "webinfer/py.typed" in files.namelist()
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, system_site_packages=False)
    site = next(environment.glob("lib/python*/site-packages"))
    # Its dependencies are those of this environment; the package itself is the wheel's.
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    with zipfile.ZipFile(wheel) as files:
        files.extractall(site)
    code = "import webinfer, webinfer.bridge; print(webinfer.__version__, webinfer.__file__)"
    said = subprocess.run(
        [environment / "bin/python", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.split()
    assert said == [webinfer.__version__, str(site / "webinfer/__init__.py")]
