"""From the checked section `store` to `model.store.StoreConfig`. Pure."""

from __future__ import annotations

from anycastd.config.build.check_options import absolute
from anycastd.config.schema.store import StoreSection
from anycastd.model.store import StoreConfig


def store_config(section: StoreSection, directory: str) -> StoreConfig:
    """Return which store there is; relative names of files begin at `directory`."""
    return StoreConfig(
        kind=section.kind,
        endpoints=section.endpoints,
        prefix=section.prefix,
        ca_file=absolute(section.ca_file, directory),
        cert_file=absolute(section.cert_file, directory),
        key_file=absolute(section.key_file, directory),
        user=section.user,
        password_file=absolute(section.password_file, directory),
        attempt_s=section.attempt,
        commit_within_s=section.commit_within,
        heartbeat_s=section.heartbeat,
        stale_after_s=section.stale_after,
        presence_s=section.presence,
        compact_after_s=section.compact_after,
        single_flight_s=section.single_flight,
        withdrawals_apart_s=section.withdrawals_apart,
        budget_percent=section.budget_percent,
    )
