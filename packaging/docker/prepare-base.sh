#!/bin/sh
# What both images add to their base, as root: the programs that deploys need, and the user that the worker runs as.
set -eu

apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/debconf/*-old \
    /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# Group 0 owns what the worker writes to, so `docker run --user 1000:0` can write there too.
echo 'runqy-worker:x:10001:0:runqy-worker:/app/deployment:/usr/sbin/nologin' >>/etc/passwd
install --directory --owner 10001 --group 0 --mode 0775 /app /app/deployment \
    /run/runqy-worker /run/runqy-worker/worker
ln -s /opt/runqy-worker/bin/runqy-worker /usr/local/bin/runqy-worker
