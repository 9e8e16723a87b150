#!/bin/sh
# A cluster on this machine, one task of each kind, and what a warm executor saves. `make demo` builds first and calls it.
# Ends with 1 when something does not do what it says. Without Docker, what needs it is left out, and said so.
set -u
LC_ALL=C # as in tasks
export LC_ALL

cd "$(dirname "$0")/.." || exit 1
saki=${SAKI:-bin/saki}
work=$(mktemp -d)
pid=

cleanup() {
	trap - EXIT INT TERM
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null # it ends its tasks and removes its containers
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

title() { printf '\n== %s\n' "$*"; }
show() { printf '   $ saki %s\n' "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	if [ -s "$work/log" ]; then
		printf 'the end of the cluster log:\n' >&2
		tail -n 15 "$work/log" >&2
	fi
	exit 1
}

# check WHAT GOT WANT prints what came out and fails unless it is what was wanted.
check() {
	printf '%s\n' "$2" | sed 's/^/   /'
	[ "$2" = "$3" ] || fail "$1: wanted: $3"
}

[ -x "$saki" ] || fail "there is no $saki; run: make build"
unset SAKI_CONFIG SAKI_NAMESPACE

title "A cluster: one master, one agent"
show dev
"$saki" dev --addr 127.0.0.1:0 --log-level warn >"$work/ready" 2>"$work/log" &
pid=$!
tries=0
while ! grep -q '^ready ' "$work/ready"; do
	kill -0 "$pid" 2>/dev/null || fail "saki dev has ended"
	tries=$((tries + 1))
	[ "$tries" -le 300 ] || fail "saki dev was not ready within 30 s"
	sleep 0.1
done
SAKI_ADDR=$(sed -n 's/^ready //p' "$work/ready")
export SAKI_ADDR
"$saki" node ls | sed 's/^/   /'

title "A wasm task: hash a text, and compare with sha256sum"
text=wasm-tasks/testdata/story.txt
show "run -i internal/guests/sha256.wasm < $text"
got=$("$saki" run -i internal/guests/sha256.wasm <"$text") || fail "the wasm task"
check "sha256" "$got" "$(sha256sum <"$text")"

title "A shell task: count its words"
show "run -i --shell 'wc -w' < $text"
got=$("$saki" run -i --shell 'wc -w' <"$text") || fail "the shell task"
check "wc -w" "$(echo $got)" "$(echo $(wc -w <"$text"))"

title "A container task"
# The image of the executor is on every daemon that has one: no registry is needed.
image=$("$saki" node inspect a1 -o json | sed -n 's/.*"executor\.image": *"\([^"]*\)".*/\1/p')
if [ -n "$image" ]; then
	show "run --image $image --network none -- /bin/saki version"
	got=$("$saki" run --image "$image" --network none -- /bin/saki version) || fail "the container task"
	check "saki version" "$got" "$("$saki" version)"
	paths=run,container,process,shell
else
	printf '   left out: no Docker daemon answers, so there are no containers here (wasm ran in plain processes)\n'
	paths=run,process,shell
fi

title "What warm saves: the time from asking for a small task to having its result"
show "bench --duration 2s --paths $paths"
"$saki" bench --duration 2s --paths "$paths" >"$work/bench" || fail "the benchmark"
sed 's/^/   /' "$work/bench"
grep -q '^run ' "$work/bench" || fail "the benchmark measured no warm task"

title "The end: the cluster stops and removes what it made"
kill "$pid"
wait "$pid" || fail "saki dev did not end well"
pid=
printf '   ok\n'
