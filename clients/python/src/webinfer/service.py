"""Service: a webinfer of one's own, started in the background and ended with the program."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from .errors import UnavailableError

_READY_S = 120.0
_END_S = 60.0
_PAUSE_S = 0.05
# Variables that speak to this package.
ADDRESS, PROGRAM = "WEBINFER_ADDRESS", "WEBINFER_PROGRAM"


class Service:
    """A running `webinfer serve`, on ports that the system chooses.

    It reads its settings from arguments and from variables such as WEBINFER_MODELS, as always.

    Args:
        arguments: Further arguments of `webinfer serve`, such as `["--browsers", "2"]`.
        program: The program; by default what WEBINFER_PROGRAM names, or `webinfer` on the PATH.

    Raises:
        UnavailableError: There is no such program, or it did not come up; its log says why.
    """

    def __init__(self, arguments: Sequence[str] = (), program: str | None = None) -> None:
        program = program or os.environ.get(PROGRAM) or "webinfer"
        found = shutil.which(program)
        if found is None:
            raise UnavailableError(
                f"there is no program {program!r} to start a service with: put webinfer on the PATH, name it in "
                f"{PROGRAM}, or name a running service in {ADDRESS}"
            )
        command = [found, "serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--load=none", *arguments]
        # The service would take it for a misspelt setting.
        environment = {name: value for name, value in os.environ.items() if name != PROGRAM}
        environment["NO_COLOR"] = "1"
        self._log = tempfile.NamedTemporaryFile(prefix="webinfer-", suffix=".log")  # noqa: SIM115 `close` does it
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log
        )
        atexit.register(self.close)
        try:
            #: Where it listens for gRPC.
            self.address = self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def log(self) -> str:
        """All that it wrote."""
        return Path(self._log.name).read_text(errors="replace") if not self._log.closed else ""

    def close(self) -> None:
        """Ends it, and waits until its browsers are gone."""
        atexit.unregister(self.close)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _wait_until_ready(self) -> str:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end and self._process.poll() is None:
            listens = re.search(r"gRPC on (\S+), HTTP on (http://\S+)", self.log())
            if listens and self._is_ready(listens[2]):
                return listens[1]
            time.sleep(_PAUSE_S)
        why = f"ended with {self._process.poll()}" if self._process.poll() is not None else "was not ready in time"
        raise UnavailableError(f"the service {why}; its log:\n{self.log()[-2000:]}")

    @staticmethod
    def _is_ready(address: str) -> bool:
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5):
                return True
        except (urllib.error.HTTPError, OSError):
            return False
