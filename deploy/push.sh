#!/bin/sh
# make deploy TARGET=rpi4 HOST=pi@board: install this checkout and its bundle on a board.
# Both machines need ssh and rsync. The board also needs sudo, unless the user is root.
set -eu
cd "$(dirname "$0")/.."
target=$1 host=$2
ssh=${SSH:-ssh -o ConnectTimeout=10}
prefix=${PREFIX:-/opt/edge-runtime}
bundle=${BUNDLE:-build/$target}
[ -f "$bundle/manifest.json" ] || { echo "deploy: $bundle: no bundle found (run: make compile TARGET=$target)" >&2; exit 2; }
if grep -q '"verified": false' "$bundle/manifest.json"; then
  echo "deploy: $bundle is not verified (run: apt install qemu-user, then make compile TARGET=$target)" >&2
  exit 2
fi
command -v rsync >/dev/null || { echo "deploy: rsync is missing (run: apt install rsync)" >&2; exit 2; }

parcel=build/deploy/$target
sh deploy/parcel.sh "$parcel"
cp deploy/board.sh deploy/command.sh deploy/python.sh deploy/release.py deploy/rollout.py "$parcel/"
for unit in edge-runtime.service edge-runtime-fleet.service edge-runtime-rollout.path edge-runtime-rollout.service; do
  cp "deploy/units/$unit" "$parcel/"
done
cp -r "$bundle" "$parcel/model"
key=${KEY:-$HOME/.config/edge-runtime/signing_key}
[ -e "$key" ] || [ -z "${KEY:-}" ] || { echo "deploy: $key: no key found (run: make keys)" >&2; exit 2; }
sign() {  # FILE KIND: write FILE.sig
  rm -f "$1.sig"
  ssh-keygen -q -Y sign -f "$key" -n "edge-runtime-$2" "$1" ||
    { echo "deploy: $1 cannot be signed with $key" >&2; exit 14; }
}
[ ! -e "$key" ] || [ -e "$parcel/model/manifest.json.sig" ] || sign "$parcel/model/manifest.json" bundle
sh deploy/list.sh "$parcel"
[ ! -e "$key" ] || sign "$parcel/files.sha256" release
release=$(sha256sum "$parcel/files.sha256" | cut -c1-12)

sudo=
[ "$($ssh "$host" id -u)" = 0 ] || [ -n "${NO_SUDO:-}" ] || sudo="sudo "
echo "deploy: sending release $release to $host" >&2
$ssh "$host" "${sudo}mkdir -p $prefix/staging && ${sudo}chown -R \$(id -u) $prefix/staging"
rsync --archive --delete --compress --rsh "$ssh" "$parcel/" "$host:$prefix/staging/"
$ssh "$host" "${sudo}env PREFIX=$prefix ${BOARD_ENV:-} sh -s $release" < deploy/verify.sh
$ssh "$host" "${sudo}env PREFIX=$prefix REACHED=$host ${BOARD_ENV:-} sh $prefix/staging/board.sh $release"
