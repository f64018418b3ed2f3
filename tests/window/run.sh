#!/usr/bin/env bash
# Sessions in a real Blender window, with screenshots: tests/window/run.sh [OUTPUT]
#
# Puts Debian's Blender into a folder (WINDOW_ROOT), draws it by software on a virtual screen, installs the add-on's zip
# (ADDON_ZIP, or built now), lets the scripts beside this one press the buttons, and keeps the screenshots in OUTPUT (out/window):
# session.py is what an artist does, trouble.py kills the backend's processes and closes Blender, reopened.py opens the file again,
# painted.py looks whether a viewport shows what is painted. SESSIONS names those to run ("session trouble reopened painted"); others are artist.py and returned.py, a whole afternoon in two halves,
# object.py, what is done with a finished object, soak.py, which gives an object no rest while it grows, and clean.py, which
# installs the backend from the zip (2 GB to download; with the settings that PIP_* variables hold, and PyTorch from TORCH_INDEX
# if it is set). SESSION_LANGUAGE is that of the interface (ko_KR). WINDOW_SUITE=sid takes Blender 5.2 of Debian's sid instead of
# trixie's 4.3.
# Needs root, a network the first time, and the Debian packages debootstrap, xvfb and imagemagick; says so and exits with 77 where one
# of them is missing. The backend is that of BACKEND_PYTHON (python3), which is shown to Blender where it lies; the add-on starts it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
output=$(realpath -m "${1:-$checkout/out/window}")
root=${WINDOW_ROOT:-$HOME/.cache/dreamcraft3d-window${WINDOW_SUITE:+-$WINDOW_SUITE}}
python=$(command -v "${BACKEND_PYTHON:-python3}")
environment=$("$python" -c 'import sys; print(sys.prefix)')
base=$("$python" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')

skip() { echo "Skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "a folder with another system in it needs root."
[ "$base" != /usr ] || skip "a Python of this system does not run in another one; name one that lies in a folder of its own (pyenv, uv)."
for program in debootstrap Xvfb import; do
  command -v "$program" >/dev/null || skip "$program is not installed (apt-get install debootstrap xvfb imagemagick)."
done

bound=()
bind() { # FOLDER [PLACE]: shows a folder of this system in the other one
  mkdir -p "$1" "$root${2:-$1}"
  mount --bind "$1" "$root${2:-$1}"
  bound=("$root${2:-$1}" "${bound[@]}")
}
install_blender() {
  [ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase "${WINDOW_SUITE:-trixie}" "$root" >"$output/debootstrap.log" 2>&1 ||
    skip "Debian could not be fetched; see $output/debootstrap.log."
  bind /proc
  bind /dev
  if [ ! -x "$root/usr/bin/blender" ] || [ ! -e "$root/usr/lib/python3/dist-packages/Xlib" ]; then
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y --no-install-recommends \
      blender python3-numpy python3-cattr python3-requests python3-xlib libgl1 libgl1-mesa-dri libegl1 \
      >"$output/apt.log" 2>&1 || skip "Blender could not be fetched; see $output/apt.log."
  fi
}

work=$(mktemp -d /tmp/dreamcraft3d-window.XXXXXX)
started=()
end_backend() { # it outlives Blender
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/root")" != "$root" ] || kill -KILL "${process#/proc/}" 2>/dev/null || true
  done
}
leave() {
  end_backend
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for folder in "${bound[@]}"; do umount "$folder" 2>/dev/null || umount --lazy "$folder" || true; done
  rm -rf --one-file-system "$work"
}
trap leave EXIT

mkdir -p "$output" "$work/shots" "$work/home"
install_blender
if [ -n "${ADDON_ZIP:-}" ]; then cp "$ADDON_ZIP" "$work/"; else "$python" "$checkout/build_addon.py" --output "$work"; fi
mv "$work"/dreamcraft3d-*.zip "$work/addon.zip"
cp "$here"/*.py "$here/../blender/belongings.py" "$work/"
data=$work/home/.local/share/dreamcraft3d # where the backend keeps its own for HOME=/window/home
mkdir -p -m 700 "$data/presets"
cp "$here"/*.toml "$data/presets/"

display=:$((RANDOM % 400 + 100))
Xvfb "$display" -screen 0 1600x900x24 >"$output/xvfb.log" 2>&1 &
started+=($!)
bind /tmp/.X11-unix
bind "$base"
[ "$environment" = "$base" ] || bind "$environment"
bind "$checkout"
bind "$work" /window
[ -z "${PIP_CERT:-}" ] || bind "$(dirname "$PIP_CERT")"
mapfile -t pip_settings < <(env | grep '^PIP_')
bind "${WARP_CACHE_PATH:-$HOME/.cache/warp}" /window/home/.cache/warp
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

blender() { # SCRIPT [FILE]
  local status=0 seconds=${SESSION_SECONDS:-600}
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/window/home DISPLAY="$display" LIBGL_ALWAYS_SOFTWARE=1 HF_HUB_OFFLINE=1 \
    BACKEND_PYTHON="$python" SESSION_PROMPT="${SESSION_PROMPT:-a red mushroom}" SESSION_PRESET="${SESSION_PRESET:-window}" \
    SESSION_SECONDS="$seconds" SESSION_LANGUAGE="${SESSION_LANGUAGE:-en_US}" CHECKOUT="$checkout" TORCH_INDEX="${TORCH_INDEX:-}" "${pip_settings[@]}" \
    timeout $((seconds + 30)) chroot "$root" blender "${@:2}" --window-geometry 0 0 1600 900 --enable-event-simulate \
    --python-exit-code 1 --python "/window/$1.py" >"$output/$1.log" 2>&1 || status=$?
  cp "$work"/shots/*.png "$output/" 2>/dev/null || true
  echo "$1:"
  tail -n 5 "$output/$1.log"
  return "$status"
}
contact_sheet() { # of the states: sidebar and page, cut out of what surrounds them
  local shot
  for shot in "$output"/[23][0-9]-*.png; do
    convert \( "$shot" -crop 250x790+397+90 +repage \) \( "$shot" -crop 740x600+850+295 +repage \) \
      -background '#303030' +append -resize 62% "$work/tile-$(basename "$shot")"
  done
  montage "$work"/tile-*.png -tile 3x -geometry +6+6 -background '#101010' -depth 8 +dither -colors 32 "PNG8:$output/states.png"
}
for session in ${SESSIONS:-session trouble reopened painted}; do
  file=()
  case "$session" in
    reopened | returned) file=(/window/growing.blend) ;; # they go on with what the session before has left
    *) end_backend ;;
  esac
  blender "$session" "${file[@]}"
  [ "$session" != states ] || contact_sheet
done
