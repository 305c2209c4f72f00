#!/usr/bin/env bash
# Renew NiiVue's bundle from its npm package: resources/review/niivue/update.sh VERSION
#
# npm checks the package against the integrity that the registry states for it. Afterwards set NIIVUE_VERSION in
# resources/review/page.py, and the digest in test/review/test_build.py, and run the browser's test: the page draws
# on NiiVue's canvas and colours its texture, which a new version may do in another way.
set -euo pipefail
version=${1:?expected a version, as 0.69.0}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm pack --silent "@niivue/niivue@$version" && tar -xzf niivue-niivue-*.tgz)
grep -q '"license": "BSD-2-Clause"' "$scratch/package/package.json"
cp "$scratch/package/dist/niivue.umd.js" "$here/niivue.umd.js"
sha512sum "$here/niivue.umd.js"
