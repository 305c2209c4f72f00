#!/usr/bin/env bash
# Find lesions in a CT scan.
#
#   ./run.sh [SCAN|FOLDER] [OUT]
#
# SCAN    .mha .mhd .nii .nii.gz .nrrd, or a folder with a DICOM series (default: the demo scan of test/input)
# FOLDER  a folder of scans: one sub-folder of OUT per scan, and OUT/summary.csv
# OUT     where the results go (default: ./output)
#
# Needs Python 3.11 or newer; the first use installs requirements.txt into .venv, later ones need no network.
# Environment: PYTHON  the Python that .venv is made with
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv

# find_python: prints a Python that can make the virtual environment
find_python() {
  local python found=
  for python in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3.14 python3 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      found=$python
      if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        printf '%s\n' "$python"
        return
      fi
    fi
  done
  if [[ -n $found ]]; then
    echo "run.sh: $found has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2
  else
    echo "run.sh: expected Python 3.11 or newer, found none: install it, or set PYTHON to it" >&2
  fi
  return 1
}

# requirements_text FILE: what an environment that satisfies FILE was made from
requirements_text() {
  cat "$root/requirements.txt"
  [[ $1 == requirements.txt ]] || cat "$root/$1"
}

# install_requirements FILE: .venv holds the pins of FILE afterwards. A copy of the pins in .venv says that
# they are installed; the marker holds the process that installs, so that a broken-off installation is redone.
install_requirements() {
  local file=$1 marker=$venv/.installing python owner quiet=
  while owner=$(cat "$marker" 2>/dev/null) && kill -0 "$owner" 2>/dev/null; do
    echo "waiting for process $owner, which is installing into .venv" >&2
    sleep 5
  done
  if [[ -e $marker ]] || ! "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    rm -rf "$venv"
    mkdir "$venv"
    echo $$ >"$marker"
    "$python" -m venv "$venv"
  elif requirements_text "$file" | cmp -s - "$venv/.installed-$file"; then
    return
  fi
  echo "installing $file into .venv (once)" >&2
  echo $$ >"$marker"
  rm -f "$venv"/.installed-*
  [[ -t 2 ]] || quiet=--quiet
  "$venv/bin/python" -m pip install --disable-pip-version-check $quiet -r "$root/$file" >&2
  requirements_text requirements.txt >"$venv/.installed-requirements.txt"
  requirements_text "$file" >"$venv/.installed-$file"
  rm "$marker"
}

# show_points OUT: the most probable points of each scan
show_points() {
  "$venv/bin/python" - "$1" <<'PYTHON'
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])
shown = 10
for file in sorted(out.rglob("lesion-points.json")):
    points = json.loads(file.read_text())["points"]
    print(f"\n{file}: {len(points)} points" + (f", the first {shown}" if len(points) > shown else ""))
    for point in points[:shown]:
        x, y, z = point["point"]
        print(f"  {point['probability']:5.3f}  {point['name']:<12} x {x:8.1f}  y {y:8.1f}  z {z:8.1f} mm")
PYTHON
}

main() {
  if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    return
  fi
  local scan=${1:-$root/test/input} out=${2:-output} status=0
  install_requirements requirements.txt
  "$venv/bin/python" "$root/process.py" --input "$scan" --output "$out" || status=$?
  if ((status)); then
    return "$status"
  fi
  show_points "$out"
  echo
  echo "results: $out"
}

# test.sh sources this file for install_requirements.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  main "$@"
fi
