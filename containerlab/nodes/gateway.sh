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
return_rules() { echo "rule add pref $2 fwmark $2 lookup $2"; }
each_tunnel return_rules | ip -4 -batch - || fail "return rules"
each_tunnel return_rules | ip -6 -batch - || fail "return rules, IPv6"

# When the device itself is down its route is gone: the same POP's other tunnel then, never another POP.
return_tables() {
    for entry in $TUNNELS; do
        dev=${entry%%,*}; vni=${entry#*,}; vni=${vni%%,*}
        for other in $TUNNELS; do
            odev=${other%%,*}; ovni=${other#*,}; ovni=${ovni%%,*}
            [ "${odev%-*}" = "${dev%-*}" ] || continue
            metric=200
            [ "$odev" != "$dev" ] || metric=100
            if [ "$1" = 4 ]; then via="10.200.$ovni.1"; else via="fd00:200:$ovni::1"; fi
            echo "route replace default via $via dev $odev table $vni metric $metric"
        done
    done
}

service_routes() {
    hops=""; prefixes=$SERVICES4
    [ "$1" = 4 ] || prefixes=$SERVICES6
    for backend in $BACKENDS; do
        if [ "$1" = 4 ]; then hops="$hops nexthop via ${backend%%,*}"; else hops="$hops nexthop via ${backend#*,}"; fi
    done
    for prefix in $prefixes; do echo "route replace $prefix$hops"; done
}

routes() { { return_tables "$1"; service_routes "$1"; } | ip -"$1" -force -batch -; }

# Both families, whatever became of the first; true when all is in place.
all_routes() {
    routes 4 2> /dev/null
    done4=$?
    routes 6 2> /dev/null && [ "$done4" = 0 ]
}

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
tries=0
until all_routes; do
    tries=$((tries + 1))
    [ "$tries" -le 600 ] || { routes 4; routes 6; fail "no routes after 60 s"; }
    sleep 0.1
done
ready
after_link_changes all_routes
