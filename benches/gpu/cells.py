"""Cells: what is measured, the most important first."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

#: What a fused copy of a model adds to its name.
FUSED = "-fused"
#: Registrations: as exported, with nothing replayed; and several workers.
PLAIN = {"graphCapture": "GRAPH_CAPTURE_OFF"}
TWO, FOUR = ({"replicas": count} for count in (2, 4))


@dataclass(frozen=True)
class Cell:
    """One line of the table: a model in a precision, so many callers of one item each.

    `tokens` is 0 where items are not texts. `batch` is that of the bare loop and of PyTorch; the service has its own.
    `spec` is what the registration says besides.
    """

    model: str
    dtype: str
    callers: int
    tokens: int = 0
    rounds: int = 3
    seconds: float = 1.0
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Half of the callers: while their items run, the others' answers are on the way."""
        return max(1, self.callers // 2)

    @property
    def base(self) -> str:
        """The architecture."""
        return self.model.removesuffix(FUSED)

    @property
    def name(self) -> str:
        """How results and `--only` name it."""
        more = "".join(f" {value}" if isinstance(value, str) else f" {key}={value}" for key, value in self.spec.items())
        return f"{self.model} {self.dtype} {self.tokens or '-'} x{self.callers}{more}"

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"batch": self.batch, "name": self.name}


TEXT, TEXTS, MANY = (128, 1), (128, 64), (128, 128)
SHORT_AND_LONG = [(16, 1), (16, 64), (512, 1), (512, 64)]
SEEN, HEARD = [(0, 1), (0, 32)], [(0, 1), (0, 16)]
#: Groups of one registration each: model, precisions, tokens and callers, rounds, registration.
Group = tuple[str, str, list[tuple[int, int]], int, dict[str, Any]]
PLAN: list[Group] = [
    ("bert-base-fused", "fp32 fp16", [TEXT, TEXTS], 5, {}),
    ("minilm-fused", "fp32 fp16", [TEXT, MANY], 5, {}),
    ("vit-base-fused", "fp32 fp16", SEEN, 5, {}),
    ("whisper-tiny-fused", "fp32", HEARD, 3, {}),
    ("vit-base-fused", "fp32 fp16", SEEN[1:], 3, FOUR),
    ("minilm-fused", "fp32 fp16", [MANY], 3, FOUR),
    ("whisper-tiny-fused", "fp32", HEARD[1:], 3, FOUR),
    ("bert-base-fused", "fp32 fp16", [TEXTS], 3, TWO),
    ("bert-base", "fp32", [TEXT, TEXTS], 3, PLAIN),
    ("vit-base", "fp32", SEEN, 3, PLAIN),
    ("clip-vit-base-fused", "fp32 fp16", SEEN, 3, {}),
    ("bert-base-fused", "fp32 fp16", SHORT_AND_LONG, 3, {}),
    ("whisper-tiny-encoder", "fp32 fp16", HEARD, 3, {}),
    ("bert-base-fused", "q8 q4", [TEXT, TEXTS], 3, {}),
    ("minilm-fused", "q8 q4", [TEXT, MANY], 3, {}),
    ("vit-base-fused", "q8 q4", SEEN, 3, {}),
    ("whisper-tiny-fused", "fp16 q8 q4", HEARD, 3, {}),
    ("clip-vit-base-fused", "q8 q4", SEEN, 3, {}),
]
#: One round each of little.
REHEARSAL: list[Group] = [
    ("bert-base", "fp32 q8", [(8, 1), (8, 4)], 1, {}),
    ("vit-base", "fp32", SEEN[:1], 1, {}),
    ("clip-vit-base", "fp32", SEEN[:1], 1, {}),
    ("whisper-tiny-encoder", "fp32", HEARD[:1], 1, {}),
    ("whisper-tiny", "fp32", HEARD[:1], 1, {}),
]


def plan(rehearsal: bool, only: str) -> list[list[Cell]]:
    """Cells by registration, of those whose names have the pattern."""

    def seconds(callers: int) -> float:
        # In software a run of Whisper takes seconds.
        return 5.0 if rehearsal else 1.0 if callers == 1 else 2.0

    groups = [
        [Cell(model, dtype, callers, tokens, rounds, seconds(callers), spec) for tokens, callers in cells]
        for model, dtypes, cells, rounds, spec in (REHEARSAL if rehearsal else PLAN)
        for dtype in dtypes.split()
    ]
    wanted = [[cell for cell in group if re.search(only, cell.name)] for group in groups]
    return [group for group in wanted if group]
