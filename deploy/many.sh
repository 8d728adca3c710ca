#!/bin/sh
# make deploy TARGET=rpi4 HOSTS="pi@a pi@b": deploy to several boards, one after the other.
#   many.sh TARGET HOST...
# A board that fails does not stop the others. The exit code is that of the first that failed.
set -eu
target=$1
shift
verdict=0
summary=
for host; do
  echo "deploy: $host" >&2
  code=0
  "$(dirname "$0")/push.sh" "$target" "$host" || code=$?
  [ $verdict != 0 ] || verdict=$code
  case $code in
    0) result=ready ;;
    9) result="failed a check, or went back to the release before (exit code 9)" ;;
    255) result="not reached by ssh (exit code 255)" ;;
    *) result="failed (exit code $code)" ;;
  esac
  summary="$summary
deploy:   $host: $result"
done
echo "deploy: $# boards:$summary" >&2
exit $verdict
