"""Makes the tiny models of the tasks, in the folder of this script: one folder each, with its reference.

    pip install -r requirements-tasks.txt
    python make_tasks.py                     makes all of them
    python make_tasks.py tiny-vit tiny-t5    makes these

Architectures, processors and exporters are those of the libraries; the weights are seeded noise. reference.json holds
what the native model makes of some inputs, worked out in PyTorch on the CPU as transformers.js' pipelines do it.
Seeds are tried until no result hangs on rounding, so the same versions make the same models, though not always the same
bytes: merged decoders name their nodes anew.
"""

from __future__ import annotations

import argparse
import sys
import time

import optimum.utils.logging
import torch
from tasks import audio, multimodal, restoration, text, vision, whisper
from tasks.common import MODELS, makers
from transformers.utils import logging

ALL = {
    name: make
    for module in (text, vision, restoration, audio, whisper, multimodal)
    for name, make in makers(module).items()
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the tiny models of the tasks.")
    parser.add_argument("names", nargs="*", help="folders to make; all, where none is named")
    names = parser.parse_args().names or list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 1
    logging.set_verbosity_error()
    optimum.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for name in names:
        begin = time.monotonic()
        ALL[name]()
        size = sum(path.stat().st_size for path in (MODELS / name).rglob("*") if path.is_file())
        print(f"{size:8} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
