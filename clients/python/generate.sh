#!/usr/bin/env bash
# Generates the stubs in src/webinfer/v1 from proto/webinfer/v1 of this repository.
#
#   ./generate.sh            writes them
#   ./generate.sh --check    writes nothing; fails where the stubs here are not what would be written
#
# It makes a virtual environment in .venv beside this script, or uses the one that VENV names.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
proto=$(cd -- "$here/../../proto" && pwd)
stubs=src/webinfer/v1
venv=${VENV:-$here/.venv}
python=$venv/bin/python
pin=$(grep -v '^#' "$here/requirements-generate.txt")

case ${1-} in
  '' | --check) ;;
  *)
    echo "usage: $0 [--check]" >&2
    exit 2
    ;;
esac

if [[ ! -x $python ]]; then
  echo "making a virtual environment in $venv"
  python3 -m venv "$venv"
fi
if ! "$python" -m pip freeze | grep -qxF "$pin"; then
  echo "installing $pin into $venv"
  "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements-generate.txt"
fi

out=$(mktemp -d)
trap 'rm -rf -- "$out"' EXIT
cd -- "$proto"
files=(webinfer/v1/*.proto)
echo "generating with $pin: ${files[*]}"
"$python" -m grpc_tools.protoc --proto_path=. --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" "${files[@]}"

made=$out/webinfer/v1
cd -- "$here"
if [[ ${1-} == --check ]]; then
  if ! diff --recursive --brief --exclude=__init__.py --exclude=__pycache__ "$made" "$stubs"; then
    echo "the stubs in $stubs differ from the proto files; run clients/python/generate.sh" >&2
    exit 1
  fi
  echo "the stubs in $stubs are as they should be"
else
  rm -f -- "$stubs"/*_pb2.py "$stubs"/*_pb2.pyi "$stubs"/*_pb2_grpc.py
  cp -- "$made"/* "$stubs"/
  echo "wrote $(find "$made" -type f | wc -l) files to $stubs"
fi
