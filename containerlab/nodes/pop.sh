#!/bin/sh
# A POP: tunnels to the regions, then `anycastd run` under a supervisor that restarts it after 1 s, as systemd would.
#   TUNNELS   "device,vni,local,remote ..."   devices are called REGION-UNDERLAY
#   GATEWAY4, GATEWAY6                        the transit router
# For tests: /run/anycastd.pid is the daemon, /run/supervisor.log has its starts and ends with their exit codes, and
# while /run/no-restart exists an ended daemon is not started again.
. /lab/lib.sh
SIDE=1
wait_links eth1 eth2 eth3
make_tunnels

default_routes() {
    ip -4 route replace default via "$GATEWAY4" dev eth1 2> /dev/null
    done4=$?
    ip -6 route replace default via "$GATEWAY6" dev eth1 2> /dev/null && [ "$done4" = 0 ]
}
tries=0
until default_routes; do
    tries=$((tries + 1))
    [ "$tries" -le 600 ] || fail "no way to $GATEWAY6 after 60 s"
    sleep 0.1
done
after_link_changes default_routes &

id exabgp > /dev/null 2>&1 ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin exabgp ||
    fail "user exabgp could not be made"
mkdir -p /run/anycastd /var/lib/anycastd /etc/anycastd/secrets
install -m 0600 /lab/secrets/transit /etc/anycastd/secrets/transit
ready

# Installed in the image, or the checkout that the topology binds.
for command in "$(command -v anycastd)" /opt/anycastd/.venv/bin/anycastd; do
    [ -x "$command" ] && "$command" run --help > /dev/null 2>&1 && break
    command=""
done
if [ -z "$command" ]; then
    say "no anycastd here: interfaces only"
    exec sleep infinity
fi

record() { say "$*" | tee -a /run/supervisor.log; }

leave() {
    record "supervisor told to stop"
    kill -TERM "$child" 2>/dev/null
    wait "$child"
    exit $?
}
child=""
trap leave TERM INT
while :; do
    "$command" run -c /etc/anycastd/anycastd.yaml &
    child=$!
    echo "$child" > /run/anycastd.pid
    record "anycastd started pid=$child"
    wait "$child"
    record "anycastd ended pid=$child exit=$?"
    rm -f /run/anycastd.pid
    sleep 1
    while [ -e /run/no-restart ]; do sleep 0.1; done
done
