"""Checks of our own needs: privileges, ExaBGP, its user, files and directories. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.actuators.exabgp.versions import is_proven, version_of
from anycastd.doctor.facts import Facts, Program, Step, User, allowed
from anycastd.doctor.finding import Check, Trouble, error, warning
from anycastd.model.topology import Launch

CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW = 10, 12, 13
UNIT_OF = {"bgpd": "frr", "gobgpd": "gobgpd", "bird": "bird"}
SMALLEST_FREE_BYTES = 100 << 20
NO_FREE_BYTES = 1 << 20
SMALLEST_FREE_INODES = 1000


def _has(facts: Facts, capability: int) -> bool:
    return bool(facts.capabilities >> capability & 1)


def _privileges(facts: Facts) -> Iterator[Trouble]:
    if not _has(facts, CAP_NET_ADMIN):
        mend = "systemctl edit anycastd   # User=root, or AmbientCapabilities=CAP_NET_ADMIN"
        yield error(f"uid {facts.uid} without CAP_NET_ADMIN (of the user that ran the doctor)", mend)
    lowest = facts.sysctl("net/ipv4/ip_unprivileged_port_start")
    bgp = facts.config.bgp
    may_bind = facts.uid == 0 or _has(facts, CAP_NET_BIND_SERVICE) or (lowest is not None and bgp.port >= lowest)
    if bgp.listen and not may_bind and bgp.launch is Launch.DAEMON:
        mend = "systemctl edit anycastd   # AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
        yield warning(f"uid {facts.uid} may not listen on port {bgp.port}: ExaBGP, which runs as it, only dials", mend)


def _ping_sockets(facts: Facts) -> Iterator[Trouble]:
    value = facts.sysctls.get("net/ipv4/ping_group_range")
    mend = "sysctl -w net.ipv4.ping_group_range='0 2147483647'"
    low, high = (int(part) for part in value.split()) if value and len(value.split()) == 2 else (1, 0)
    if any(low <= group <= high for group in facts.groups):
        return
    told = " ".join(value.split()) if value else "not there"
    if _has(facts, CAP_NET_RAW):
        yield warning(f"net.ipv4.ping_group_range is {told}: ICMP checks need CAP_NET_RAW (there is: raw sockets "
                      "see every echo reply of the machine, which costs more)", mend)  # fmt: skip
    else:
        yield error(f"net.ipv4.ping_group_range is {told} and there is no CAP_NET_RAW: no ICMP check can run", mend)


def _bgp_port(facts: Facts) -> Iterator[Trouble]:
    if not facts.config.bgp.listen:
        return
    for listener in facts.listeners:
        if not listener.ours:
            who = listener.process or "another program"
            unit = UNIT_OF.get(listener.process, listener.process or "PROGRAM")
            # the router may carry all there is: what ends it never comes first
            mend = f"bgp: {{listen: false}}   # or, where nothing needs it: systemctl disable --now {unit}"
            yield warning(f"{who} listens on {listener.address} port {facts.config.bgp.port}", mend)


def _exabgp_version(facts: Facts) -> Iterator[Trouble]:
    mend = "pip install 'exabgp>=5.0.13,<6'   # beside anycastd, or name another one: bgp: {exabgp: PATH}"
    if not version_of(facts.exabgp_version):
        yield error("exabgp does not tell its version", mend)
    elif not is_proven(facts.exabgp_version):
        yield error(f"exabgp is {facts.exabgp_version}", mend)


def _bgp_user(facts: Facts) -> Iterator[Trouble]:
    user = facts.config.bgp.user
    is_service = facts.config.bgp.launch is Launch.SERVICE
    if (facts.uid == 0 or is_service) and facts.bgp_user is None:
        mend = f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}"
        if is_service:
            yield error(f"there is no user {user}: anycastd-bgp.service cannot start", "systemd-sysusers anycastd.conf")
            return
        yield warning(f"there is no user {user}: ExaBGP runs as the daemon does", mend)


def _barred(program: Program, user: User) -> Step | None:
    for step in program.steps:
        if not allowed(step, user, 1 if step.directory else 5):
            return step
    return None


def _programs(facts: Facts) -> Iterator[Trouble]:
    apart = facts.uid == 0 or facts.config.bgp.launch is Launch.SERVICE
    user = facts.bgp_user if apart else User(f"uid {facts.uid}", facts.uid, facts.groups)
    for program in facts.programs:
        if program.missing:
            mend = "pip install 'exabgp>=5.0.13,<6'   # or set bgp: {exabgp: PATH}"
            yield error(f"{program.path} cannot be found: {program.missing}", mend)
            continue
        step = _barred(program, user) if user is not None else None
        if step is not None and user is not None:
            verb, bits = ("pass", "x") if step.directory else ("run", "rx")
            what = f"{user.name} cannot {verb} {step.path} (mode {step.mode:04o}) on the way to {program.path}"
            yield error(what, f"chmod o+{bits} {step.path}   # or install below /opt or /usr/local")


def _secrets(facts: Facts) -> Iterator[Trouble]:
    for secret in facts.secrets:
        if secret.mode is None:
            yield error(f"{secret.path} cannot be looked at", f"ls -l {secret.path}")
        elif secret.mode & 0o137:
            yield error(f"{secret.path} has mode {secret.mode:04o}: others can read or change it",
                        f"chmod 600 {secret.path}   # or 640, the daemon's group; then change it")  # fmt: skip
        elif not secret.readable:
            yield error(f"{secret.path} cannot be read by uid {facts.uid}", f"chown {facts.uid} {secret.path}")
        elif secret.uid not in (0, facts.uid, *([facts.daemon_user.uid] if facts.daemon_user else [])):
            yield warning(f"{secret.path} belongs to uid {secret.uid}, who can change it",
                          f"chown {facts.uid} {secret.path}")  # fmt: skip


def _state_dir(facts: Facts) -> Iterator[Trouble]:
    state = facts.state_dir
    if state is None:
        return
    if not state.writable:
        mend = f"install -d -m 0750 {state.path}   # owned by the daemon's user"
        yield error(f"{state.path} {'is not writable' if state.exists else 'cannot be made'}", mend)
    if state.free_bytes < SMALLEST_FREE_BYTES:
        judge = error if state.free_bytes < NO_FREE_BYTES else warning
        yield judge(
            f"{state.path} has {state.free_bytes >> 20} MiB left", f"df -h {state.path}; journalctl --vacuum-size=200M"
        )
    if state.free_inodes is not None and state.free_inodes < SMALLEST_FREE_INODES:
        yield warning(f"{state.path} has {state.free_inodes} inodes left", f"df -i {state.path}")


def _unexamined(facts: Facts) -> Iterator[Trouble]:
    for what in facts.unexamined:
        yield warning(f"not looked at: {what}", "sudo anycastd doctor   # with iproute2 and nftables installed")


OURSELVES = (
    Check("privileges", "The right to change routes",
          "Without CAP_NET_ADMIN no route or rule can be made, so no prefix is ever announced. ExaBGP runs as the "
          "daemon does unless that is root; to listen on port 179 it needs CAP_NET_BIND_SERVICE.",
          "Root, or `AmbientCapabilities=CAP_NET_ADMIN` in the unit. The doctor judges the user that runs it.",
          _privileges),
    Check("ping-sockets", "Sockets for ICMP checks",
          "ICMP checks use ping sockets, which net.ipv4.ping_group_range opens to groups, or raw sockets, which need "
          "CAP_NET_RAW. With neither, every ICMP check is broken and the health of what it checks unknown.",
          "`sysctl -w net.ipv4.ping_group_range='0 2147483647'` (it rules IPv6, too).", _ping_sockets),
    Check("bgp-port", "Another BGP speaker on the port",
          "With FRR, BIRD or another on the port ExaBGP only dials: a neighbor that is passive never gets a session. "
          "And two speakers may open sessions to the same neighbor.",
          "`bgp: {listen: false}`, and the other as our neighbor (docs/operations.md, Beside FRR or BIRD); or bind it "
          "to another address; or, where nothing needs it, end it.", _bgp_port),
    Check("exabgp-version", "Version of ExaBGP",
          "What the daemon reads back of ExaBGP was proven with 5.0.13 and later 5.x. Others word their answers "
          "differently: announcements could not be verified.",
          "`pip install 'exabgp>=5.0.13,<6'`.", _exabgp_version),
    Check("bgp-user", "The user of ExaBGP",
          "ExaBGP talks to strangers and should have no right but port 179. Without the user it runs with the "
          "rights of the daemon. Looked at only for a daemon that runs as root.",
          "`useradd --system --no-create-home --shell /usr/sbin/nologin exabgp`.", _bgp_user),
    Check("exabgp-reachable", "ExaBGP and its interpreter can be run by its user",
          "A virtual environment below a home directory of mode 0700 cannot be entered by another user: ExaBGP would "
          "not start. Judged by modes and owners; access control lists are not looked at.",
          "Install below /opt or /usr/local, or open the directories that are named.", _programs),
    Check("password-files", "Files of secrets",
          "Who can read a TCP MD5 password can forge or reset the session; who can read a token, TLS or WireGuard key "
          "can be the operator, the API or the tunnel.",
          "`chmod 600 FILE`, or 640 with the daemon's group; owned by root or the daemon's user.", _secrets),
    Check("state-dir", "State directory",
          "Back-off, penalties and times outlive a restart there. When it cannot be written, a restarted daemon "
          "forgets how often a prefix has changed.",
          "`install -d -m 0750 /var/lib/anycastd`, and room on the disk.", _state_dir),
    Check("unexamined", "What could not be looked at",
          "An answer that was not had is not an answer that all is well.",
          "Run the doctor as root, with iproute2 and nftables installed.", _unexamined),
)  # fmt: skip
