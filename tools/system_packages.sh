#!/usr/bin/env bash
# Makes sure that the browser tests find Chromium and a font to draw with. Needs apt-get and root (or sudo
# without a password) only when something is missing.
set -eu

have_chromium() {
    [ -n "${CHROMIUM:-}" ] && [ -x "$CHROMIUM" ] && return 0
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}
have_font() { # any DejaVu font; on systems without apt-get fonts are the desktop's business
    ! command -v apt-get >/dev/null || [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]
}

missing=()
have_chromium || missing+=(chromium)
have_font || missing+=(fonts-dejavu-core)
[ ${#missing[@]} -eq 0 ] && exit 0

refuse() {
    echo "system_packages: the browser tests must find ${missing[*]}, got $1." \
        "Install them by hand, or set CHROMIUM to a Chrome or Chromium binary." >&2
    exit 1
}
command -v apt-get >/dev/null || refuse "no apt-get to install them with"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || refuse "neither root nor sudo without a password"
    as_root=(sudo -n)
fi
echo "system_packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q || refuse "a failing apt-get update"
"${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" || refuse "a failing apt-get install"
