"""What every alarm means and what to do about it: part of docs/reasons.md, see reasons.py."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.status import Alarm
from anycastd.telemetry.meaning import Meaning

ALARMS: Mapping[Alarm, Meaning] = {
    Alarm.UNWANTED_ROUTES: Meaning(
        "ExaBGP sends a route that is not wanted, and it does not go away.",
        "Somebody else feeds this ExaBGP, or a withdrawal is refused: `/v1/neighbors`, `command_refused`.",
    ),
    Alarm.SPEAKER_ABSENT: Meaning(
        "No ExaBGP is connected or it is not ready: neighbors with graceful restart keep our routes for its time only.",
        "systemctl status anycastd-bgp; is port 179 taken by another router?",
    ),
    Alarm.SPEAKER_WEDGED: Meaning(
        "ExaBGP has not answered a command for too long; it is being replaced.", "Keep its log if it comes again."
    ),
    Alarm.SPEAKER_ONE_USER: Meaning(
        "ExaBGP runs as the daemon's own user, so that a fault in one reaches the other.",
        "Run it as the user `exabgp` (see docs/exabgp.md).",
    ),
    Alarm.SPEAKER_DEGRADED: Meaning(
        "ExaBGP runs, and something about it is not as it should be: its version is not the one that is installed, or "
        "was never tried; a neighbor takes no flow rules; its files cannot be written.",
        "The detail says what, and where it helps the command.",
    ),
    Alarm.COMMAND_REFUSED: Meaning(
        "ExaBGP refused a command; the same is tried again only when something changed.",
        "The detail has ExaBGP's own words. Most often an attribute of `export` that it does not take.",
    ),
    Alarm.EXPORT_REFUSED: Meaning(
        "A route was to be sent that the export allow-list does not let out (the detail says which rule). It does not "
        "leave; nothing else is held up.",
        "A mistake of the program: report it with the log line `export_refused`. While frozen it can be a prefix that "
        "was taken out of the file: `anycastd unfreeze`.",
    ),
    Alarm.KERNEL_REFUSED: Meaning(
        "The kernel refused a route or rule of ours.", "The detail has the errno: permission, device or address gone."
    ),
    Alarm.KERNEL_NOT_AS_WANTED: Meaning(
        "Routes or rules of ours are missing in the kernel and do not stay when put there.",
        "Something removes them: systemd-networkd (ManageForeignRoutes), another daemon, a script.",
    ),
    Alarm.CHECK_BROKEN: Meaning(
        "A check cannot be carried out, by our own fault, so that a real fault would not be seen.",
        "The detail says why; the same word stands below probe results.",
    ),
    Alarm.NAME_NOT_RESOLVED: Meaning(
        "The name of a check's target is not resolved. The last good addresses are used as long as `resolver.stale` "
        "says, then its checks are UNKNOWN; the target is never taken for down by it.",
        "Look at the resolvers (`resolver.servers`, /etc/resolv.conf) and at the name: dig NAME, from the POP.",
    ),
    Alarm.CERTIFICATE_EXPIRES: Meaning(
        "A target's certificate ends sooner than its `tls` check's `expires_in` asks for; with `expiring: warn` the "
        "target stays healthy until it has ended.",
        "Renew it; `anycastd_check_certificate_expiry_seconds` has the time for all.",
    ),
    Alarm.CHECKER_SUSPECT: Meaning(
        "Many targets failed together and a self-test target too: this machine is suspected, nothing is withdrawn.",
        "Look at this machine before the targets.",
    ),
    Alarm.CIRCUIT_BREAKER: Meaning(
        "Health wanted to withdraw more prefixes at once than `safety.breaker` allows: the rest stays announced, "
        "depreferenced, until for `quiet` none wants to go any more.",
        "Find the common cause first. Then `anycastd breaker reset` lets as many go again; `safety.breaker` raises the "
        "limit; a forced override or drain passes.",
    ),
    Alarm.SESSION_DOWN: Meaning(
        "A BGP session is not established.",
        "The detail has the last reason; compare address, AS, password and TTL with the neighbor.",
    ),
    Alarm.CONFIG_REFUSED: Meaning(
        "The configuration file has errors and the one loaded before stays in force; or the file of a start lacks many "
        "prefixes that ExaBGP announces, which are kept.",
        "anycastd check -c FILE, correct it, anycastd reload; if it is meant: with the number that the detail says.",
    ),
    Alarm.LOOP_LATE: Meaning(
        "The daemon's event loop was late, so that failures are seen later than they should.",
        "CPU: too many checks for this machine, or it is starved by others.",
    ),
    Alarm.STATE_NOT_SAVED: Meaning(
        "What must outlive a restart (penalties, times) could not be read or written.",
        "Space and permissions of `state_dir`.",
    ),
    Alarm.DEAD_MAN_FIRED: Meaning(
        "The daemon was away longer than `dead_man_after`, and the bridge sent what it had been given for that.",
        "Find out why the daemon was away; the routes follow its decisions again.",
    ),
    Alarm.STAGE_FAILED: Meaning(
        "A part of the daemon ended with an error and was started again; routes stay meanwhile.",
        "The log has the traceback: report it.",
    ),
    Alarm.PREFIX_DARK: Meaning(
        "The prefix should be announced, and no established neighbor has it.",
        "`anycastd explain PREFIX`, lines sent and observed.",
    ),
    Alarm.EFFECT_MISSING: Meaning(
        "The level of a prefix changed, and nothing followed as far as this POP can see (the detail says what was "
        "looked at): the route is not sent, no neighbor is established, or the traffic stayed where it was.",
        "Look at the neighbor's routers: a filter, a local preference that outranks the longer path, a stale route. If "
        "a prepend moves nothing, use the neighbor's own communities (`export.depref_communities`).",
    ),
    Alarm.FILTER_REFUSED: Meaning(
        "The kernel's packet filter refused a change of ours (the detail says which). Everything else goes on.",
        "`nft list table inet anycastd`; is another program at work in it, or the kernel without nftables?",
    ),
    Alarm.FILTER_NOT_AS_WANTED: Meaning(
        "Rules or elements of `table inet anycastd` are not as wanted for longer than a repair takes.",
        "Look for a program that flushes the ruleset again and again: nftables.service, a firewall's reload.",
    ),
    Alarm.ORDERS_UNREAD: Meaning(
        "The file of drains and overrides (`orders.json`) cannot be read. Announcements are frozen at what they are, "
        "so that nothing that was drained comes back by accident. Or the file of blackholes and flow rules "
        "(`filters.json`): then none stands, for what nobody can end must not last.",
        "Mend its permissions or put a copy back; or move it away: then there are none of what it held. After a roll "
        "back it may hold what only the newer release understands: docs/operations.md.",
    ),
    Alarm.STORE_TROUBLE: Meaning(
        "The store of EIPs cannot be read or written, or holds EIPs that the file does not allow (the detail says "
        "which). What is in the kernel goes on; EIPs of the file are kept up to date. While it cannot be read or "
        "written the API can change nothing; a single record that cannot be read is in the way of its own EIP only.",
        "Free the disk, mend the permissions of `state_dir`, or put a copy of `anycastd.db` back.",
    ),
    Alarm.TRAFFIC_NOT_SAVED: Meaning(
        "The points of the traffic meter cannot be written or read. Metering goes on in memory and is written later.",
        "Free the disk, or mend the permissions of `state_dir`. A damaged `traffic.db`: move it away with its `-wal` "
        "and `-shm`, and a new one is begun.",
    ),
    Alarm.ATTACK: Meaning(
        "What comes in for the POP or for an EIP (the subject) is far above usual, or above a level: an attack. The "
        "detail says how much, what is lost, and what the packets look like.",
        "`anycastd attack status`; docs/attack.md says what the POP does by itself, and what you can do.",
    ),
    Alarm.TRAFFIC_ELEVATED: Meaning(
        "More comes in for the POP or for an EIP (the subject) than is usual, not yet an attack; or one that ends.",
        "Watch it: `anycastd attack status`.",
    ),
    Alarm.CONNTRACK_FULL: Meaning(
        "The kernel's table of tracked connections is nearly full, or had no room for a new connection: new "
        "connections to EIPs are then lost.",
        "Raise `eip.conntrack_max`; `tracking: stateless` for an EIP under attack (docs/eips.md#stateless).",
    ),
    Alarm.CONNTRACK_SIZE: Meaning(
        "Connection tracking is not as `eip.conntrack_max` and `eip.conntrack_liberal` want it (the subject is the "
        "sysctl). Its size is that of the whole machine and can be set in the initial network namespace only, never "
        "below the number of connections that are tracked.",
        "Run the `sysctl` that the detail names on the host, and write it to /etc/sysctl.d/; or leave "
        "`eip.conntrack_max` out.",
    ),
    Alarm.TUNNEL_DEVICE: Meaning(
        "A tunnel's device is not as configured: it could not be made, is another's, or its MTU does not fit.",
        "The detail says what and why; `ip -d link show DEVICE`, docs/tunnels.md.",
    ),
    Alarm.SHAPING_REFUSED: Meaning(
        "EIPs with `shaping: htb` are not shaped on a device to the clients: what leaves by it has no limit, or an "
        "earlier one.",
        "The detail says why; `tc qdisc show dev DEVICE`, docs/eips.md. Until then `--shaping police` limits the EIP.",
    ),
    Alarm.EIP_FAIL_OPEN: Meaning(
        "No backend of these EIPs is usable anywhere: their packets go to the least bad one.",
        "`anycastd eip show EIP` names it; `anycastd status` the checks that fail.",
    ),
    Alarm.EIP_NO_PATH: Meaning(
        "No backend of these EIPs is usable and they are bound with `when_unhealthy: drop`, or none of them is in the "
        "file any more: packets are dropped and counted.",
        "`anycastd eip show EIP` names them; `anycastd status` the checks that fail.",
    ),
    Alarm.JOURNAL_TROUBLE: Meaning(
        "The journal cannot be written, or a damaged one was set aside (the detail says which). Nothing else waits for "
        "it: decisions are made as ever. Entries wait in memory up to `journal.max_waiting`; more are lost, and an "
        "entry `gap` says how many.",
        "Free the disk, or mend the permissions of `state_dir`. Look at a file that was set aside (`anycastd events "
        "--file FILE`), then remove it. A file of a newer release is left as it is: move it away, or run that release.",
    ),
    Alarm.FLEET_BUDGET: Meaning(
        "The POP's drain stays at DEPREF: the fleet's budget (`store.budget_percent`) lets no other POP leave now, or "
        "the fleet's store cannot be asked. The detail says which.",
        "`anycastd fleet status` shows who is away. Wait, `undrain pop`, or drain with `--force` and a reason.",
    ),
    Alarm.PLAYBOOK_WAITS: Meaning(
        "The condition of a playbook holds, and its next step waits: for an operator's word, for room that is known "
        "elsewhere, or because there is none left.",
        "`anycastd attack playbook list`; `anycastd attack playbook run NAME` takes a step that is proposed.",
    ),
    Alarm.BFD_PROCESS: Meaning(
        "The process that speaks BFD ended, stood still or cannot be had. What is not told is UNKNOWN, never down; "
        "another one is started and goes on with the sessions. The alarm stands for 10 s after it is well again.",
        "The detail says how. With `bfd.launch: service`: systemctl status anycastd-bfd.",
    ),
    Alarm.OBSERVERS_BLIND: Meaning(
        "No observer is established: no other POP can be seen, so no prefix leaves because of health. After "
        "`fleet.blind` what was withdrawn comes back, depreferenced.",
        "Look at the sessions with `role: observer`, and at the ways to them.",
    ),
    Alarm.BEACON_UNREADABLE: Meaning(
        "A beacon cannot be read: its communities were stripped, added to or changed on the way, or are of another "
        "release. The POP is not counted by it.",
        "Let large communities pass on the observer; the detail says by whom it came and what is wrong.",
    ),
    Alarm.BEACON_REFUSED: Meaning(
        "A beacon cannot be of the POP whose address it has: a foreign AS announced it, a reflector had it from "
        "another router than `fleet.pops.NAME.router_id`, or it is not signed with the fleet's key (`fleet.key_file`). "
        "It is not believed.",
        "Find who announces it (the detail names the AS or router); filter the beacon networks where routes enter. "
        "While a key is given to one POP after another: `fleet.accept_unsigned: true`.",
    ),
    Alarm.BEACON_REPLAYED: Meaning(
        "A beacon came again that its POP said long ago (six heartbeats or more): somebody kept it, or a store was "
        "brought back from an older snapshot. It changes nothing: what was heard since stays.",
        "Find who announces it: the observers' logs. An observer that was cut off from the POP for long may, once.",
    ),
    Alarm.POP_TWICE: Meaning(
        "Two POPs send beacons with one number: neither is counted.", "Give each POP its own number, in all files."
    ),
    Alarm.OWN_NUMBER_TAKEN: Meaning(
        "Another POP sends beacons with this POP's number: nobody is counted, so nothing leaves.",
        "Give each POP its own number; a machine copied from another one needs a new one.",
    ),
    Alarm.UNKNOWN_POP: Meaning(
        "A beacon of a number that this file does not name: it is not counted.", "Add the POP to `fleet`, in all files."
    ),
    Alarm.NAME_SHARED: Meaning(
        "Two prefixes have the same short name in beacons: nobody is counted for them.",
        "Use another prefix length for one of them.",
    ),
    Alarm.PROBE_WORKER: Meaning(
        "A probe worker (`probes.workers`) is away, or was within the last minute: it ended or says nothing. "
        "Its checks become UNKNOWN, which changes no announcement; another worker is started.",
        "The detail has how it ended. Was it killed for memory? Has the machine CPU enough for it?",
    ),
    Alarm.KERNEL_EVENTS: Meaning(
        "The socket by which the kernel tells of devices, addresses, routes and rules was lost within the last minute: "
        "too much changed at once, or it told nothing. It was opened anew and everything read again; no announcement "
        "changes by that.",
        "Once: nothing. Again and again: what changes so much? `ip monitor all`; is the daemon starved of CPU?",
    ),
    Alarm.FILTER_ENDS: Meaning(
        "A blackhole or flow rule ends within `attack.filter.warn_before`, and with it what it keeps away.",
        "Is the attack over? If not, set it again: that extends it. `anycastd attack filters`.",
    ),
}
