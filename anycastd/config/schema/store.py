"""`store`: where EIPs, dials and tasks are kept: in a file of this POP, or in the fleet's etcd."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import FileName, choice, duration, whole
from anycastd.config.values.store import Endpoint, KeyPrefix, StoreUser
from anycastd.model.store import StoreConfig, StoreKind

_DEFAULT = StoreConfig()


class StoreSection(Section):
    """The store. A POP serves what it last applied, whether or not an etcd answers. Changes need a restart."""

    kind: Annotated[StoreKind, choice(StoreKind)] = Field(
        default=_DEFAULT.kind,
        description="`embedded`: a file in `state_dir`, for this POP alone; `etcd`: the fleet's. "
        "`anycastd fleet switch` takes the contents along.",
    )
    endpoints: tuple[Endpoint, ...] = Field(
        default=(), description="The members of the etcd, the nearest first, such as https://192.0.2.1:2379."
    )
    prefix: KeyPrefix = Field(default=_DEFAULT.prefix, description="What the keys of this fleet begin with.")
    ca_file: FileName | None = Field(
        default=None, description="Authorities of the members' certificates; PEM. Default: those of the machine."
    )
    cert_file: FileName | None = Field(default=None, description="Our certificate for the members; PEM.")
    key_file: FileName | None = Field(default=None, description="Its private key; PEM, mode 0600 or 0640.")
    user: StoreUser = Field(default=_DEFAULT.user, description="Our user in etcd, if it asks for one.")
    password_file: FileName | None = Field(default=None, description="File with its password; mode 0600 or 0640.")
    attempt: Annotated[float, duration(0.05, 60.0)] = Field(
        default=_DEFAULT.attempt_s, description="How long one member may take to answer before the next is asked."
    )
    commit_within: Annotated[float, duration(0.1, 60.0)] = Field(
        default=_DEFAULT.commit_within_s,
        description="How long a change is tried in all, member after member; an election takes about 2 s.",
    )
    heartbeat: Annotated[float, duration(0.1, 60.0)] = Field(
        default=_DEFAULT.heartbeat_s, description="How often this POP writes its own key."
    )
    stale_after: Annotated[float, duration(0.3, 600.0)] = Field(
        default=_DEFAULT.stale_after_s,
        description="How long our own heartbeat may not come back from a member until the next one is asked.",
    )
    presence: Annotated[float, duration(2.0, 600.0)] = Field(
        default=_DEFAULT.presence_s,
        description="How long a POP that says nothing is shown as present. Only shown and counted: it changes nothing.",
    )
    compact_after: Annotated[float, duration(0.0, 30 * 86400.0)] = Field(
        default=_DEFAULT.compact_after_s,
        description="etcd forgets history older than this; 0s: not by us (then let etcd do it itself).",
    )
    budget_percent: Annotated[int, whole(0, 100)] = Field(
        default=_DEFAULT.budget_percent,
        description="Of the POPs that announce a prefix so many percent may be drained or away at once; one may in any "
        "case while two others are left.",
    )
    single_flight: Annotated[float, duration(0.0, 86400.0)] = Field(
        default=_DEFAULT.single_flight_s,
        description="How far apart in the fleet the drains of POPs begin that announce the same prefix.",
    )
    withdrawals_apart: Annotated[float, duration(0.0, 3600.0)] = Field(
        default=_DEFAULT.withdrawals_apart_s,
        description="Of one prefix only one POP in the fleet leaves within this time because of health; the others "
        "stay depreferenced so long, and while the store is away. 0s: not limited.",
    )
