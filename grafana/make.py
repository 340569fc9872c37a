#!/usr/bin/env python3
"""Makes the dashboards, in the folder dashboards beside this script, of those in the folder boards.

make.py            writes the files
make.py --check    fails where the files here differ
"""

import json
import sys
from pathlib import Path

from boards import BOARDS

FOLDER = Path(__file__).resolve().parent / "dashboards"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    expected = {f"{name}.json": json.dumps(board, indent=1) + "\n" for name, board in BOARDS.items()}
    if not sys.argv[1:]:
        for name, text in expected.items():
            (FOLDER / name).write_text(text)
    found = {path.name: path.read_text() for path in FOLDER.iterdir()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    for name in wrong:
        print(f"dashboards/{name} is not what make.py makes: run it", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
