#!/bin/sh
# A transit router with FRR; its configuration is bound to /etc/frr/frr.conf.
. /lab/lib.sh
wait_links eth1 eth2
mkdir -p /run/frr /var/log/frr /var/tmp/frr
chown frr:frr /run/frr /var/log/frr /var/tmp/frr
: > /etc/frr/vtysh.conf
for daemon in zebra bgpd; do
    "/usr/lib/frr/$daemon" -d -A 127.0.0.1 || fail "$daemon did not start"
done
vtysh -b || fail "the configuration was not taken"
ready
exec sleep infinity
