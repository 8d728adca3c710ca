#!/bin/sh
# Runs on the board; deploy/push.sh sends it. Installs a release beside the others, checks it and
# switches to it. If the service does not become ready, it switches back to the previous release.
# Safe to repeat.
# The power may fail at any time; deploy/release.py describes how a release becomes a good one.
#   PREFIX/releases/NAME/{venv,model}   PREFIX/current -> releases/NAME   PREFIX/staging/ files sent
set -eu
PREFIX=${PREFIX:-/opt/edge-runtime}
CONFIG=${CONFIG:-/etc/edge-runtime/edge.toml}
GALLERY=${GALLERY:-/var/lib/edge-runtime/gallery.sqlite}
UNITS=${UNITS:-/etc/systemd/system}
BIN=${BIN:-/usr/local/bin}
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
secrets=
token=
trap 'code=$?; [ -z "$new" ] || rm -rf "$new"; [ -z "$secrets" ] || rm -rf "$secrets"; exit $code' EXIT

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
  releases gallery "$release" --gallery "$GALLERY"
fi
# That of its model, after a roll-out of another one.
gallery=$(readlink "$folder/gallery.sqlite" || echo "$GALLERY")

state=$(dirname "$GALLERY")
keys=$(dirname "$CONFIG")
mkdir -p "$keys"
if [ ! -e "$state" ]; then  # as systemd makes it for the service
  mkdir -p "$state"
  chown "$OWNER:" "$state"
  chmod 2770 "$state"
fi

# Prints the table [http]. With openssl, the page is open to the network: by https, with a
# certificate and a token that are made here and never leave the board. Without, to the board alone.
make_page() {
  command -v openssl >/dev/null || { printf '[http]\nhost = "127.0.0.1"\n'; return; }
  names=DNS:localhost,IP:127.0.0.1,DNS:$(uname -n),DNS:$(uname -n).local
  for address in $(hostname -I 2>/dev/null); do names=$names,IP:$address; done
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 800 \
    -subj /CN=edge-runtime -addext "subjectAltName=$names" \
    -keyout "$secrets/key.pem" -out "$secrets/certificate.pem" 2>"$secrets/said" ||
    fail "openssl cannot make a certificate: $(tail -n 1 "$secrets/said")"
  releases put "$keys/certificate.pem" < "$secrets/certificate.pem"
  releases put "$keys/key.pem" --mode 600 < "$secrets/key.pem"
  releases put "$keys/token" --mode 600 < "$secrets/token"
  printf '[http]\nhost = "0.0.0.0"\n'
  printf '%s_file = "%s"\n' token "$keys/token" certificate "$keys/certificate.pem" key "$keys/key.pem"
}

# The configuration comes last: if the power fails before, the next deployment makes all of it again.
# It lies beside the gallery, where the service may write, since the page can change settings.
if [ ! -e "$CONFIG" ] && [ ! -e "$state/edge.toml" ]; then
  log "writing $CONFIG; please review it"
  secrets=$(umask 077; mktemp -d)
  "$python" -I -c 'import secrets; print(secrets.token_hex(16))' > "$secrets/token"
  example=$("$folder/venv/bin/python" -m edge_runtime config example)
  page=$(make_page)
  printf '%s\n\n%s\n' "$example" "$page" | releases put "$state/edge.toml" --mode 640
  [ ! -e "$keys/token" ] || token=$(cat "$secrets/token")
  rm -rf "$secrets"
  secrets=
fi
[ -e "$CONFIG" ] || ln -sfn "$state/edge.toml" "$CONFIG"
# Only the service and its group may read a generated file, which may come to contain secrets.
for file in "$CONFIG" "$keys/token" "$keys/key.pem"; do
  case $(stat -L -c %a:%u "$file" 2>/dev/null) in
    600:0 | 640:0) chown "$OWNER:" "$file" ;;
  esac
done
# Members of the group may use the gallery: an earlier release kept it to the service.
for file in "$gallery" "$gallery-wal" "$gallery-shm"; do
  [ ! -e "$file" ] || chmod g+rw "$file"
