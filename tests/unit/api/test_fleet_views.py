"""POPs of the fleet as the API and the command show them: room, attacks, and what each does about its load."""

from __future__ import annotations

import json
from dataclasses import replace

from anycastd.api.shapes.fleet import FleetPopsShape
from anycastd.api.views.fleet import pops
from anycastd.cli.fleet import _of_pops
from anycastd.resources.fleet import Member, Presence, decode_presence, encode_presence
from anycastd.resources.fleet_budget import FleetSeen

A, B = "203.0.113.0/24", "2001:db8:113::/48"
FRA = Presence(
    pop="fra", version="1", config="x", at_unix_s=90.0, started_unix_s=1.0, state="serving", in_bps=6e9, out_bps=7e9,
    capacity_bps=1e10, calls=frozenset({A}), sheds=frozenset({A, B}), pressed=frozenset({A}), attack="ATTACK",
    attacked=3, steps=4,
)  # fmt: skip
SIN = Presence(pop="sin", version="1", config="x", at_unix_s=90.0, started_unix_s=1.0, state="silent",
               standby=frozenset({A}), attack="NORMAL")  # fmt: skip
GONE = Member(pop="ams", asn=64500, prefixes=frozenset({A}))


def test_what_each_can_carry_and_does_about_its_load() -> None:
    body = {"pops": pops(FleetSeen({"ams": GONE}, {"fra": FRA, "sin": SIN}), 100.0)}
    FleetPopsShape.model_validate(body)
    ams, fra, sin = body["pops"]
    assert (fra["capacity_bps"], fra["room_bps"]) == (1e10, 3e9)
    assert (fra["attack"], fra["attacked_eips"], fra["steps"]) == ("ATTACK", 3, 4)
    assert (fra["calls"], fra["sheds"], fra["pressed"], fra["standby"]) == ([A], [B, A], [A], [])
    assert (sin["capacity_bps"], sin["room_bps"], sin["standby"]) == (None, None, [A])
    assert (ams["attack"], ams["steps"], ams["calls"]) == (None, None, None)
    lines = _of_pops(body["pops"])
    assert lines[0].split()[-5:] == ["ROOM", "ATTACK", "SPREADS", "VERSION", "DRAINED"]
    assert "3000 of 10000 Mbit/s  ATTACK, 3 EIPs  4 steps, calls for 1, sheds 2" in lines[2]
    assert "NORMAL" in lines[3]
    assert "standby for 1" in lines[3]


def test_a_pop_over_its_capacity_has_no_room() -> None:
    (fra,) = pops(FleetSeen({}, {"fra": replace(FRA, in_bps=2e10)}), 100.0)
    assert fra["room_bps"] == 0.0


def test_what_an_older_release_does_not_say_is_not_known() -> None:
    assert decode_presence(encode_presence(FRA)) == FRA
    body = {key: value for key, value in json.loads(encode_presence(FRA)).items() if key not in ("attack", "steps")}
    said = decode_presence(json.dumps(body))
    assert (said.attack, said.steps) == ("", 0)
    (fra,) = pops(FleetSeen({}, {"fra": said}), 100.0)
    assert fra["attack"] is None
