#!/bin/sh
# The gateway of a region: tunnels from all POPs on one side, backends on the other.
#   TUNNELS   "device,vni,local,remote ..."   one vxlan for each POP and underlay; devices are called POP-UNDERLAY
#   BACKENDS  "ipv4,ipv6 ..."                 next hops of the service prefixes
#   SERVICES4, SERVICES6                      the service prefixes
. /lab/lib.sh
SIDE=2
wait_links eth1 eth2
make_tunnels

# Answers go back through the tunnel that last brought a packet of the connection: mark = table = vni.
return_table() {
    echo "rule add pref $2 fwmark $2 lookup $2"
    echo "route add default via $3 dev $1 table $2 metric 100"
    # When the device itself is down its route is gone: the same POP's other tunnel, never another POP.
    echo "route add default via $5 dev $4 table $2 metric 200"
}
return_tables() {
    family=$1
    for entry in $TUNNELS; do
        dev=${entry%%,*}; vni=${entry#*,}; vni=${vni%%,*}
        for other in $TUNNELS; do
            odev=${other%%,*}; ovni=${other#*,}; ovni=${ovni%%,*}
            [ "${odev%-*}" = "${dev%-*}" ] && [ "$odev" != "$dev" ] || continue
            if [ "$family" = 4 ]; then return_table "$dev" "$vni" "10.200.$vni.1" "$odev" "10.200.$ovni.1"
            else return_table "$dev" "$vni" "fd00:200:$vni::1" "$odev" "fd00:200:$ovni::1"; fi
        done
    done
}
return_tables 4 | ip -4 -batch - || fail "return tables"
return_tables 6 | ip -6 -batch - || fail "return tables, IPv6"

marks=""
for entry in $TUNNELS; do
    dev=${entry%%,*}; vni=${entry#*,}; vni=${vni%%,*}
    marks="$marks${marks:+, }\"$dev\" : $vni"
done
nft -f - <<N || fail "nftables"
table inet lab_return {
    map mark_of { type ifname : mark; elements = { $marks } }
    chain in {
        type filter hook prerouting priority mangle; policy accept;
        ct mark set iifname map @mark_of accept
        ct mark != 0 meta mark set ct mark
    }
    chain forward {
        type filter hook forward priority mangle; policy accept;
        tcp flags & (syn | rst) == syn tcp option maxseg size > 1390 tcp option maxseg size set 1390
    }
    chain out {
        # vxlan routes its outer packet by the mark of the inner one: with the mark left on, it would loop.
        type filter hook postrouting priority 200; policy accept;
        meta mark set 0
    }
}
N

# The backends' links may come up after the tunnels.
nexthops4=""; nexthops6=""
for backend in $BACKENDS; do
    nexthops4="$nexthops4 nexthop via ${backend%%,*}"
    nexthops6="$nexthops6 nexthop via ${backend#*,}"
    tries=0
    until ip -4 route get "${backend%%,*}" fibmatch 2>/dev/null | grep -q link &&
        ip -6 route get "${backend#*,}" fibmatch 2>/dev/null | grep -q kernel; do
        tries=$((tries + 1))
        [ "$tries" -le 1200 ] || fail "no link to $backend after 60 s"
        sleep 0.05
    done
done
for prefix in $SERVICES4; do
    # shellcheck disable=SC2086
    ip -4 route replace "$prefix" $nexthops4 || fail "route $prefix"
done
for prefix in $SERVICES6; do
    # shellcheck disable=SC2086
    ip -6 route replace "$prefix" $nexthops6 || fail "route $prefix"
done
ready
exec sleep infinity
