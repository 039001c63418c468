"""What hears the kernel goes on although whoever it tells has failed."""

from __future__ import annotations

import asyncio

from anycastd.actuators.dataplane.netlink import Kernel
from anycastd.actuators.lasting import AGAIN_AFTER_S, CANCEL_EACH_S, Lasting, cancelled
from anycastd.actuators.nft.table import NftTable
from anycastd.model.nft import NftSettings
from anycastd.model.topology import KernelConfig
from anycastd.simulation.clock import run


class Stumbling:
    """A task that fails the first times, and what was told of it."""

    def __init__(self, failures: int) -> None:
        self.failures, self.begun, self.told = failures, 0, list[str]()

    async def run(self) -> None:
        self.begun += 1
        if self.begun <= self.failures:
            message = "in who was told"
            raise KeyError(message)
        await asyncio.Future()

    def hear(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.told.append(context["message"]))


def test_one_that_fails_is_told_of_and_begun_again_until_it_is_stopped() -> None:
    one, again = Stumbling(2), list[int]()

    async def main() -> None:
        one.hear()
        lasting = Lasting(lambda: again.append(one.begun))
        lasting.begin("kernel:events", one.run)
        await asyncio.sleep(3.5 * AGAIN_AFTER_S)
        assert (one.begun, one.told) == (3, ["kernel:events ended"] * 2)
        assert lasting
        await lasting.stop()
        assert not lasting
        await asyncio.sleep(3 * AGAIN_AFTER_S)

    run(main())
    assert one.begun == 3
    assert again == [1, 2]


def test_one_that_waits_to_be_begun_again_is_not_when_it_was_stopped() -> None:
    one = Stumbling(9)

    async def main() -> None:
        one.hear()
        lasting = Lasting(lambda: None)
        lasting.begin("nft:apply", one.run)
        await asyncio.sleep(0.5 * AGAIN_AFTER_S)
        await lasting.stop()
        await asyncio.sleep(3 * AGAIN_AFTER_S)

    run(main())
    assert one.begun == 1


def test_the_packet_filter_and_the_kernel_have_all_read_anew_then() -> None:
    one = Stumbling(1)

    async def main() -> None:
        one.hear()
        table = NftTable(NftSettings(), on_change=lambda: None, on_refused=lambda subject, detail: None)
        kernel = Kernel(KernelConfig(), on_change=lambda: None, on_links=lambda names: None)
        for actuator in (table, kernel):
            one.begun = 0
            actuator._tasks.begin("task", one.run)
            await asyncio.sleep(2 * AGAIN_AFTER_S)
            await actuator._tasks.stop()
        assert table._lost
        assert table._doubt.is_set()
        assert kernel._reread.is_set()
        assert kernel._work.is_set()

    run(main())


def test_a_cancellation_that_is_lost_is_made_again() -> None:
    """As CPython 3.11 loses one in wait_for(): whoever waits for the end of such a task would wait for ever."""
    heard = list[float]()

    async def goes_on() -> None:
        while True:
            try:
                await asyncio.sleep(3600.0)
            except asyncio.CancelledError:
                heard.append(asyncio.get_running_loop().time())
                if len(heard) > 2:
                    raise

    async def main() -> None:
        task = asyncio.create_task(goes_on())
        await asyncio.sleep(1.0)
        await cancelled(task)
        assert task.cancelled()

    run(main())
    assert [later - heard[0] for later in heard] == [0.0, CANCEL_EACH_S, 2 * CANCEL_EACH_S]