done
"$folder/venv/bin/python" -m edge_runtime config check "$CONFIG" >&2
log "checking the board"
"$folder/venv/bin/python" -m edge_runtime doctor --model "$folder/model" \
  --gallery "$gallery" >&2 ||
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

# The command for users: the current release with the gallery and the configuration of the service.
install_command() {
  if [ -e "$BIN/edge-runtime" ] && ! grep -q '^# Written by make deploy' "$BIN/edge-runtime"; then
    log "$BIN/edge-runtime is not from a deployment and stays as it is"
    return
  fi
  mkdir -p "$BIN"
  sed -e "s|/opt/edge-runtime|$PREFIX|g" -e "s|/etc/edge-runtime/edge.toml|$CONFIG|g" \
    -e "s|/var/lib/edge-runtime/gallery.sqlite|$GALLERY|g" -e "s|^owner=.*|owner=$OWNER|" \
    "$staging/command.sh" | releases put "$BIN/edge-runtime" --mode 755
}

# What to do next, with the address of the page. It never fails: the deployment is done.
tell() {
  page=$("$folder/venv/bin/python" -m edge_runtime config show "$CONFIG" | "$python" -I -c '
import sys, tomllib
http = tomllib.loads(sys.stdin.read()).get("http")
if http:
    print("https" if http["certificate_file"] else "http", http["host"], http["port"])
') || page=
  # shellcheck disable=SC2086
  set -- $page
  if [ $# != 3 ]; then
    log "the page is off; to see what the camera sees, add the table [http] to $CONFIG"
    return
  fi
  address=$(hostname -I 2>/dev/null | cut -d " " -f 1) || address=
  case $2 in
    127.* | localhost | ::1)
      log "the page is at $1://127.0.0.1:$3/ on the board only; from here:"
      log "  ssh -L $3:127.0.0.1:$3 ${REACHED:-USER@BOARD}" ;;
    0.0.0.0 | ::) log "the page is at $1://${address:-$(uname -n)}:$3/ and $1://$(uname -n).local:$3/" ;;
    *) log "the page is at $1://$2:$3/" ;;
  esac
  if [ -n "$token" ]; then
    log "the token, shown this once (it is in $keys/token):"
    log "  $token"
    log "the board made the certificate, so the browser warns; compare the fingerprint before you continue:"
    log "  $(openssl x509 -in "$keys/certificate.pem" -noout -fingerprint -sha256 | cut -d = -f 2)"
  fi
  log "next: open the page, point the camera at something, and give it a name"
}

releases put "$PREFIX/release.py" < "$staging/release.py"
# Roll-outs of models (docs/FLEET.md), for boards whose owner enables edge-runtime-rollout.path.
releases put "$PREFIX/rollout.py" < "$staging/rollout.py"
for name in edge-runtime-rollout.path edge-runtime-rollout.service; do
  sed -e "s|/opt/edge-runtime|$PREFIX|g" -e "s|/var/lib/edge-runtime|$state|g" \
    -e "s|/etc/systemd/system|$UNITS|g" -e "s|/usr/bin/python3|$python|" "$staging/$name" |
    releases put "$UNITS/$name"
done
# Follows a fleet, once the board has joined one (docs/FLEET.md).
sed -e "s|/var/lib/edge-runtime/gallery.sqlite|$GALLERY|g" -e "s|/opt/edge-runtime|$PREFIX|g" \
  -e "s|^User=.*|User=$OWNER|" "$staging/edge-runtime-fleet.service" |
  releases put "$UNITS/edge-runtime-fleet.service"
running=
! systemctl is-active --quiet edge-runtime || running=--running
releases begin "$release" $running
new=
systemctl daemon-reload
systemctl enable --quiet edge-runtime edge-runtime-fleet
log "starting the service"
if ready && releases confirm "$release" --keep "$KEEP"; then
  install_command
  systemctl restart --no-block edge-runtime-fleet || true  # skipped on a board without a fleet
  log "release $release is ready"
  tell || true
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
