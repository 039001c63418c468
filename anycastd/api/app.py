"""The HTTP face: over TCP reads, and with a token what changes something; over the unix socket everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import import_module
from ipaddress import ip_address
from socket import socket
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from anycastd.api.door import access, ask
from anycastd.api.door.crowd import HANDSHAKE_S, IDLE_S, Crowd
from anycastd.api.door.faults import FAULTS
from anycastd.api.door.listen import tcp_socket
from anycastd.api.door.local_socket import LocalSocket
from anycastd.api.door.tokens import Door
from anycastd.api.endpoints import breaker, eips, journal, playbooks, regions
from anycastd.api.endpoints import filters as filters_of
from anycastd.api.endpoints import orders as orders_of
from anycastd.api.endpoints.playbooks import Playbooks
from anycastd.api.endpoints.state import READY, VIEWS, View
from anycastd.api.ports import Daemon, Eips, FilterPort, Journal, Orders, Traffic
from anycastd.api.views.explain import explain
from anycastd.api.views.prefixes import find, prefix
from anycastd.api.views.readiness import Condition, conditions
from anycastd.model.status import PrefixView, Status
from anycastd.model.topology import ApiConfig

CLOSE_WITHIN_S = 1.0
MAX_BODY_BYTES = 64 * 1024


class Exposition(Protocol):
    """Who writes the metrics."""

    content_type: str

    async def expose(self, status: Status, ready: Iterable[Condition]) -> bytes:
        """Return every metric as Prometheus reads it; `ready` are the conditions of /readyz."""
        ...


class Server:
    """The running API. `port` is the TCP port really used."""

    def __init__(
        self, runners: list[web.AppRunner], local: LocalSocket, remote: asyncio.Server, history: Journal | None
    ) -> None:
        self._runners, self._local, self._remote, self._history = runners, local, remote, history
        self.port = int(remote.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, give open requests CLOSE_WITHIN_S, and remove the socket file."""
        self._local.close()
        self._remote.close()
        if self._history is not None:
            # who reads events would else be waited for
            self._history.readers.end()
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))


async def serve(
    daemon: Daemon,
    api: ApiConfig,
    metrics: Exposition,
    desk: Eips | None = None,
    traffic: Traffic | None = None,
    door: Door | None = None,
    history: Journal | None = None,
    orders: Orders | None = None,
    fleet: Any = None,
    spread: Playbooks | None = None,
    filters: FilterPort | None = None,
) -> Server:
    """Listen on the configured TCP address and unix socket; ApiUnavailable if either cannot be had.

    Without a `desk` there are no EIPs to ask for, without `traffic` nothing is said of theirs, without `history`
    nothing of the past; without `orders` or `filters` none are taken; without a `fleet` (`api.fleet.Fleet`) there is
    none, without `spread` no playbook. The `door` says who is let in; without one it is made of `api`.
    """
    door = door or Door(api)
    reads = [*_reads(daemon, metrics), *regions.reads(daemon)]
    writes = [web.post("/v1/reload", _reload_with(daemon)), *breaker.writes(daemon)]
    if desk is not None:
        reads += eips.reads(desk, traffic)
        writes += [*eips.writes(desk), *regions.writes(desk)]
    if history is not None:
        reads += journal.reads(history)
    if orders is not None:
        writes += orders_of.writes(orders)
    writes += [_without("/v1/playbooks", "playbooks")] if spread is None else playbooks.routes(spread)
    if filters is not None:
        reads += filters_of.reads(filters)
        writes += filters_of.writes(filters)
    if fleet is not None:
        writes += import_module("anycastd.api.endpoints.fleet").routes(fleet)
    else:
        writes.append(
            _without(
                "/v1/fleet",
                "fleet",
                ": store.kind is embedded (docs/fleet.md). What other POPs announce: anycastd status",
            )
        )
    local = LocalSocket(api.socket, api.group)
    runners, is_whole = list[web.AppRunner](), False
    try:
        listening = tcp_socket(api.host, api.port)
        routes = [*reads, *writes]
        runners.append(await _runner(_app(routes, access.by_peer(door))))
        await local.serve(runners[0])
        crowd = Crowd(journal.STREAMS)
        runners.append(await _runner(_remote(routes, api, door, crowd)))
        remote = await _listening(crowd, runners[1], listening, door)
        is_whole = True
    finally:
        if not is_whole:
            local.close()
            await asyncio.gather(*(runner.cleanup() for runner in runners))
    return Server(runners, local, remote, history)


