#!/bin/sh
# deploy/trust.sh HOST KEY trusted_keys|revoked_keys: add the public half of KEY to that file on a board.
# A board with trusted_keys accepts only releases and models that one of these keys signed.
set -eu
host=$1 key=${2%.pub}.pub list=$3
ssh=${SSH:-ssh -o ConnectTimeout=10}
[ -f "$key" ] || { echo "trust: $key: no public key found (run: make keys)" >&2; exit 2; }
line=$(head -n 1 "$key")
case $line in
  ssh-ed25519\ * | sk-ssh-ed25519@openssh.com\ *) ;;
  *) echo "trust: $key: not an ed25519 key (run: make keys)" >&2; exit 2 ;;
esac
[ "$list" = revoked_keys ] || line="edge-runtime $line"
sudo=
[ "$($ssh "$host" id -u)" = 0 ] || [ -n "${NO_SUDO:-}" ] || sudo="sudo "
# The line goes through stdin, so that no shell on the way interprets it.
# shellcheck disable=SC2016
printf '%s\n' "$line" | $ssh "$host" "${sudo}sh -c '
  set -eu; umask 022; cd /; mkdir -p ${TRUST:-/etc/edge-runtime}; cd ${TRUST:-/etc/edge-runtime}
  IFS= read -r line; touch $list
  grep -qxF -e \"\$line\" $list || { cat $list; printf \"%s\\n\" \"\$line\"; } > $list.new
  [ ! -s $list.new ] || { sync $list.new; mv $list.new $list; sync .; }
  rm -f $list.new'"
echo "trust: $host lists $key in $list" >&2
