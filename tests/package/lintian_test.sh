#!/bin/sh
# lintian has nothing to say about the package that has no reason in packaging/debian/lintian-overrides.
set -eu
cd "$(dirname "$0")/../.."
exec lintian --allow-root --display-info --fail-on error,warning,info build/release/redis-consul-bridge_*.deb
