#!/usr/bin/env bash
# A session in a real Blender window, with screenshots: tests/window/run.sh [OUTPUT]
#
# Puts Debian trixie's Blender into a folder (WINDOW_ROOT), draws it by software on a virtual screen, installs the add-on's
# zip (ADDON_ZIP, or built now), lets session.py press the buttons, and keeps the screenshots in OUTPUT (out/window).
# Needs root, a network the first time, and the Debian packages debootstrap, xvfb and imagemagick; says so and exits with 77 where one
# of them is missing. The backend runs outside, with BACKEND_PYTHON (python3).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
output=$(realpath -m "${1:-$checkout/out/window}")
root=${WINDOW_ROOT:-$HOME/.cache/dreamcraft3d-window}
python=${BACKEND_PYTHON:-python3}

skip() { echo "Skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "a folder with another system in it needs root."
for program in debootstrap Xvfb import; do
  command -v "$program" >/dev/null || skip "$program is not installed (apt-get install debootstrap xvfb imagemagick)."
done

bind() { mkdir -p "$root$2"; mountpoint -q "$root$2" || mount --bind "$1" "$root$2"; }
install_blender() {
  [ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase trixie "$root" >"$output/debootstrap.log" 2>&1 ||
    skip "Debian could not be fetched; see $output/debootstrap.log."
  bind /proc /proc
  bind /dev /dev
  if [ ! -x "$root/usr/bin/blender" ]; then
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y --no-install-recommends \
      blender python3-numpy libgl1 libgl1-mesa-dri libegl1 >"$output/apt.log" 2>&1 || skip "Blender could not be fetched; see $output/apt.log."
  fi
}

work=$(mktemp -d /tmp/dreamcraft3d-window.XXXXXX)
started=()
leave() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for folder in /work /tmp/.X11-unix /dev /proc; do umount "$root$folder" 2>/dev/null || true; done
  rm -rf "$work"
}
trap leave EXIT

mkdir -p "$output"
install_blender
mkdir -p "$work/shots"
if [ -n "${ADDON_ZIP:-}" ]; then cp "$ADDON_ZIP" "$work/"; else "$python" "$checkout/build_addon.py" --output "$work"; fi
mv "$work"/dreamcraft3d-*.zip "$work/addon.zip"
cp "$here/session.py" "$work/"

display=:$((RANDOM % 400 + 100))
Xvfb "$display" -screen 0 1600x900x24 >"$output/xvfb.log" 2>&1 &
started+=($!)
mkdir -p /tmp/.X11-unix
bind /tmp/.X11-unix /tmp/.X11-unix
PYTHONPATH="$checkout/backend:$checkout/shared" "$python" -m dreamcraft3d.cli serve --data "$work/data" >"$output/backend.log" 2>&1 &
started+=($!)
bind "$work" /work
take_screenshots() {
  while sleep 0.2; do
    for wanted in "$work"/shots/*.wanted; do
      [ -e "$wanted" ] || continue
      import -display "$display" -window root "$work/shot.png" && mv "$work/shot.png" "${wanted%.wanted}.png"
      rm "$wanted"
    done
  done
}
take_screenshots &
started+=($!)

status=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/work/home DISPLAY="$display" LIBGL_ALWAYS_SOFTWARE=1 SESSION_PROMPT="${SESSION_PROMPT:-a red mushroom}" \
  SESSION_PRESET="${SESSION_PRESET:-draft}" \
  timeout "${SESSION_SECONDS:-600}" chroot "$root" blender --factory-startup --window-geometry 0 0 1600 900 --python-exit-code 1 \
  --python /work/session.py >"$output/blender.log" 2>&1 || status=$?
cp "$work"/shots/*.png "$output/" 2>/dev/null || true
tail -n 20 "$output/blender.log"
exit "$status"
