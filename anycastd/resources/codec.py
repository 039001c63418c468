"""EIPs, tasks, dials and remembered answers as the store's texts (JSON), and back. What has its default is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypeVar

from anycastd.model.address import Address, BackendId, RegionName, known_address
from anycastd.model.eip import (
    Affinity,
    Bandwidth,
    Binding,
    Eip,
    EipId,
    EipStatus,
    Mode,
    Ping,
    PortMap,
    Shaping,
    Spread,
    Target,
    Task,
    TaskId,
    TaskState,
    Tracking,
    Transport,
    WhenUnhealthy,
)

ROOT = "/"
EIPS, TASKS, DIALS, ANSWERS = "/eips/", "/tasks/", "/dials/", "/answers/"
DIAL_ANSWERS = "/dial-answers/"
"""Apart from the others, which an older release reads too."""
Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request with an Idempotency-Key was answered: `request` is its digest. `task` None: nothing changed."""

    request: str
    at_unix_s: float
    status: EipStatus
    eip: Eip
    task: Task | None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DialAnswer:
    """What a request for a dial with an Idempotency-Key was answered; `percentage` None: as the file says.

    `generation` None: that of the commit that has this answer.
    """

    request: str
    at_unix_s: float
    region: RegionName
    percentage: int | None
    configured: int
    generation: int | None
    changes: tuple[str, ...] = ()


AnyAnswer = Answer | DialAnswer


def key_of(address: Address) -> str:
    """Return the key of an EIP."""
    return f"{EIPS}{address}"


def answer_key(key: str, answer: AnyAnswer) -> str:
    """Return the key of the answer to an Idempotency-Key."""
    return f"{ANSWERS if isinstance(answer, Answer) else DIAL_ANSWERS}{key}"


def _text(body: Mapping[str, object]) -> str:
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def encode_eip(eip: Eip) -> str:
    """Return the text of a stored EIP."""
    return _text(_eip_out(eip))


def _eip_out(eip: Eip) -> Json:
    body: Json = {
        "id": eip.id,
        "address": str(eip.address),
        "generation": eip.generation,
        "created": eip.created_unix_s,
        "changed": eip.changed_unix_s,
    }
    if eip.binding is not None:
        # a text of its own: thousands of EIPs share a few bindings, which are then read once
        body["binding"] = _text(_binding_out(eip.binding))
    if eip.bandwidth != Bandwidth():
        body["bandwidth"] = asdict(eip.bandwidth)
    optional = {
        "ping": (eip.ping, Ping.BACKEND),
        "tracking": (eip.tracking, Tracking.CONNTRACK),
        "blocked": (eip.blocked, False),
        "blocked_reason": (eip.blocked_reason, ""),
        "description": (eip.description, ""),
        "released": (eip.released_unix_s, None),
        "last_error": (eip.last_error, ""),
    }
    return body | {name: value for name, (value, default) in optional.items() if value != default}


def _binding_out(binding: Binding) -> Json:
    return {
        "spread": binding.spread,
        "affinity": binding.affinity,
        "when_unhealthy": binding.when_unhealthy,
        "targets": [_target_out(target) for target in binding.targets],
    }


def _target_out(target: Target) -> Json:
    body: Json = {"backend": target.backend, "weight": target.weight, "priority": target.priority}
    if target.mode is not None:
        body["mode"] = target.mode
    if target.ports:
        body["ports"] = [[one.transport, one.port, one.to_port] for one in target.ports]
    return body


def decode_eip(text: str) -> Eip:
    """Return a stored EIP; ValueError if the text is not what `encode_eip` writes."""
    return _decoded(text, _eip_in)


def eip_at(key: str, text: str) -> Eip:
    """Return the EIP stored at a key; ValueError also if it is another's: a copy by hand must not change that one."""
    eip = decode_eip(text)
    if key_of(eip.address) != key:
        message = f"it is the EIP {eip.address}, which belongs at {key_of(eip.address)}"
        raise ValueError(message)
    return eip


def _eip_in(body: Json) -> Eip:
    address = body["address"]
    limits = body.get("bandwidth")
    binding = body.get("binding")
    return Eip(
        id=EipId(body["id"]),
        address=known_address(address),
        # the first releases wrote it as an object, not as a text
        binding=None if binding is None else _binding_in(binding if isinstance(binding, str) else _text(binding)),
        bandwidth=Bandwidth()
        if limits is None
        else Bandwidth(in_bps=limits["in_bps"], out_bps=limits["out_bps"], shaping=Shaping(limits["shaping"])),
        ping=Ping(body.get("ping", Ping.BACKEND)),
        tracking=Tracking(body.get("tracking", Tracking.CONNTRACK)),
        blocked=body.get("blocked", False),
        blocked_reason=body.get("blocked_reason", ""),
        description=body.get("description", ""),
        generation=body["generation"],
        created_unix_s=body["created"],
        changed_unix_s=body["changed"],
        released_unix_s=body.get("released"),
        last_error=body.get("last_error", ""),
    )


