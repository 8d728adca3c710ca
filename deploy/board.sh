#!/bin/sh
# Runs on the board; deploy/push.sh sends it. Installs a release beside the others, checks it and
# switches to it. If the service does not become ready, it switches back to the previous release.
# Safe to repeat.
#   PREFIX/releases/ID/{venv,model}   PREFIX/current -> releases/ID   PREFIX/staging/ files sent
set -eu
PREFIX=${PREFIX:-/opt/edge-runtime}
CONFIG=${CONFIG:-/etc/edge-runtime/edge.toml}
UNITS=${UNITS:-/etc/systemd/system}
OWNER=${OWNER:-edge-runtime}
READY_S=${READY_S:-60}
KEEP=${KEEP:-3}
STEADY_S=${STEADY_S:-5}
log() { echo "deploy: $*" >&2; }
fail() { log "$1"; exit "${2:-1}"; }

staging=$PREFIX/staging
release=$PREFIX/releases/$1
before=$(readlink "$PREFIX/current" 2>/dev/null || true)
trap 'code=$?; [ $code = 0 ] || [ -e "$release/.good" ] || rm -rf "$release"; exit $code' EXIT

(cd "$staging" && sha256sum --check --quiet --strict files.sha256 >&2) ||
  fail "the files above differ from what was sent; deploy again"

python=$(PYTHON=${PYTHON:-} sh "$staging/python.sh" 2>&1) || fail "$python" 9
command -v systemctl >/dev/null ||
  fail "this system has no systemd; to run the daemon without it, see docs/DAEMON.md" 9
free=$(df -Pk "$PREFIX" | awk 'NR==2 {print $4}')
[ "$free" -gt 700000 ] || [ -n "$before" ] ||
  fail "less than 700 MB free on $PREFIX; free some space" 6

if [ "$OWNER" != "$(id -un)" ] && ! id "$OWNER" >/dev/null 2>&1; then
  log "creating the user $OWNER"
  useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin "$OWNER"
fi

if [ ! -e "$release/.good" ]; then
  log "installing release $1"
  mkdir -p "$PREFIX/releases"
  rm -rf "$release"
  mkdir "$release"
  if [ -n "$before" ] && [ -x "$PREFIX/$before/venv/bin/python" ]; then
    cp -al "$PREFIX/$before/venv" "$release/venv"  # unchanged packages need no download
    "$python" -m venv --upgrade "$release/venv"
  else
    "$python" -m venv "$release/venv"
  fi
  pip() { "$release/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
  pip install --quiet --requirement "$staging/requirements.txt"
  # The build writes root-owned files, which would break the next rsync: build a copy.
  cp -r "$staging/source" "$release/source"
  pip install --quiet --force-reinstall --no-deps "$release/source"
  rm -rf "$release/source"
  cp -a "$staging/model" "$release/model"
fi

if [ ! -e "$CONFIG" ]; then
  log "writing $CONFIG; please review it"
  mkdir -p "$(dirname "$CONFIG")"
  "$release/venv/bin/python" -m edge_runtime config example > "$CONFIG"
fi
"$release/venv/bin/python" -m edge_runtime config check "$CONFIG" >&2
log "checking the board"
"$release/venv/bin/python" -m edge_runtime doctor --model "$release/model" \
  --gallery "${GALLERY:-/var/lib/edge-runtime/gallery.sqlite}" >&2 ||
  fail "the board failed the checks above" 9
touch "$release/.good"

switch() {  # replaces the link atomically
  ln -sfn "releases/$1" "$PREFIX/current.new"
  mv -T "$PREFIX/current.new" "$PREFIX/current"
}
ready() {  # sets $why on failure; systemctl returns once the service is ready or has failed
  code=0
  timeout "$READY_S" systemctl restart edge-runtime || code=$?
  case $code in
    0) why="became ready but ended within $STEADY_S s" ;;
    124) why="did not become ready in $READY_S s" ;;
    *) why="ended before it became ready" ;;
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
log "starting the service"
if ready; then
  log "release $1 is ready"
else
  log "release $1 $why:"
  systemctl status --no-pager --full --lines 15 edge-runtime >&2 || true
  rm -f "$release/.good"
  if [ -n "$before" ] && [ "$before" != "releases/$1" ]; then
    log "rolling back to ${before#releases/}"
    [ ! -e "$PREFIX/unit.before" ] || cp -a "$PREFIX/unit.before" "$unit"
    switch "${before#releases/}"
    systemctl daemon-reload
    ready || fail "the previous release $why, too; see journalctl -u edge-runtime" 11
    exit 9
  fi
  systemctl stop edge-runtime || true
  fail "there is no previous release to roll back to; see journalctl -u edge-runtime" 9
fi
cd "$PREFIX/releases"
ls -1t | tail -n +$((KEEP + 1)) | while read -r old; do
  [ "releases/$old" = "$before" ] || [ "$old" = "$1" ] || rm -rf "./$old"
done
