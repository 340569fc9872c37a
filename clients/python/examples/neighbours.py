"""Embeds the lines of a file with a model that runs in browsers, and prints what is nearest to each.

python examples/neighbours.py sentences.txt --address localhost:50051
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import webinfer


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Of each of [n, dimensions] vectors of unit length: the index of the one that is most like it."""
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return likeness.argmax(axis=1)


def show_progress(step: webinfer.LoadStep) -> None:
    """Tells how a load goes."""
    print(
        f"{step.elapsed_s:5.1f} s  {step.phase:8} {step.loaded_bytes:,} of {step.total_bytes:,} bytes", file=sys.stderr
    )


def main() -> int:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="UTF-8 text with a sentence on each line")
    parser.add_argument("--address", default="localhost:50051", help="where the service listens (%(default)s)")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="id of the model (%(default)s)")
    options = parser.parse_args()
    try:
        sentences = [line.strip() for line in options.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        print(f"{options.file} cannot be read: {error}", file=sys.stderr)
        return 1
    if len(sentences) < 2:
        print(f"{options.file} has {len(sentences)} sentences; at least 2 are needed", file=sys.stderr)
        return 1

    try:
        with webinfer.Client(options.address) as client:
            client.models.load(options.model, show_progress)
            results = list(client.map(options.model, sentences))
    except webinfer.WebinferError as error:
        print(error, file=sys.stderr)
        return 1
    for sentence, other in zip(sentences, nearest(np.stack([it.embedding for it in results])), strict=True):
        print(f"{sentence}\n    {sentences[other]}")
    ran = {f"{it.execution.backend_used} in {it.execution.browser} {it.execution.browser_version}" for it in results}
    print("ran on", ", ".join(sorted(ran)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
