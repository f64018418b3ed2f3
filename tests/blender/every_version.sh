#!/usr/bin/env bash
# The add-on's tests in each Blender it is for, two at a time: tests/blender/every_version.sh [FOLDER]
#
# Makes an environment for each in FOLDER (~/.cache/dreamcraft3d-bpy): bpy 4.2 to 5.0 want Python 3.11, 5.2 wants 3.13. They
# need no torch: the backend runs in BACKEND_PYTHON (python3.11), which has the project's packages. VERSIONS names those to test
# ("4.2.23 5.2.3"), instead of all.
set -euo pipefail
cd "$(dirname "$0")/../.."

export folder=${1:-$HOME/.cache/dreamcraft3d-bpy}
export BACKEND_PYTHON=${BACKEND_PYTHON:-$(command -v python3.11)}
export PYTHONPATH=$PWD/backend:$PWD/shared
dist=$(mktemp -d)
trap 'rm -rf "$dist"' EXIT
if [ -z "${ADDON_ZIP:-}" ]; then
  "$BACKEND_PYTHON" build_addon.py --output "$dist"
  ADDON_ZIP=$(echo "$dist"/*.zip)
fi
export ADDON_ZIP

# A Python by its name, where the shell or pyenv has it.
interpreter() {
  for candidate in "$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"${1#python}".*/bin/"$1"; do
    "$candidate" --version >/dev/null 2>&1 && { echo "$candidate"; return; }
  done
}
# The tests in one version; what they print comes when they are done.
test_in() {
  local printed status=0
  printed=$("$folder/$1/bin/python" -m pytest -p no:cacheprovider --confcutdir=tests/blender \
    tests/blender --ignore=tests/blender/test_import.py 2>&1) || status=$?
  printf 'Blender %s\n%s\n' "$1" "$printed"
  return "$status"
}
export -f test_in

ready=()
for pair in 4.2.23=python3.11 4.5.15=python3.11 5.0.1=python3.11 5.2.3=python3.13; do
  version=${pair%=*} python=$(interpreter "${pair#*=}")
  [[ " ${VERSIONS:-$version} " == *" $version "* ]] || continue
  environment=$folder/$version
  [ -n "$python" ] || { echo "Skipped: Blender $version wants ${pair#*=}, which is not here."; continue; }
  [ -x "$environment/bin/pytest" ] || {
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet "bpy==$version" pyzmq msgpack platformdirs pytest pytest-timeout
  }
  ready+=("$version")
done
printf '%s\n' "${ready[@]}" | xargs -P 2 -I{} bash -c 'test_in {}'
