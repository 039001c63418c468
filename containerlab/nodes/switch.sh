#!/bin/sh
# A piece of wire with many ends: every link of the node ($LINKS of them: eth1..ethN) in one bridge.
. /lab/lib.sh
ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 || fail "no bridge"
ip link set br0 up
n=1
while [ "$n" -le "$LINKS" ]; do
    wait_links "eth$n"
    ip link set "eth$n" master br0
    n=$((n + 1))
done
ready
exec sleep infinity
