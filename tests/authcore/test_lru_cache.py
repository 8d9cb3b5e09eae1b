"""The cache: bounded by number and by size, fresh for a time, and aware of the rows each entry came from."""

from __future__ import annotations

from uuid import UUID

from authcore.identity.lru_cache import Cache

ADA, BOB, HOME, OTHER = (UUID(int=number) for number in range(1, 5))


def make(seconds: float = 30, entries: int = 10, size: int = 1 << 20, jitter: float = 0.1) -> Cache[object]:
    return Cache(seconds=seconds, entries=entries, size=size, weigh=lambda _: 100, jitter=jitter)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_value_is_fresh_for_its_time_and_no_longer() -> None:
    cache = make(jitter=0)
    cache.put(key(1), "a", (), now=100)
    assert cache.get(key(1), 100) == "a"
    assert cache.get(key(1), 129.999) == "a"
    assert cache.get(key(1), 130) is None


def test_jitter_only_ever_shortens() -> None:
    cache = make(seconds=100, entries=1000)
    for number in range(1000):
        cache.put(key(number), number, (), now=0)
    assert all(cache.get(key(number), 89.9) == number for number in range(1000))
    alive = sum(cache.get(key(number), 95) is not None for number in range(1000))
    assert 300 < alive < 700
    assert not any(cache.get(key(number), 100) for number in range(1000))


def test_time_running_backwards_makes_stale_not_immortal() -> None:
    cache = make()
    cache.put(key(1), "a", (), now=1000)
    assert cache.get(key(1), 10) is None
    assert cache.find_stale(key(1), 10, 300) is None


def test_the_least_recently_used_makes_room() -> None:
    cache = make(entries=3)
    for number in range(3):
        cache.put(key(number), number, (), now=0)
    assert cache.get(key(0), 1) == 0
    cache.put(key(3), 3, (), now=1)
    assert [cache.get(key(number), 1) for number in range(4)] == [0, None, 2, 3]
    assert (len(cache), cache.evicted) == (3, 1)


def test_bytes_are_bounded_as_entries_are() -> None:
    cache = make(entries=1000, size=500)
    for number in range(50):
        cache.put(key(number), number, (HOME,), now=0)
        assert cache.size <= 500
    assert len(cache) == 5
    for number in range(50):
        cache.drop(key(number))
    assert (len(cache), cache.size) == (0, 0)


def test_a_row_drops_what_came_from_it_and_nothing_else() -> None:
    cache = make()
    cache.put(key(1), "ada at home", (ADA, HOME), now=0)
    cache.put(key(2), "ada elsewhere", (ADA, OTHER), now=0)
    cache.put(key(3), "bob at home", (BOB, HOME), now=0)
    cache.drop_row(ADA, HOME)
    assert [cache.get(key(number), 1) for number in (1, 2, 3)] == [None, "ada elsewhere", "bob at home"]
    cache.drop_row(HOME)
    assert [cache.get(key(number), 1) for number in (1, 2, 3)] == [None, "ada elsewhere", None]
    cache.drop_row(UUID(int=99))
    assert (len(cache), cache.dropped) == (1, 2)


def test_an_entry_that_was_replaced_or_evicted_leaves_nothing_behind_in_its_rows() -> None:
    cache = make(entries=2)
    for number in range(20):
        cache.put(key(number), number, (ADA, UUID(int=100 + number)), now=0)
        cache.put(key(number), -number, (ADA, UUID(int=200 + number)), now=0)
    cache.drop_row(ADA)
    assert len(cache) == 0
    assert cache._by_row == {}  # noqa: SLF001 - a leak is seen nowhere else


def test_what_is_called_into_question_is_stale_and_what_is_cleared_is_gone() -> None:
    cache = make(jitter=0)
    cache.put(key(1), "a", (ADA,), now=0)
    cache.suspect()
    assert cache.get(key(1), 1) is None
    stale = cache.find_stale(key(1), 1, 300)
    assert stale is not None
    assert stale.value == "a"
    assert cache.find_stale(key(1), 330, 300) is None
    cache.put(key(2), "b", (), now=1)
    assert cache.get(key(2), 1) == "b"
    cache.clear()
    assert cache.get(key(2), 1) is None
    assert cache.find_stale(key(1), 1, 300) is None
    assert cache.find_stale(key(2), 1, 300) is None


def test_what_was_cleared_goes_as_new_ones_come() -> None:
    cache = make(entries=100)
    for number in range(100):
        cache.put(key(number), number, (ADA,), now=0)
    cache.clear()
    for number in range(100, 150):
        cache.put(key(number), number, (ADA,), now=0)
    assert len(cache) == 50
    assert cache.evicted == 0
