#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes sure that the Redis server that the tests start themselves is there
# (7.0 or newer, or Valkey under the name redis-server). It is not started here.
set -eu

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	redis-server --version
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	apt-get update
	# RUNLEVEL keeps the package from starting a server of its own.
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server
	redis-server --version
	exit 0
fi
cat >&2 <<'HELP'
redis-server is not installed. Install Redis 7.0 or newer:
  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install redis (or valkey-compat-redis)
  macOS            brew install redis
HELP
exit 1
