"""Threads: how much of a core each thread of a process and of what it started had, as `/proc` tells."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
#: Names of threads that are told, the busiest first.
MOST = 8


def children() -> dict[int, list[int]]:
    """The processes that there are, by the one that started them."""
    found: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        found.setdefault(int(fields[1]), []).append(int(status.parent.name))
    return found


def below(root: int) -> list[int]:
    """A process and all below it, the nearest first."""
    known, tree = children(), [root]
    for process in tree:
        tree += known.get(process, [])
    return tree


def kind(process: int) -> str:
    """What a process is: a browser's by its type."""
    # Chromium writes over it, with blanks between its arguments.
    command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    typed = re.search(r" --type=([\w-]+)", command)
    return typed[1] if typed else Path(command.split(" ")[0]).name


def ticks(root: int) -> Counter[tuple[str, str, int]]:
    """Time of each thread so far, by its process's kind, its name and its id."""
    found: Counter[tuple[str, str, int]] = Counter()
    for process in below(root):
        # One that ended meanwhile is of no matter.
        with suppress(OSError, ValueError):
            of = kind(process)
            for status in Path(f"/proc/{process}/task").glob("*/stat"):
                name, fields = status.read_text().split("(", 1)[1].rsplit(")", 1)
                user, system = fields.split()[11:13]
                found[of, name, int(status.parent.name)] = int(user) + int(system)
    return found


class Threads:
    """From here on."""

    def __init__(self, root: int) -> None:
        self._root, self._before, self._begin = root, ticks(root), time.monotonic()

    def told(self) -> dict[str, float]:
        """Cores that threads of a name had since then, by process and name; those of one name are added up."""
        spent, took = ticks(self._root), time.monotonic() - self._begin
        spent.subtract(self._before)
        cores: Counter[str] = Counter()
        # Threads that ended meanwhile are below zero.
        for (of, name, _), count in (+spent).items():
            cores[f"{of}: {name}"] += count / TICKS / took
        return {name: round(share, 2) for name, share in cores.most_common(MOST) if share >= 0.01}
