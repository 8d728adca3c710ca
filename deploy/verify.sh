#!/bin/sh
# Runs on the board, before anything of a release does. deploy/push.sh sends this text from the checkout,
# not with the release. Exit code 14: a key is installed, and it did not sign this release.
#   verify.sh RELEASE   PREFIX/staging/ files sent   EDGE_RUNTIME_TRUST/{trusted_keys,revoked_keys}
set -eu
PREFIX=${PREFIX:-/opt/edge-runtime}
trust=${EDGE_RUNTIME_TRUST:-/etc/edge-runtime}
fail() { echo "deploy: $1" >&2; exit "${2:-14}"; }

cd "$PREFIX/staging"
# From here on, no other user can change what is checked now and installed afterwards.
chown -R "$(id -u):$(id -g)" .
chmod -R go-w .
[ -z "$(find . ! -type f ! -type d)" ] || fail "the release has links or devices; deploy again"
found=$(find . -type f ! -path ./files.sha256 ! -path ./files.sha256.sig | sed 's|^\./||' | LC_ALL=C sort)
[ "$found" = "$(sed 's/^[0-9a-f]\{64\}  //' files.sha256)" ] ||
  fail "the release has other files than its list; deploy again"
sha256sum --check --quiet --strict files.sha256 >&2 ||
  fail "the files above differ from what was sent; deploy again" 1
[ "$(sha256sum files.sha256 | cut -c1-12)" = "$1" ] || fail "the list is not that of release $1; deploy again"

[ -e "$trust/trusted_keys" ] || exit 0
changeable=$(find -L "$trust" "$trust/trusted_keys" "$trust/revoked_keys" -maxdepth 0 \
  \( -perm /022 -o ! -uid 0 ! -uid "$(id -u)" \) 2>/dev/null || true)
[ -z "$changeable" ] || fail "other users can change $(echo $changeable), so its keys prove nothing \
(run on the board: sudo chown root:root FILE && sudo chmod go-w FILE)"
command -v ssh-keygen >/dev/null || fail "ssh-keygen is missing on the board: sudo apt install openssh-client"
[ -e files.sha256.sig ] ||
  fail "release $1 is not signed, and this board accepts only signed ones (run: make keys, make trust)"
revoked=
[ ! -e "$trust/revoked_keys" ] || revoked=$trust/revoked_keys
reason=$(ssh-keygen -Y verify -f "$trust/trusted_keys" -I edge-runtime -n edge-runtime-release \
  -s files.sha256.sig ${revoked:+-r "$revoked"} < files.sha256 2>&1) ||
  fail "release $1 is not signed by a key that this board trusts: $(echo $reason) (sign with a trusted key: KEY=file)"
echo "deploy: $reason" >&2
