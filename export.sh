#!/usr/bin/env bash
# Write what is uploaded to grand-challenge.org: the image and the weights, each as one archive, and check both
# as the platform does at upload. Prints what is left to do by hand.
#
#   ./export.sh [exec|invoke] [FOLDER]        (FOLDER: dist)
#
# The image is built first. Environment: as for build.sh.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"
  exit
fi

method=${1:-exec}
folder=${2:-$root/dist}
image=${IMAGE:-ct-lesion-detector:$method}

partial=()
trap 'rm -f ${partial[@]+"${partial[@]}"}' EXIT

# write_archive FILE COMMAND...: the command's output, compressed; FILE appears only when it is complete
write_archive() {
  local file=$1
  shift
  partial+=("$file.part")
  "$@" | gzip >"$file.part"
  mv "$file.part" "$file"
  echo "$file: $(du -h "$file" | cut -f 1)"
}

save_image() { ${DOCKER:-docker} save "$image"; }

pack_weights() {
  cd "$root/model/weights"
  tar -cf - -- *.safetensors
}

"$root/build.sh" "$method"
mkdir -p "$folder"
name=${image##*/}
write_archive "$folder/${name//:/-}.tar.gz" save_image
write_archive "$folder/model.tar.gz" pack_weights
"${PYTHON:-python3}" "$root/resources/upload.py" "$folder/${name//:/-}.tar.gz" "$folder/model.tar.gz"
