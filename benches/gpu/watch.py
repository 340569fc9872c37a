"""Watch: what the card does meanwhile, as `nvidia-smi` tells, and what the threads of a side do."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threads import Threads

QUERY = "utilization.gpu,memory.used,power.draw"
#: Milliseconds between two looks.
EVERY = 500


def card() -> dict[str, Any]:
    """The card, its driver and the memory in use."""
    if not shutil.which("nvidia-smi"):
        return {"card": None}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.used", "--format=csv,noheader,nounits"]
    told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().split(", ")
    if len(told) != 3:
        return {"card": None}
    return {"card": told[0], "driver": told[1], "memory_used_mib": int(told[2])}


class Watch:
    """Looks at the card, where `nvidia-smi` is, and at the threads of a side, while the sides of a cell run."""

    def __init__(self) -> None:
        self._seen: dict[str, list[list[float]]] = {}
        self._threads: dict[str, list[dict[str, float]]] = {}

    @contextmanager
    def during(self, side: str, process: int | None) -> Iterator[None]:
        """Looks until the block ends. `process` is what the side runs in, if that is known."""
        threads = Threads(process) if process else None
        with self._card(side):
            yield
        if threads:
            self._threads.setdefault(side, []).append(threads.told())

    @contextmanager
    def _card(self, side: str) -> Iterator[None]:
        if not shutil.which("nvidia-smi"):
            yield
            return
        query = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", f"--loop-ms={EVERY}"]
        looking = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            yield
        finally:
            looking.terminate()
            lines = looking.communicate()[0].splitlines()
            # The last line can be cut.
            rows = [[float(part) for part in row.split(", ")] for row in lines[:-1] if "N/A" not in row]
            self._seen.setdefault(side, []).extend(rows)

    def told(self) -> dict[str, Any]:
        """Means by side: the share of time with a kernel on it, memory and power."""
        names = ("utilisation_percent", "memory_used_mib", "power_w")

        def means(rows: list[list[float]]) -> dict[str, float]:
            columns = zip(*rows, strict=True)
            return {name: round(statistics.mean(column), 1) for name, column in zip(names, columns, strict=True)}

        return {side: means(rows) for side, rows in self._seen.items() if rows}

    def threads(self) -> dict[str, list[dict[str, float]]]:
        """Cores by thread, a round each."""
        return self._threads
