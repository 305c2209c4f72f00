#!/usr/bin/env bash
# Lint, types, tests, and the regression case: the results for test/input have to be those of test/expected.
#
#   ./test.sh [--all] [OPTION OF PYTEST...]
#   ./test.sh --upload-check | --install | --help
#
# Without --all: all but the tests marked slow, and the regression case through process.py directly.
# With --all: every test, and the regression case through the real container, exec and invoke, where an engine and
# the base image are there; elsewhere through process.py directly. Which, and why, is printed.
# --upload-check: only writes what is uploaded, exec and invoke, and checks it as the platform does.
# --install: only makes .venv, with what training, review and tests need.
# Environment: TEST_CONTAINER  yes: the container or failure; no: process.py directly (default: auto with --all, else no)
#              BASE, DOCKER, DOCKER_BUILD_ARGS  as for build.sh; a BASE that is set is pulled if need be
#              PYTHON  as for run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./run.sh
export PYTHONUTF8=1  # reports are Dutch too, whatever the locale

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  show_help "${BASH_SOURCE[0]}"
  exit
fi

engine=${DOCKER:-docker}
chosen=(-m "not slow")
mode=${TEST_CONTAINER:-no}
if [[ ${1:-} == --all ]]; then
  shift
  chosen=()
  mode=${TEST_CONTAINER:-auto}
fi
sandbox=(--network none --read-only --cap-drop ALL --security-opt no-new-privileges --memory 8g --tmpfs /tmp)
scratch=
server=

clean_up() {
  [[ -z $server ]] || $engine rm -f "$server" >/dev/null 2>&1 || true
  [[ -z $scratch ]] || rm -rf "$scratch" || true
}
trap clean_up EXIT

step() { printf '\n== %s\n' "$*"; }

# why_no_container: prints why the image cannot be built here; nothing if it can
why_no_container() {
  local base=${BASE:-$(sed -n 's/^ARG BASE=//p' Dockerfile)}
  if [[ $mode == no ]]; then
    echo "neither --all nor TEST_CONTAINER asks for one"
  elif ! command -v "${engine%% *}" >/dev/null; then
    echo "$engine is not installed"
  elif ! $engine info >/dev/null 2>&1; then
    echo "$engine does not answer"
  elif ! $engine image inspect "$base" >/dev/null 2>&1; then
    # The default base is several GB: it is not pulled unasked.
    if [[ -z ${BASE:-} && $mode != yes ]]; then
      echo "the base image is not here ($engine pull $base)"
    elif ! $engine pull --platform linux/amd64 "$base" >&2; then
      echo "the base image $base is not here and cannot be pulled"
    fi
  fi
}

# new_output NAME: an empty folder that the user of the container, whoever that is here, can write to
new_output() {
  output=$scratch/$1
  mkdir "$output"
  chmod 777 "$output"
}

compare() { .venv/bin/python test/regression.py test/expected "$output"; }

check_directly() {
  step "regression case: process.py directly"
  new_output direct
  .venv/bin/python process.py --input test/input --output "$output"
  compare
}

# what_can_be_changed IMAGE: files that its user could change, set the user, or install packages; nothing if all is well
what_can_be_changed() {
  $engine run --rm --interactive --network none --entrypoint sh "$1" -s 2>/dev/null <<'SH'
find / -xdev \( -type f -perm /6000 -o -name '*.whl' -o -path '*-packages/pip' -o -path '*-packages/wheel' \
  -o -path '*/bin/pip*' \) -print
for place in /opt/app $(python -c 'import sys; print(*filter(None, sys.path))'); do
  [ ! -e "$place" ] || find "$place" \( -writable -o ! -user root \) ! -type l -print
done
echo looked
SH
}

# build_image METHOD: also checks what the platform checks at upload, the user and the label; and what is in it
build_image() {
  local image=ct-lesion-detector:test-$1 found
  IMAGE=$image ./build.sh "$1"
  found=$($engine image inspect --format \
    '{{.Os}}/{{.Architecture}} {{.Config.User}} {{index .Config.Labels "org.grand-challenge.api-method"}}' "$image")
  if [[ $found != "linux/amd64 user $1" ]]; then
    echo "test.sh: $image: expected 'linux/amd64 user $1', found '$found'" >&2
    return 1
  fi
  found=$(what_can_be_changed "$image" || true)
  if [[ $found != looked ]]; then
    echo "test.sh: $image: expected nothing that its user can change, or that installs, found ${found:-no answer}" >&2
    return 1
  fi
}