async def _runner(app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(
        app, access_log=None, logger=FAULTS, handle_signals=False, shutdown_timeout=CLOSE_WITHIN_S,
        keepalive_timeout=IDLE_S,
    )  # fmt: skip
    await runner.setup()
    return runner


async def _listening(crowd: Crowd, runner: web.AppRunner, listening: socket, door: Door) -> asyncio.Server:
    assert runner.server is not None
    made, wait_s = crowd.protocols(runner.server), None if door.tls is None else HANDSHAKE_S
    return await asyncio.get_running_loop().create_server(
        made, sock=listening, ssl=door.tls, ssl_handshake_timeout=wait_s
    )


def _app(routes: list[web.RouteDef], *doors: Middleware) -> web.Application:
    app = web.Application(middlewares=[ask.hasten, *doors, ask.json_errors], client_max_size=MAX_BODY_BYTES)
    app.add_routes(routes)
    return app


def _remote(routes: list[web.RouteDef], api: ApiConfig, door: Door, crowd: Crowd) -> web.Application:
    local = ip_address(api.host).is_loopback
    token = access.by_token(door, local=local, socket_path=api.socket)
    # a page whose name was rebound to us cannot speak TLS with our certificate
    hosts = [] if door.tls is not None else [ask.only_known_hosts(api.host)]
    return _app(routes, crowd.followed, *hosts, token)


async def _status(daemon: Daemon) -> Status:
    """Return the state; what is then made of it is work of another turn of the loop."""
    status = await daemon.status_by_and_by()
    await asyncio.sleep(0)
    return status


def _reads(daemon: Daemon, metrics: Exposition) -> list[web.RouteDef]:
    async def alive(request: web.Request) -> web.Response:
        return ask.unknown_parameter(request, ()) or ask.answer({"alive": True})

    async def ready(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ()):
            return refused
        body = READY.make(await _status(daemon))
        return ask.answer(body, 200 if body["ready"] else 503)

    async def exposition(request: web.Request) -> web.Response:
        status = await _status(daemon)
        body = await metrics.expose(status, conditions(status))
        return web.Response(body=body, headers={"Content-Type": metrics.content_type})

    async def openapi(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ()):
            return refused
        # the shapes of all answers are of no use before somebody asks for them, and to import them holds the loop
        written = await asyncio.to_thread(import_module, "anycastd.api.openapi.document")
        return ask.answer(written.document(daemon.status().version))

    return [
        web.get("/healthz", alive),
        web.get(READY.path, ready),
        web.get("/metrics", exposition),
        web.get("/v1/openapi.json", openapi),
        *(web.get(view.path, _view_of(daemon, view)) for view in VIEWS),
        web.get("/v1/prefixes/{cidr:.+}", _one_prefix(daemon)),
        web.get("/v1/explain", _explain_with(daemon)),
    ]


def _without(path: str, what: str, why: str = "") -> web.RouteDef:
    """Return the route that says that there is none; what a fleet has is imported only where there is one."""

    async def none(request: web.Request) -> web.Response:
        return ask.error(409, f"no_{what}", f"this POP has no {what}{why}")

    return web.route("*", path + "{rest:.*}", none)


def _view_of(daemon: Daemon, view: View) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        return ask.unknown_parameter(request, ()) or await ask.long_answer(view.make(await _status(daemon)))

    return show


def _found(status: Status, text: str) -> PrefixView | web.Response:
    try:
        view = find(status, text)
    except ValueError as error:
        return ask.error(400, "not_a_prefix", f"{error}; {_known(status)}")
    if view is not None:
        return view
    return ask.error(404, "no_such_prefix", f"{text} is not a configured prefix; {_known(status)}")


def _known(status: Status) -> str:
    return f"known: {', '.join(str(configured) for configured in list(status.prefixes)[:10]) or 'none'}"


def _one_prefix(daemon: Daemon) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ()):
            return refused
        status = await _status(daemon)
        found = _found(status, request.match_info["cidr"])
        return found if isinstance(found, web.Response) else ask.answer(prefix(status, found))

    return show


def _explain_with(daemon: Daemon) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ("prefix",)):
            return refused
        if not request.query.get("prefix"):
            return ask.error(400, "missing_parameter", "the query parameter 'prefix' is needed")
        status = await _status(daemon)
        found = _found(status, request.query["prefix"])
        return found if isinstance(found, web.Response) else ask.answer(explain(status, found))

    return show


def _reload_with(daemon: Daemon) -> ask.Answer:
    async def reload(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ("dry_run", "expect_removals", "bake_s", "confirm")):
            return refused
        if request.query.get("confirm") == "true":
            if not daemon.confirm():
                return ask.error(409, "nothing_bakes", "no file is on trial: there is nothing to confirm")
            return ask.answer({"applied": True, "dry_run": False, "changes": ["confirmed"], "problems": []})
        dry_run = request.query.get("dry_run", "false")
        removals = request.query.get("expect_removals")
        if dry_run not in ("true", "false"):
            return ask.error(400, "bad_parameter", f"dry_run is true or false, not {dry_run!r}")
        if removals is not None and not (removals.isascii() and removals.isdigit() and len(removals) < 10):
            return ask.error(400, "bad_parameter", f"expect_removals is a whole number, not {removals!r}")
        bake = request.query.get("bake_s", "0")
        if not (bake.isascii() and bake.isdigit() and len(bake) < 6):
            return ask.error(400, "bad_parameter", f"bake_s is a whole number of seconds, not {bake!r}")
        expected = None if removals is None else int(removals)
        # a client that goes away must not end a reload half way
        outcome = await asyncio.shield(
            daemon.reload(expected_removals=expected, dry_run=dry_run == "true", bake_s=float(bake))
        )
        if outcome.problems:
            message = "the new configuration is refused; the old one stays in force"
            return ask.error(409, "config_refused", message, problems=list(outcome.problems))
        return ask.answer(
            {
                "applied": outcome.applied,
                "dry_run": dry_run == "true",
                "changes": list(outcome.changes),
                "problems": [],
            }
        )

    return reload
