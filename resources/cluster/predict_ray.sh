#!/usr/bin/env bash
# Detect and make pages for a cohort on a Ray cluster, or on this machine's cores as a Ray cluster of one.
#
#   resources/cluster/predict_ray.sh CASES OUT [ADDRESS]
#
# ADDRESS  of the cluster's head (HOST:PORT), "auto" for the one that this machine belongs to, or "local" (default).
# Every machine has to see the repository, its .venv and the scans under the same paths.
set -euo pipefail
cases=${1:?expected CASES OUT [ADDRESS]}
out=${2:?expected CASES OUT [ADDRESS]}
address=${3:-local}
.venv/bin/python -m resources.predict --cases "$cases" --out "$out" --ray "$address"
.venv/bin/python -m resources.review "$out" --cases "$cases" --ray "$address"
