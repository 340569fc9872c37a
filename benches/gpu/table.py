"""Makes a Markdown table of what `run.py` measured: medians over the rounds.

python table.py ../../results/gpu.json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HEAD = (
    "| Model | Precision | Tokens | Callers | Service: p50, p99 | items/s | Mean batch | Bare loop: batch, p50 "
    "| items/s | Service / bare | PyTorch: p50 | items/s |"
)


def median(cell: dict[str, Any], side: str, figure: str) -> float:
    """The median over the rounds; NaN where nothing was measured."""
    values = [sample[figure] for sample in cell["samples"].get(side, []) if figure in sample]
    return statistics.median(values) if values else float("nan")


def ratio(cell: dict[str, Any]) -> str:
    """Service to bare loop, round by round: median (min .. max)."""
    pairs = zip(cell["samples"]["service"], cell["samples"]["bare"], strict=True)
    ratios = sorted(service["items_per_s"] / bare["items_per_s"] for service, bare in pairs)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f})"


def row(cell: dict[str, Any]) -> str:
    def told(side: str, figure: str, digits: int) -> str:
        value = median(cell, side, figure)
        return "-" if value != value else f"{value:,.{digits}f}"

    return " | ".join(
        [
            "| " + ", ".join([cell["model"], *(f"{name} {value}" for name, value in cell.get("spec", {}).items())]),
            cell["dtype"],
            str(cell["tokens"] or "-"),
            str(cell["callers"]),
            f"{told('service', 'p50_ms', 2)} ms, {told('service', 'p99_ms', 2)} ms",
            told("service", "items_per_s", 1),
            told("service", "mean_batch", 1),
            f"{cell['batch']}, {told('bare', 'p50_ms', 2)} ms",
            told("bare", "items_per_s", 1),
            ratio(cell),
            f"{told('pytorch', 'p50_ms', 2)} ms",
            f"{told('pytorch', 'items_per_s', 1)} |",
        ]
    )


def main() -> int:
    results = json.loads(Path(sys.argv[1]).read_text())
    told = results["conditions"]
    record = results["cells"][0]["record"] if results["cells"] else {}
    print(
        f"{told.get('card')}, driver {told.get('driver')}, {told['cores']} cores, {record.get('browser')} "
        f"{record.get('browser_version')}, {record.get('adapter')} ({record.get('hardware')}), ONNX Runtime Web "
        f"{record.get('onnxruntime_version')}, random weights, commit {told['commit'][:12]}, {told['when']}:\n"
    )
    print(HEAD)
    print("|" + " --- |" * HEAD.count(" |"))
    for cell in results["cells"]:
        print(row(cell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
