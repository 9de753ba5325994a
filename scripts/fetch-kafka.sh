#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fetches Apache Kafka from Maven Central for the tests: the broker, its
# command-line tools and what they need, as jars in a folder that Java runs
# directly. Prints the folder. Does nothing when it is there already.
#
#   scripts/fetch-kafka.sh            the version the tests use
#   scripts/fetch-kafka.sh 3.9.1      another version, beside it
#
# Needs Maven, and Java 17 or newer to run what it fetches; where it may, it
# installs them from Debian's packages. The folder is .cache/kafka in the
# repository, or $XDG_CACHE_HOME/millrace/kafka if that is set.
set -eu

version=${1:-4.2.1}
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${XDG_CACHE_HOME:-}" ]; then
	cache=$XDG_CACHE_HOME/millrace/kafka
else
	cache=$root/.cache/kafka
fi
jars=$cache/$version

install() { # install PROGRAM PACKAGE
	command -v "$1" >/dev/null && return
	if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
		apt-get update >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2" >&2
		return
	fi
	echo "fetch-kafka: $1 is missing: install it (Debian: apt-get install $2), then run this again" >&2
	exit 1
}

install java default-jre-headless
if [ -e "$jars/complete" ]; then
	echo "$jars"
	exit 0
fi
install mvn maven

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mkdir -p "$cache"
rm -rf "$jars"
mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies \
	-DincludeScope=runtime -DoutputDirectory="$jars" >&2
touch "$jars/complete"
echo "$jars"