check_exec() {
  step "regression case: container, exec"
  build_image exec
  new_output exec
  $engine run --rm "${sandbox[@]}" \
    --volume "$PWD/test/input:/input:ro,z" --volume "$PWD/$output:/output:z" ct-lesion-detector:test-exec
  compare
}

check_invoke() {
  step "regression case: container, invoke"
  build_image invoke
  new_output invoke
  server=$($engine run --detach "${sandbox[@]}" \
    --volume "$PWD/test/input:/input:ro,z" --volume "$PWD/$output:/output:z" ct-lesion-detector:test-invoke)
  if ! call_server; then
    $engine logs "$server" >&2
    return 1
  fi
  compare
}

# call_server: waits until the server is healthy, then invokes it once, from within the container: it has no network
call_server() {
  $engine exec --interactive "$server" python - <<'PYTHON'
import time
import urllib.error
import urllib.request

URL = "http://localhost:4743"
start = time.monotonic()
while True:
    try:
        with urllib.request.urlopen(f"{URL}/health", timeout=10) as answer:
            assert answer.status == 200, f"GET /health: expected 200, found {answer.status}"
        break
    except urllib.error.URLError:
        if time.monotonic() - start > 300:
            raise
        time.sleep(0.2)
print(f"GET /health: 200 after {time.monotonic() - start:.1f} s")
start = time.monotonic()
with urllib.request.urlopen(f"{URL}/invoke", data=b"", timeout=300) as answer:
    assert answer.status == 201, f"POST /invoke: expected 201, found {answer.status}"
print(f"POST /invoke: 201 after {time.monotonic() - start:.1f} s")
PYTHON
}

# container_runtime: the stage of the image that needs packages; apart, since it fails where there is no network
container_runtime() {
  step "container: $engine, base and packages"
  IMAGE=ct-lesion-detector:test-runtime ./build.sh exec --target runtime
}

check_upload() {
  local reason
  mode=yes
  reason=$(why_no_container)
  if [[ -n $reason ]]; then
    echo "test.sh: --upload-check: expected a container engine and a base image, but $reason" >&2
    return 1
  fi
  mkdir -p build
  scratch=$(mktemp -d build/upload.XXXXXX)
  step "what is uploaded: exec"
  ./export.sh exec "$scratch"
  step "what is uploaded: invoke"
  ./export.sh invoke "$scratch"
}

if [[ ${1:-} == --upload-check ]]; then
  check_upload
  exit
fi

if [[ ${1:-} == --install ]]; then
  install_requirements requirements-dev.txt
  exit
fi

if [[ $mode == yes ]]; then  # said before minutes of tests, not after them
  reason=$(why_no_container)
  if [[ -n $reason ]]; then
    echo "test.sh: TEST_CONTAINER=yes, but $reason" >&2
    exit 1
  fi
fi

install_requirements requirements-dev.txt

step "ruff"
.venv/bin/ruff check .
.venv/bin/ruff format --check .

step "mypy"
.venv/bin/mypy

step "pytest"
.venv/bin/python -m pytest -n auto --dist worksteal "${chosen[@]}" "$@"

mkdir -p build
scratch=$(mktemp -d build/test.XXXXXX)
reason=$(why_no_container)
if [[ -z $reason ]] && ! container_runtime; then
  reason="the packages of the image cannot be installed here; the reason is above"
fi
if [[ -z $reason ]]; then
  check_exec
  check_invoke
  step "all passed; the regression case went through the container (exec and invoke)"
elif [[ $mode == yes ]]; then
  echo "test.sh: TEST_CONTAINER=yes, but $reason" >&2
  exit 1
else
  printf '\nno container: %s\n' "$reason"
  check_directly
  step "all passed; the regression case went through process.py, not through the container: $reason"
fi
