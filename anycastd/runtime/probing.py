"""The probe engine that the configuration asks for: in this process, or in several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from anycastd.model.kernel import LinkView
from anycastd.model.probing import ProbingFacts
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.probes.engine import Engine, OnResult
from anycastd.probes.workers.pool import Pool
from anycastd.runtime.alarms import Reported


def probe_engine(
    config: Config,
    loop: asyncio.AbstractEventLoop,
    on_result: OnResult,
    links: Callable[[], Mapping[str, LinkView]],
    reported: Reported,
) -> Engine | Pool:
    """Return what runs the checks; workers are started with the first of theirs."""
    here = Engine(loop, on_result, links, reported.of_name, config.bfd, reported.of_bfd)
    if not config.probing.workers:
        return here

    def told(worker: str, detail: str | None) -> None:
        reported.tell(Alarm.PROBE_WORKER, worker, detail)

    return Pool(loop, on_result, here, reported.of_name, told, config.probing)


def probing_facts(engine: Engine | Pool) -> ProbingFacts:
    """Return what is exported of the probe engine, as of now."""
    if isinstance(engine, Engine):
        return ProbingFacts(engine.stats)
    return ProbingFacts(engine.stats, engine.running, engine.lost)
