#!/bin/sh
# Runs on the board; deploy/push.sh sends it. Installs a release beside the others, checks it and
# switches to it. If the service does not become ready, it switches back to the previous release.
# Safe to repeat.
# The power may fail at any time; deploy/release.py describes how a release becomes a good one.
#   PREFIX/releases/NAME/{venv,model}   PREFIX/current -> releases/NAME   PREFIX/staging/ files sent
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
unit=$UNITS/edge-runtime.service
before=$(readlink "$PREFIX/current" 2>/dev/null || true)
before=${before#releases/}
new=
trap 'code=$?; [ -z "$new" ] || rm -rf "$new"; exit $code' EXIT

(cd "$staging" && sha256sum --check --quiet --strict files.sha256 >&2) ||
  fail "the files above differ from what was sent; deploy again"

python=$(PYTHON=${PYTHON:-} sh "$staging/python.sh" 2>&1) || fail "$python" 9
releases() { "$python" -I "$staging/release.py" --prefix "$PREFIX" --unit "$unit" "$@"; }
command -v systemctl >/dev/null ||
  fail "this system has no systemd; to run the daemon without it, see docs/DAEMON.md" 9
release=$(releases place "$1")
folder=$PREFIX/releases/$release
# Unchanged packages need no download. They are copied, not linked: one damaged file must not
# damage two releases.
seed=
if [ -n "$before" ] && releases verify "$before"; then
  seed=$PREFIX/releases/$before/venv
fi
need=700000
[ -z "$seed" ] || need=$(($(du -sk "$seed" | cut -f1) + 100000))
[ ! -e "$folder" ] || need=0
free=$(df -Pk "$PREFIX" | awk 'NR==2 {print $4}')
[ "$free" -gt "$need" ] ||
  fail "less than $((need / 1000)) MB free on $PREFIX; free some space" 6

if [ "$OWNER" != "$(id -un)" ] && ! id "$OWNER" >/dev/null 2>&1; then
  log "creating the user $OWNER"
  useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin "$OWNER"
fi

if [ ! -e "$folder" ]; then
  log "installing release $release"
  new=$folder
  mkdir -p "$folder"
  [ -z "$seed" ] || cp -a --reflink=auto "$seed" "$folder/venv"
  "$python" -m venv ${seed:+--upgrade} "$folder/venv"
  pip() { "$folder/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
  # Only wheels with a digest in the list of this release: nothing else from the network runs here.
  pip install --quiet --require-hashes --only-binary :all: --requirement "$staging/requirements.txt"
  # The build writes root-owned files, which would break the next rsync: build a copy.
  cp -r "$staging/source" "$folder/source"
  pip install --quiet --no-index --no-build-isolation --force-reinstall --no-deps "$folder/source"
  rm -rf "$folder/source"
  cp -a "$staging/model" "$folder/model"
fi

if [ ! -e "$CONFIG" ]; then
  log "writing $CONFIG; please review it"
  mkdir -p "$(dirname "$CONFIG")"
  example=$("$folder/venv/bin/python" -m edge_runtime config example)
  printf '%s\n' "$example" | releases put "$CONFIG" --mode 600
fi
# Only the service may read a generated file, which may come to contain secrets.
[ "$(stat -c %a:%u "$CONFIG")" != 600:0 ] || chown "$OWNER" "$CONFIG"
"$folder/venv/bin/python" -m edge_runtime config check "$CONFIG" >&2
log "checking the board"
"$folder/venv/bin/python" -m edge_runtime doctor --model "$folder/model" \
  --gallery "${GALLERY:-/var/lib/edge-runtime/gallery.sqlite}" >&2 ||
  fail "the board failed the checks above" 9
if [ -n "$new" ]; then
  sed -e "s|/opt/edge-runtime|$PREFIX|g" -e "s|/etc/edge-runtime/edge.toml|$CONFIG|g" \
    -e "s|/usr/bin/python3|$python|" -e "s|^User=.*|User=$OWNER|" \
    "$staging/edge-runtime.service" > "$folder/edge-runtime.service"
  releases seal "$release"
fi

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

releases put "$PREFIX/release.py" < "$staging/release.py"
running=
! systemctl is-active --quiet edge-runtime || running=--running
releases begin "$release" $running
new=
systemctl daemon-reload
systemctl enable --quiet edge-runtime
log "starting the service"
if ready && releases confirm "$release" --keep "$KEEP"; then
  log "release $release is ready"
  exit
fi
log "release $release $why:"
systemctl status --no-pager --full --lines 15 edge-runtime >&2 || true
if before=$(releases revert); then
  [ "$release" = "$before" ] || new=$folder
  log "rolling back to $before"
  systemctl daemon-reload
  ready || fail "the previous release $why, too; see journalctl -u edge-runtime" 11
  exit 9
fi
systemctl stop edge-runtime || true
fail "there is no previous release to roll back to; see journalctl -u edge-runtime" 9
