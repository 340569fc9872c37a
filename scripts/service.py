"""A service for tests: started with what they want of it, ended as an operator would."""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_TRIES = 600
PAUSE_S = 0.2
END_S = 60
# The service would take them for misspelt settings.
FOR_CLIENTS = ("WEBINFER_PROGRAM", "WEBINFER_RESTART")


class Service:
    """A service with its log in a file. The system chooses its ports at the first start; further ones have them too."""

    def __init__(self, program: str, arguments: list[str], log: Path) -> None:
        self.log = log
        self.addresses = ("127.0.0.1:0", "127.0.0.1:0")
        self.program = str(Path(program).resolve())
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it, waits until it is ready, and returns the address of its gRPC listener."""
        listen, http_listen = self.addresses
        addresses = ["--listen", listen, "--http-listen", http_listen]
        command = [self.program, "serve", *addresses, "--state", "none", *self.arguments]
        # A log without colours is the same everywhere.
        environment = {name: value for name, value in os.environ.items() if name not in FOR_CLIENTS}
        environment["NO_COLOR"] = "1"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file, stdin=subprocess.DEVNULL)
        answer = "nothing"
        for _ in range(READY_TRIES):
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended with {self.process.returncode}")
            addresses = re.search(r"gRPC on (\S+), HTTP on http://(\S+)", self.log.read_text(errors="replace"))
            if addresses:
                self.addresses = (addresses[1], addresses[2])
                try:
                    with urllib.request.urlopen(f"http://{addresses[2]}/ready", timeout=10):
                        return addresses[1]
                except urllib.error.HTTPError as error:
                    answer = error.read().decode(errors="replace").strip()
                except OSError as error:
                    answer = str(error)
            time.sleep(PAUSE_S)
        raise RuntimeError(f"the service was not ready after {READY_TRIES} tries; it said: {answer}")

    def end(self) -> int:
        """Ends it, and returns its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the service had not ended {END_S} s after SIGTERM") from None
