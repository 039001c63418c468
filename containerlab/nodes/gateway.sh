#!/bin/sh
# The gateway of a region: tunnels from all POPs on one side, backends on the other; `anycastd gateway` does the rest.
#   TUNNELS   "device,vni,local,remote ..."   one vxlan for each POP and underlay; devices are called POP-UNDERLAY
#   BACKENDS  "ipv4,ipv6 ..."                 next hops of the routed prefixes
#   SERVICES4, SERVICES6                      prefixes that are routed to the backends, unchanged
. /lab/lib.sh
SIDE=2
wait_links eth1 eth2
make_tunnels

# Print its configuration: answers go back by the tunnel that last brought a packet of the connection.
tunnel_entry() {
    echo "  $1: {device: $1, pop: ${1%-*}, far_end: 10.200.$2.1, far_end6: \"fd00:200:$2::1\"}"
}
service_entries() {
    hops=""
    for backend in $BACKENDS; do
        if [ "$1" = 4 ]; then hop=${backend%%,*}; else hop=${backend#*,}; fi
        hops="$hops${hops:+, }\"$hop\""
    done
    shift
    for prefix in "$@"; do echo "  \"$prefix\": [$hops]"; done
}
mkdir -p /etc/anycastd
{
    echo "tunnels:"
    each_tunnel tunnel_entry
    # A key without a value is refused. Lists of prefixes, without a space or a wildcard inside.
    # shellcheck disable=SC2086
    [ -z "$SERVICES4$SERVICES6" ] || { echo "routes:"; service_entries 4 $SERVICES4; service_entries 6 $SERVICES6; }
    echo "mss: {ipv4: 1410, ipv6: 1390}"
} > /etc/anycastd/gateway.yaml

# Installed in the image, or the checkout that the topology binds.
for command in "$(command -v anycastd)" /opt/anycastd/.venv/bin/anycastd; do
    [ -x "$command" ] && break
    command=""
done
[ -n "$command" ] || fail "no anycastd here"
# The backends' links may come up after the tunnels: it is ready when all is in place.
exec "$command" gateway apply --watch --ready /run/lab-ready
