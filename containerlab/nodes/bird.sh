#!/bin/sh
# A transit router with BIRD; its configuration is bound to /etc/bird/bird.conf.
. /lab/lib.sh
wait_links eth1 eth2
mkdir -p /run/bird
bird -p -c /etc/bird/bird.conf || fail "the configuration is wrong"
bird -c /etc/bird/bird.conf || fail "bird did not start"
ready
exec sleep infinity
