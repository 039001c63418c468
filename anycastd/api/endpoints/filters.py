"""The endpoints of blackholes and flow rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.endpoints import asked, bodies
from anycastd.api.endpoints.orders import owner_of
from anycastd.api.ports import FilterPort, FilterRequest
from anycastd.api.shapes.filters import BlackholeBody, FilterBody, FlowBody, MatchShape
from anycastd.api.views import filters as views
from anycastd.config.near import did_you_mean
from anycastd.model.filters import FilterKind
from anycastd.model.flow import PROTOCOLS, TCP_FLAGS, FlowMatch, Ranges
from anycastd.resources.filters import FilterCommand, Release
from anycastd.resources.refusal import Code, Refused, refused

B = TypeVar("B", bound=FilterBody)
_PATHS = {FilterKind.BLACKHOLE: "/v1/blackholes", FilterKind.FLOW: "/v1/flowspec"}


def reads(desk: FilterPort) -> list[web.RouteDef]:
    """Return the routes that change nothing."""

    async def blackholes(request: web.Request) -> web.Response:
        return ask.unknown_parameter(request, ()) or ask.answer(views.blackholes(desk))

    async def rules(request: web.Request) -> web.Response:
        return ask.unknown_parameter(request, ()) or ask.answer(views.rules(desk))

    async def proposals(request: web.Request) -> web.Response:
        eip = asked.parameter(request, "eip", ip_address)
        if eip is None:
            return ask.error(400, "missing_parameter", "the query parameter 'eip' is needed")
        return ask.answer(views.proposals(desk, eip))

    return [
        web.get(_PATHS[FilterKind.BLACKHOLE], blackholes),
        web.get(_PATHS[FilterKind.FLOW], rules),
        web.get(f"{_PATHS[FilterKind.FLOW]}/proposals", asked.understood(proposals, "eip")),
    ]


def writes(desk: FilterPort) -> list[web.RouteDef]:
    """Return the routes that change something."""
    made = (_set(desk, BlackholeBody, _blackhole), _set(desk, FlowBody, _flow))
    return [
        *(web.post(path, set_) for path, set_ in zip(_PATHS.values(), made, strict=True)),
        *(web.delete(f"{path}/{{id}}", _release(desk, kind)) for kind, path in _PATHS.items()),
    ]


def _blackhole(body: BlackholeBody, owner: str) -> FilterCommand:
    return FilterCommand(
        owner=owner,
        reason=body.reason,
        ttl_s=body.ttl_s,
        neighbors=tuple(body.neighbors),
        address=ip_address(body.address),
    )


def _flow(body: FlowBody, owner: str) -> FilterCommand:
    return FilterCommand(
        owner=owner,
        reason=body.reason,
        ttl_s=body.ttl_s,
        neighbors=tuple(body.neighbors),
        match=match_of(body.match),
        rate_bytes_s=-(-body.rate_bps // 8),
    )


def match_of(body: MatchShape) -> FlowMatch:
    """Return the packets that are meant; ValueError says what is not understood."""
    return FlowMatch(
        destination=ip_network(body.destination),
        source=None if body.source is None else ip_network(body.source),
        protocols=tuple(sorted({_protocol(one) for one in body.protocols})),
        destination_ports=_ranges(body.destination_ports),
        source_ports=_ranges(body.source_ports),
        lengths=_ranges(body.lengths),
        tcp_set=_bits(body.tcp_flags_set),
        tcp_unset=_bits(body.tcp_flags_unset),
    )


def _protocol(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    if text not in PROTOCOLS:
        message = f"{text[:16]!r} is neither a number nor one of {', '.join(PROTOCOLS)}{did_you_mean(text, PROTOCOLS)}"
        raise ValueError(message)
    return PROTOCOLS[text]


def _ranges(spans: Iterable[str]) -> Ranges:
    pairs = (span.split("-") for span in spans)
    return tuple(sorted({(int(pair[0]), int(pair[-1])) for pair in pairs}))


def _bits(names: Iterable[str]) -> int:
    return sum({TCP_FLAGS[name] for name in names})


def _set(desk: FilterPort, model: type[B], command_of: Callable[[Any, str], FilterCommand]) -> ask.Answer:
    async def set_(request: web.Request) -> web.Response:
        text = await request.read()
        body = bodies.body_of(model, text)
        if isinstance(body, Refused):
            return asked.refusal(body)
        try:
            command = command_of(body, owner_of(request, body.owner))
        except ValueError as error:
            return asked.refusal(refused(Code.VALUE, 422, str(error)))
        return await _taken(desk, request, command, text)

    return asked.understood(set_, "dry_run")


def _release(desk: FilterPort, kind: FilterKind) -> ask.Answer:
    async def release(request: web.Request) -> web.Response:
        command = Release(id=request.match_info["id"], kind=kind, owner=owner_of(request, ""))
        return await _taken(desk, request, command, await request.read())

    return asked.understood(release, "dry_run")


async def _taken(desk: FilterPort, request: web.Request, command: FilterCommand | Release, text: bytes) -> web.Response:
    dry_run = asked.flag(request, "dry_run")
    done = await desk.change(
        FilterRequest(
            command=command,
            owner=command.owner,
            key=asked.idempotency_key(request),
            digest=asked.digest_of(request, text),
            dry_run=dry_run,
        )
    )
    return asked.done(done, dry_run=dry_run)
