#!/bin/sh
# Written by make deploy: the current release, with the model, the gallery and the configuration of
# the service. Options and the environment have precedence.
prefix=/opt/edge-runtime
config=/etc/edge-runtime/edge.toml
# A link: each release leads to the gallery of its model.
gallery=$(readlink "$prefix/current/gallery.sqlite") || gallery=/var/lib/edge-runtime/gallery.sqlite
owner=edge-runtime
: "${EDGE_RUNTIME_MODEL:=$prefix/current/model}"
export EDGE_RUNTIME_MODEL
if [ -z "${EDGE_RUNTIME_GALLERY:-}" ]; then
  export EDGE_RUNTIME_GALLERY="$gallery"
  case " $* " in
    *" --gallery"* | *" --help "*) ;;
    " enroll "* | " query "* | " gallery "* | " run "*)
      # SQLite writes beside the gallery even to read it.
      if [ ! -w "$(dirname "$gallery")" ] || { [ -e "$gallery" ] && [ ! -w "$gallery" ]; }; then
        echo "edge-runtime: $gallery: only the group $owner may use the gallery of the service" \
          "(run: sudo usermod -aG $owner $(id -un), log in again; or name your own with --gallery)" >&2
        exit 6
      fi
      # The service shall be able to write what this command creates.
      umask 007 ;;
  esac
fi
# Not for root: the service may change its configuration, and so what the command would run.
if [ "$(id -u)" != 0 ] && [ -r "$config" ]; then
  export EDGE_RUNTIME_CONFIG="${EDGE_RUNTIME_CONFIG:-$config}"
fi
exec "$prefix/current/venv/bin/edge-runtime" "$@"
