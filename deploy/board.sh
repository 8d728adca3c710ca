#!/bin/sh
# Runs on the board, sent by deploy/push.sh: puts one release beside the others, tries it, switches to
# it, and back to the one before if it does not become ready. Safe to repeat.
#   PREFIX/releases/ID/{venv,model}   PREFIX/current -> releases/ID   PREFIX/staging/ what was sent
set -eu
PREFIX=${PREFIX:-/opt/edge-runtime}
CONFIG=${CONFIG:-/etc/edge-runtime/edge.toml}
UNITS=${UNITS:-/etc/systemd/system}
OWNER=${OWNER:-edge-runtime}
READY_S=${READY_S:-60}
KEEP=${KEEP:-3}
STEADY_S=${STEADY_S:-5}
say() { echo "deploy: $*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

staging=$PREFIX/staging
release=$PREFIX/releases/$1
before=$(readlink "$PREFIX/current" 2>/dev/null || true)
trap 'code=$?; [ $code = 0 ] || [ -e "$release/.good" ] || rm -rf "$release"; exit $code' EXIT

python=$(PYTHON=${PYTHON:-} sh "$staging/python.sh" 2>&1) || fail "$python" 9
command -v systemctl >/dev/null || fail "no systemd here; run it by hand: docs/DAEMON.md" 9
free=$(df -Pk "$PREFIX" | awk 'NR==2 {print $4}')
[ "$free" -gt 700000 ] || [ -n "$before" ] || fail "less than 700 MB free on $PREFIX" 6

if [ "$OWNER" != "$(id -un)" ] && ! id "$OWNER" >/dev/null 2>&1; then
  say "making the user $OWNER"
  useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin "$OWNER"
fi

if [ ! -e "$release/.good" ]; then
  say "installing release $1"
  mkdir -p "$PREFIX/releases"
  rm -rf "$release"
  mkdir "$release"
  if [ -n "$before" ] && [ -x "$PREFIX/$before/venv/bin/python" ]; then
    cp -al "$PREFIX/$before/venv" "$release/venv"  # what has not changed is not fetched again
    "$python" -m venv --upgrade "$release/venv"
  else
    "$python" -m venv "$release/venv"
  fi
  pip() { "$release/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
  pip install --quiet --requirement "$staging/requirements.txt"
  cp -r "$staging/source" "$release/source"  # it is built in place, as root: the next rsync could not
  pip install --quiet --force-reinstall --no-deps "$release/source"
  rm -rf "$release/source"
  cp -a "$staging/model" "$release/model"
fi

if [ ! -e "$CONFIG" ]; then
  say "writing $CONFIG: look through it"
  mkdir -p "$(dirname "$CONFIG")"
  "$release/venv/bin/python" -m edge_runtime config example > "$CONFIG"
fi
"$release/venv/bin/python" -m edge_runtime config check "$CONFIG" >&2
say "examining the board"
"$release/venv/bin/python" -m edge_runtime doctor --model "$release/model" \
  --gallery "${GALLERY:-/var/lib/edge-runtime/gallery.sqlite}" >&2 || fail "the board is not fit: see above" 9
touch "$release/.good"

switch() {  # the link changes in one step
  ln -sfn "releases/$1" "$PREFIX/current.new"
  mv -T "$PREFIX/current.new" "$PREFIX/current"
}
ready() {  # or $why not; systemctl comes back as soon as the service is ready or has failed
  code=0
  timeout "$READY_S" systemctl restart edge-runtime || code=$?
  case $code in
    0) why="became ready, and ended within $STEADY_S s" ;;
    124) why="did not become ready in $READY_S s" ;;
    *) why="ended before it was ready" ;;
  esac
  [ $code = 0 ] || return 1
  sleep "$STEADY_S"
  systemctl is-active --quiet edge-runtime
}

unit=$UNITS/edge-runtime.service
[ ! -e "$unit" ] || cp -a "$unit" "$PREFIX/unit.before"
sed -e "s|/opt/edge-runtime|$PREFIX|g" -e "s|/etc/edge-runtime/edge.toml|$CONFIG|g" \
  -e "s|^User=.*|User=$OWNER|" "$staging/edge-runtime.service" > "$unit"
switch "$1"
systemctl daemon-reload
systemctl enable --quiet edge-runtime
say "starting it"
if ready; then
  say "release $1 is ready"
else
  say "release $1 $why:"
  systemctl status --no-pager --full --lines 15 edge-runtime >&2 || true
  rm -f "$release/.good"
  if [ -n "$before" ] && [ "$before" != "releases/$1" ]; then
    say "going back to ${before#releases/}"
    [ ! -e "$PREFIX/unit.before" ] || cp -a "$PREFIX/unit.before" "$unit"
    switch "${before#releases/}"
    systemctl daemon-reload
    ready || fail "and that one $why, too: journalctl -u edge-runtime" 11
    exit 9
  fi
  systemctl stop edge-runtime || true
  fail "there is none before it to go back to: journalctl -u edge-runtime" 9
fi
cd "$PREFIX/releases"
ls -1t | tail -n +$((KEEP + 1)) | while read -r old; do
  [ "releases/$old" = "$before" ] || [ "$old" = "$1" ] || rm -rf "./$old"
done
