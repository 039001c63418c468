"""Numbers from content: the same for the same keys, whatever the history; collisions told apart for the few."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.policy.numbering import Numbering

KEYS = [f"{letter}{number}" for letter in "abcd" for number in range(6)]


def wish(key: str, salt: int) -> int:
    """Only 6 first wishes for 24 keys, so that collisions are the rule."""
    return int(key[1:]) if not salt else (hash_of(key) + 7 * salt) % 40


def hash_of(key: str) -> int:
    return sum(ord(one) * 31**index for index, one in enumerate(key))


def numbers(keys: list[str]) -> Numbering[str]:
    return Numbering(wish, str, keys)


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_history_shows_in_the_numbers_and_every_change_is_told(steps: list[tuple[str, bool]]) -> None:
    kept, there = numbers([]), dict[str, int]()
    for key, wanted in steps:
        before = dict(there)
        if wanted and key not in there:
            told = kept.add(key)
        elif not wanted and key in there:
            told = kept.remove(key)
        else:
            continue
        there = {one: kept[one] for one in kept}
        anew = numbers(sorted(there))
        assert there == {one: anew[one] for one in anew}
        assert len(set(there.values())) == len(there)
        moved = {one for one in before.keys() & there.keys() if before[one] != there[one]}
        assert told.had == {one: before[one] for one in moved}
        owners = {number: one for one, number in before.items()}
        assert told.changed_hands == {n for one, n in there.items() if n in owners and owners[n] != one}
    assert all((key in kept) == (key in there) for key in KEYS)


def test_who_wishes_alone_keeps_its_number_whatever_others_do() -> None:
    kept = numbers(["a1"])
    assert kept["a1"] == 1
    for other in ("b2", "b3", "c2", "d2", "c3"):
        kept.add(other)
    assert kept["a1"] == 1
    assert kept["b2"] == 2
    assert kept.find("d5") is None
