#!/usr/bin/env bash
# Find lesions in a CT scan.
#
#   ./run.sh [SCAN|FOLDER] [OUT] [--review] [--report FILE|FOLDER] [--export slicer,csv,nifti,sr]
#
# SCAN    .mha .mhd .nii .nii.gz .nrrd .nhdr, or a folder with a DICOM series (default: the demo scan of test/input)
# FOLDER  a folder of scans: one sub-folder of OUT per scan, and OUT/summary.csv
# OUT     where the results go (default: ./output)
# --review  also write a page for each scan, OUT/review.html or OUT/SCAN/review.html and OUT/summary.html
# --report  the scan's report as text, or a folder of SCAN.txt: the page says what it mentions and what not
# --export  also write 3D Slicer markups, CSV, a NIfTI label map, a DICOM structured report
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

# show_help SCRIPT: the comment it begins with
show_help() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$1"; }

main() {
  if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    show_help "${BASH_SOURCE[0]}"
    return
  fi
  local places=() review=() detect=() pages= needed=requirements.txt status=0
  while (($#)); do
    case $1 in
      --review) pages=yes ;;
      --report | --export)
        if (($# < 2)); then
          echo "run.sh: $1: expected a value, found none" >&2
          return 2
        fi
        # Reports are read by what training uses.
        [[ $1 == --export ]] && detect+=("$1" "$2") || { review+=("$1" "$2") pages=yes needed=requirements-dev.txt; }
        shift
        ;;
      -*)
        echo "run.sh: expected --review, --report, --export or --help, found $1" >&2
        return 2
        ;;
      *) places+=("$1") ;;
    esac
    shift
  done
  local scan=${places[0]:-$root/test/input} out=${places[1]:-output} began
  install_requirements "$needed"
  began=$(date +%s)
  "$venv/bin/python" "$root/process.py" --input "$scan" --output "$out" ${detect[@]+"${detect[@]}"} || status=$?
  # Where some scans of a folder failed, and are named in its summary, the others are shown all the same.
  if ((status)) && (($(stat -c %Y "$out/summary.csv" 2>/dev/null || echo 0) < began)); then
    return "$status"
  fi
  show_points "$out"
  if [[ -n $pages ]]; then
    echo
    PYTHONPATH=$root "$venv/bin/python" -m resources.review "$out" --scans "$scan" ${review[@]+"${review[@]}"} || status=$?
  fi
  echo
  echo "results: $out"
  return "$status"
}

# test.sh sources this file for install_requirements and show_help.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  main "$@"
fi
