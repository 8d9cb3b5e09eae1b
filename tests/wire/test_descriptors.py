"""Count of open file descriptors: a low number that is free again hides none of those above it."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.wire.descriptors import DIALS, RESERVE, OpenFiles, are_descriptors_scarce

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_SIZE, BY_READING = "/proc/self/fd", "/proc/self/fdinfo"
"""The second names the descriptors as well, and its size is 0 as that of the first was before Linux 6.2."""


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket()) for _ in range(50)]


@pytest.mark.parametrize("folder", [BY_SIZE, BY_READING])
def test_each_descriptor_counts_whatever_its_number(sockets: list[socket.socket], folder: str) -> None:
    before = OpenFiles(folder).number()
    for one in sockets[:20]:
        one.close()
    assert OpenFiles(folder).number() == before - 20


def test_a_folder_that_has_to_be_read_is_read_at_most_four_times_a_second(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("gateway.wire.descriptors.time.monotonic", lambda: now)
    files = OpenFiles(BY_READING)
    before = files.number()
    for one in sockets:
        one.close()
    now = 100.2
    assert files.number() == before
    now = 100.25
    assert files.number() == before - len(sockets)


def test_what_is_opened_between_two_readings_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.wire.descriptors.time.monotonic", lambda: 100.0)
    files = OpenFiles(BY_READING)
    before = files.number()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.socket())
        assert files.number() > before + 90


def test_reading_takes_a_fiftieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 100.1, 105.0, 105.1, 110.1, 200.0])  # each reading takes a tenth of a second
    monkeypatch.setattr("gateway.wire.descriptors.time.monotonic", lambda: next(moments))
    readings = []

    def read(folder: Path) -> Iterator[Path]:
        readings.append(folder)
        return iter(())

    files = OpenFiles(BY_READING)
    monkeypatch.setattr(Path, "iterdir", read)
    files.number()
    files.number()  # at 105.0: 4.9 s after a tenth of a second
    assert len(readings) == 1
    files.number()  # at 105.1
    assert len(readings) == 2


@contextmanager
def at_most(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_reserve_is_kept_though_low_numbers_are_free(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in sockets[:20]:
        one.close()
    with at_most(OpenFiles().number() + 5 + RESERVE + 1):
        monkeypatch.setattr(DIALS, "under_way", 5)
        assert not are_descriptors_scarce()
        monkeypatch.setattr(DIALS, "under_way", 6)
        assert are_descriptors_scarce()


def test_without_any_descriptor_there_is_no_room() -> None:
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    files = OpenFiles(BY_READING)
    with at_most(lowest_free):
        assert are_descriptors_scarce()
        with pytest.raises(OSError, match="Too many open files"):
            files.number()


def test_without_a_folder_that_lists_them_the_lowest_free_number_counts(tmp_path: Path) -> None:
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    assert OpenFiles(str(tmp_path / "no-proc")).number() == lowest_free
