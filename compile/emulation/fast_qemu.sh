#!/bin/sh
# Build Debian 12's QEMU with qemu_fma.patch into the folder $1, for verification on a thousand
# pictures. The build is kept only if fma_check.c gives the same result as on the installed QEMU.
set -eu

for tool in qemu-aarch64 aarch64-linux-gnu-gcc ninja pkg-config patch xz; do
    command -v "$tool" > /dev/null && continue
    echo "fast_qemu: $tool is missing (apt install qemu-user gcc-aarch64-linux-gnu gcc make" \
        "ninja-build pkg-config libglib2.0-dev patch xz-utils)" >&2
    exit 1
done

packages=/etc/apt/sources.list.d/debian.sources
if [ ! -f "$packages" ]; then
    echo "fast_qemu: $packages is missing; it names the archive with the sources of QEMU" >&2
    exit 1
fi

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?name a folder, such as build/qemu}"
out=$(cd "$1" && pwd)
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Use the sources of the same packages, without changing the configuration of apt.
mkdir lists parts
sed 's/^Types: .*/Types: deb-src/' "$packages" > parts/debian.sources
apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
    -o Dir::State::lists="$work/lists" update
apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
    -o Dir::State::lists="$work/lists" source --download-only qemu

tar xf qemu_*.orig.tar.xz
cd qemu-*/
tar xf ../qemu_*.debian.tar.xz
grep -v '^#' debian/patches/series | while read -r name; do patch -p1 -s < "debian/patches/$name"; done
if ! patch -p1 -s < "$here/qemu_fma.patch"; then
    echo "fast_qemu: the patch is for QEMU 7.2.22, but these sources are $(cat VERSION)" >&2
    exit 1
fi
echo "$(cat VERSION)-fma" > VERSION
mkdir built
cd built
../configure --target-list=aarch64-linux-user --without-default-features --disable-system \
    --disable-tools --disable-docs --disable-werror --enable-linux-user --enable-pie \
    --enable-plugins --extra-cflags="-O3 -march=native" > configured.txt
if ! ninja qemu-aarch64 > built.txt 2>&1; then
    tail -n 20 built.txt >&2
    exit 1
fi

aarch64-linux-gnu-gcc -O2 -static -march=armv8.2-a+fp16 "$here/fma_check.c" -o fma_check
installed=$(qemu-aarch64 -cpu cortex-a76 ./fma_check 1000000)
fast=$(./qemu-aarch64 -cpu cortex-a76 ./fma_check 1000000)
if [ "$installed" != "$fast" ]; then
    echo "fast_qemu: rejected: its results differ from those of $(command -v qemu-aarch64)" >&2
    exit 1
fi
mv qemu-aarch64 "$out/qemu-aarch64"
echo "$("$out/qemu-aarch64" --version | head -n 1): $out/qemu-aarch64"
