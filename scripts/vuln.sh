#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs govulncheck. Its database is on the network: where that cannot be reached
# the check says that it did not run and does not fail.
set -uo pipefail
out=$("$1" ./... 2>&1)
code=$?
echo "$out"
if [ $code -ne 0 ] && grep -qE 'no such host|connection refused|i/o timeout|dial tcp|Forbidden|proxyconnect|Service Unavailable|EOF|certificate|fetching vulnerabilities|vuln\.go\.dev' <<<"$out" && ! grep -q '^Vulnerability #' <<<"$out"; then
	echo "NOT RUN: govulncheck cannot reach the vulnerability database from here"
	exit 0
fi
exit $code
