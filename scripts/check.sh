#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every check of the project, in the order in which failures are cheapest to
# find. What cannot run is an error in CI and is named at the end elsewhere.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=() ; missing=()
began=$SECONDS
step() { # step NAME COMMAND…
	local name=$1 start=$SECONDS; shift
	echo "=== $name"
	if "$@"; then echo "--- ok: $name ($((SECONDS - start)) s)"; else failed+=("$name"); echo "--- FAILED: $name ($((SECONDS - start)) s)"; fi
}
beside() { # beside COMMAND…: begin what mostly waits; collect waits for its end
	log=$(mktemp)
	"$@" >"$log" 2>&1 &
	begun=$!
}
collect() {
	local code=0
	wait "$begun" || code=$?
	cat "$log" && rm -f "$log"
	return "$code"
}
need() { # need NAME COMMAND…: something that the tests want
	local name=$1; shift
	"$@" || { missing+=("$name"); [ -z "${CI:-}" ] || failed+=("set-up of $name"); }
}

need tools make -s tools
for fetch in scripts/fetch-*.sh; do
	[ -e "$fetch" ] && need "$(basename "$fetch" .sh | sed 's/fetch-//')" "$fetch"
done

# All but the race detector does without cgo and without paths in what it builds, as
# the tests of the documentation do, so that packages are compiled once.
export CGO_ENABLED=0 GOFLAGS=-trimpath
step "lint" make -s lint
step "build" go build ./...
# These run programs that they build, which the race detector would not watch.
beside go test -count=1 -timeout 15m ./internal/test/docs ./internal/test/outside
# Four packages at once on two cores: some mostly wait for their servers.
step "tests" env CGO_ENABLED=1 go test -race -p 4 -timeout 12m $(go list ./... | grep -v /internal/test/ ; go list ./internal/test/servers/... ./internal/test/ledger)
step "documentation" collect
step "allocations and hostile values" go test -count=1 -timeout 5m -run 'Allocat|Hostile' . ./text/...
step "quality" go test -count=1 -timeout 5m ./internal/eval -run TestQuality -v
beside go test -count=1 -timeout 10m ./internal/test/crash -run Outage -parallel 4
step "parity" go test -count=1 -timeout 10m ./internal/test/parity
step "crash" go test -count=1 -timeout 5m ./internal/test/crash -skip 'OnRedis|OnKafka|Outage'
step "crash on Redis" go test -count=1 -timeout 5m ./internal/test/crash -run OnRedis
step "crash on Kafka" go test -count=1 -timeout 10m ./internal/test/crash -run OnKafka
step "outages" collect
step "vulnerabilities" make -s vuln

echo
[ ${#missing[@]} -eq 0 ] || printf 'NOT RUN: what needs %s, which is not here (see above)\n' "${missing[@]}"
if [ ${#failed[@]} -gt 0 ]; then
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
fi
echo "all checks passed in $((SECONDS - began)) s"
