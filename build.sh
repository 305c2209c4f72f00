#!/usr/bin/env bash
# Build the container image.
#
#   ./build.sh [exec|invoke] [OPTION OF THE ENGINE'S BUILD...]
#
# Environment: IMAGE  name and tag (ct-lesion-detector:exec or :invoke)
#              BASE   base image (the Dockerfile's default: PyTorch with CUDA)
#              DOCKER  docker, or podman
#              DOCKER_BUILD_ARGS  further words for the engine's build command
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$(basename "$0")"
  exit
fi

method=${1:-exec}
shift || true
if [[ $method != exec && $method != invoke ]]; then
  echo "build.sh: expected exec or invoke, found '$method'" >&2
  exit 2
fi
if ! compgen -G 'model/weights/*.safetensors' >/dev/null; then
  echo "build.sh: model/weights: expected *.safetensors, found none" >&2
  exit 1
fi

image=${IMAGE:-ct-lesion-detector:$method}
options=(--platform linux/amd64 --build-arg "API_METHOD=$method" --tag "$image")
[[ -z ${BASE:-} ]] || options+=(--build-arg "BASE=$BASE")
read -r -a extra <<<"${DOCKER_BUILD_ARGS:-}"

# One image and nothing beside it in the archive: the platform accepts no other.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
${DOCKER:-docker} build "${options[@]}" ${extra[@]+"${extra[@]}"} "$@" .
echo "built $image"