@lru_cache(maxsize=4096)
def _binding_in(text: str) -> Binding:
    body = json.loads(text)
    return Binding(
        targets=tuple(map(_target_in, body["targets"])),
        spread=Spread(body["spread"]),
        affinity=Affinity(body["affinity"]),
        when_unhealthy=WhenUnhealthy(body["when_unhealthy"]),
    )


def _target_in(body: Json) -> Target:
    mode = body.get("mode")
    return Target(
        backend=BackendId(body["backend"]),
        weight=body["weight"],
        priority=body["priority"],
        mode=None if mode is None else Mode(mode),
        ports=tuple(PortMap(Transport(transport), port, to) for transport, port, to in body.get("ports", ())),
    )


def carries(key: str, text: str) -> bool:
    """Return whether a key of the store is an EIP that is bound; what cannot be read is not."""
    try:
        return key.startswith(EIPS) and json.loads(text).get("binding") is not None
    except (ValueError, AttributeError, RecursionError):
        return False


def check(key: str, text: str) -> None:
    """Raise ValueError if a key is not that of an EIP or a dial, or its text is not what the store has for one."""
    if key.startswith(EIPS):
        found = key_of(decode_eip(text).address)
    elif key.startswith(DIALS):
        decode_dial(text)
        found = key
    else:
        found = ""
    if found != key:
        message = f"is not {EIPS}ADDRESS of this EIP, nor {DIALS}REGION"
        raise ValueError(message)


def encode_task(task: Task) -> str:
    """Return the text of a task."""
    return _text(_task_out(task))


def _task_out(task: Task) -> Json:
    return asdict(task) | {"address": str(task.address)}


def decode_task(text: str) -> Task:
    """Return a task; ValueError if the text is not what `encode_task` writes."""
    return _decoded(text, _task_in)


def _task_in(body: Json) -> Task:
    address = body["address"]
    body |= {"address": known_address(address)}
    return Task(**body | {"id": TaskId(body["id"]), "state": TaskState(body["state"])})


def encode_answer(answer: Answer) -> str:
    """Return the text of a remembered answer."""
    task = None if answer.task is None else _task_out(answer.task)
    body = {"request": answer.request, "at": answer.at_unix_s, "status": answer.status, "task": task}
    return _text(body | {"eip": _eip_out(answer.eip), "changes": answer.changes})


def decode_answer(text: str) -> Answer:
    """Return a remembered answer; ValueError if the text is not what `encode_answer` writes."""
    return _decoded(text, _answer_in)


def _answer_in(body: Json) -> Answer:
    task = body["task"]
    return Answer(
        request=body["request"],
        at_unix_s=body["at"],
        status=EipStatus(body["status"]),
        eip=_eip_in(body["eip"]),
        task=None if task is None else _task_in(task),
        changes=tuple(body["changes"]),
    )


def encode_dial_answer(answer: DialAnswer) -> str:
    """Return the text of a remembered answer about a dial."""
    return _text(
        {
            "request": answer.request,
            "at": answer.at_unix_s,
            "region": answer.region,
            "percentage": answer.percentage,
            "configured": answer.configured,
            "generation": answer.generation,
            "changes": answer.changes,
        }
    )


def decode_dial_answer(text: str) -> DialAnswer:
    """Return a remembered answer about a dial; ValueError if the text is not what `encode_dial_answer` writes."""
    return _decoded(text, _dial_answer_in)


def _dial_answer_in(body: Json) -> DialAnswer:
    return DialAnswer(
        request=body["request"],
        at_unix_s=body["at"],
        region=RegionName(body["region"]),
        percentage=body["percentage"],
        configured=body["configured"],
        generation=body["generation"],
        changes=tuple(body["changes"]),
    )


def encode_dial(percentage: int) -> str:
    """Return the text of a region's dial."""
    return _text({"traffic_dial_percentage": percentage})


def decode_dial(text: str) -> int:
    """Return a region's dial; ValueError if the text is not what `encode_dial` writes."""
    return _decoded(text, lambda body: int(body["traffic_dial_percentage"]))


def _decoded(text: str, read: Callable[[Json], T]) -> T:
    try:
        return read(json.loads(text))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"not a record of ours: {error!r}"
        raise ValueError(message) from error
