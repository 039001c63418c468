# Shared by the start scripts. Sourced, not run.

say() { echo "$(date +%H:%M:%S.%3N) lab: $*"; }

fail() { say "$*"; exit 1; }

# Containerlab starts a node's command before its links exist, so every start waits for what it needs.
wait_links() {
    for dev in "$@"; do
        tries=0
        until [ -e "/sys/class/net/$dev" ]; do
            tries=$((tries + 1))
            [ "$tries" -le 1200 ] || fail "no $dev after 60 s"
            sleep 0.05
        done
        ip link set "$dev" up
    done
}

# The end of a start: what the topology's healthchecks look for.
ready() { : > /run/lab-ready; say "ready"; }

# Call "$1 DEVICE VNI LOCAL REMOTE" for each word of $TUNNELS.
each_tunnel() {
    for entry in $TUNNELS; do
        # Split "device,vni,local,remote"; none of them holds a space or a wildcard.
        # shellcheck disable=SC2046
        "$1" $(echo "$entry" | tr , ' ')
    done
}

# Call "$1" after every change of a link, for ever: a device that goes down takes its routes with it and does not
# bring them back. Twice, because IPv6 addresses come back a little after their device.
after_link_changes() {
    ip -o monitor link | while read -r _; do
        for pause_s in 0.05 0.3; do
            sleep "$pause_s"
            "$1"
        done
    done
}

# Print the `ip -batch` lines of one tunnel. $SIDE is 1 at a POP and 2 at a region's gateway: the addresses follow.
tunnel_lines() {
    # Without a lower device a vxlan gets MTU 1500, and full packets are then fragmented outside; nolearning: one peer.
    echo "link add $1 type vxlan id $2 local $3 remote $4 dstport 4789 nolearning"
    echo "link set $1 mtu 1450"
    echo "addr add 10.200.$2.$SIDE/30 dev $1"
    echo "addr add fd00:200:$2::$SIDE/64 dev $1 nodad"
    echo "link set $1 up"
}

make_tunnels() {
    each_tunnel tunnel_lines | ip -batch - || fail "tunnels could not be made"
    for entry in $TUNNELS; do
        dev=${entry%%,*}
        # The mark of the way back and the daemon's own routes are asymmetric on purpose; a strict check drops them.
        echo 0 > "/proc/sys/net/ipv4/conf/$dev/rp_filter"
        # Without it a link that goes down and up again comes back without its IPv6 addresses.
        echo 1 > "/proc/sys/net/ipv6/conf/$dev/keep_addr_on_down"
    done
}
