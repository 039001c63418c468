"""Dials of regions: one commit for a dial and the answer to who asked for it with an Idempotency-Key.

A dial's generation is the store's revision of its key: no two changes have the same, and nothing is stored for it.
"""

from __future__ import annotations

from dataclasses import replace

from anycastd.api.ports import Dialed, DialRequest
from anycastd.model.topology import Config
from anycastd.resources import codec
from anycastd.resources.plan import plan_dial
from anycastd.resources.refusal import Refused, key_reused
from anycastd.runtime.eips.book import EipBook
from anycastd.store.port import Write


async def set_dial(book: EipBook, config: Config, request: DialRequest, now_unix_s: float) -> Dialed | Refused:
    """Commit a region's dial, and have it in the book then; or say why not. One writer at a time."""
    command, key = request.command, codec.DIALS + request.command.region
    answer = None if request.key is None or request.dry_run else book.answers.get(request.key)
    if answer is not None:
        return _replayed(book, request, answer)
    generation = book.revision_of(key)
    planned = plan_dial(command, book.dials, config, expected=request.expected, generation=generation)
    if isinstance(planned, Refused):
        return planned
    dials, changes = planned
    configured, percentage = config.regions[command.region].traffic_dial_percentage, dials.get(command.region)
    done = Dialed(command.region, percentage, configured, changes, generation)
    if request.dry_run:
        return done
    writes = [Write(key, None if percentage is None else codec.encode_dial(percentage))] if changes else []
    if request.key is not None:
        # of what is set, the generation is known when it is committed
        kept = None if changes and percentage is not None else 0 if changes else generation
        made = codec.DialAnswer(request.digest, now_unix_s, command.region, percentage, configured, kept, changes)
        writes.append(Write(codec.answer_key(request.key, made), codec.encode_dial_answer(made)))
    if writes and (refusal := await book.commit(writes, [key])) is not None:
        return refusal
    book.dials = dials
    if request.key is not None:
        book.answers[request.key] = made
    return replace(done, generation=book.revision_of(key))


def _replayed(book: EipBook, request: DialRequest, answer: codec.AnyAnswer) -> Dialed | Refused:
    if answer.request != request.digest or not isinstance(answer, codec.DialAnswer):
        return key_reused(request.key)
    generation = answer.generation
    if generation is None:
        generation = book.revision_of(codec.answer_key(str(request.key), answer))
    return Dialed(answer.region, answer.percentage, answer.configured, answer.changes, generation, replayed=True)
