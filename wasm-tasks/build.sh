#!/bin/sh
# Builds the guests into wasm-tasks/bin. The Go guests need Go; the small ones (WAT, C) are copied from
# internal/guests and built again from source only where the tools are there: wat2wasm, and clang with lld,
# wasi-libc and the wasm32 runtime library. On Debian:
#   apt-get install wabt clang lld wasi-libc libclang-rt-14-dev-wasm32
#
#   build.sh            build what can be built; say what was left out
#   build.sh --commit   also put the small guests into internal/guests, to be committed
set -eu
cd "$(dirname "$0")"

small=../internal/guests
commit=no
case "${1:-}" in
'') ;;
--commit) commit=yes ;;
*)
	echo "usage: build.sh [--commit]" >&2
	exit 2
	;;
esac

mkdir -p bin
cp "$small"/*.wasm bin/

for name in wordcount markdown thumbnail; do
	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -o "bin/$name.wasm" "./$name"
done

if command -v wat2wasm >/dev/null; then
	for source in wat/*.wat; do
		wat2wasm "$source" -o "bin/$(basename "$source" .wat).wasm"
	done
else
	echo "build.sh: left out wat/*.wat, no wat2wasm; bin has the committed ones" >&2
fi

# A program of one line shows whether headers, libraries and linker are all there.
if echo 'int main(void) { return 0; }' | clang --target=wasm32-wasi -x c - -o bin/probe.tmp 2>/dev/null; then
	rm bin/probe.tmp
	for source in c/*.c; do
		clang --target=wasm32-wasi -O2 -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno -Wl,--strip-all \
			"$source" -o "bin/$(basename "$source" .c).wasm"
	done
	chmod 644 bin/*.wasm
else
	echo "build.sh: left out c/*.c, no clang that links for wasm32-wasi; bin has the committed ones" >&2
fi

if [ "$commit" = yes ]; then
	for source in wat/*.wat c/*.c; do
		name=$(basename "$source")
		cp "bin/${name%.*}.wasm" "$small/"
	done
fi
