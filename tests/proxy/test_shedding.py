"""Levels of shedding: when they rise, when they fall, and what the memory of a cgroup says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.proxy.shedding import CALM_SECONDS, DEAR, LATE_SWEEPS, PUBLIC, Shedder, memory_used
from gateway.wire.deadlines import Deadlines

if TYPE_CHECKING:
    from pathlib import Path


def lagging(*lateness: float) -> tuple[Shedder, Deadlines]:
    deadlines = Deadlines()
    deadlines.lateness.extend(lateness)
    return Shedder(deadlines, lag_seconds=0.5, memory=0), deadlines


def test_one_long_pause_is_no_overload() -> None:
    shedder, _ = lagging(*([0.0] * 9), 7.0, *([0.0] * (LATE_SWEEPS - 1)))
    shedder.look(1.0)
    assert shedder.level == 0


def test_a_few_late_sweeps_are_no_overload() -> None:
    shedder, _ = lagging(*([9.0] * (LATE_SWEEPS - 1)))
    shedder.look(1.0)
    assert shedder.level == 0


def test_the_level_rises_at_each_look_and_falls_when_all_was_calm_for_long() -> None:
    shedder, deadlines = lagging(*([0.5] * LATE_SWEEPS))
    levels = []
    for now in (1.0, 1.25, 1.5):
        shedder.look(now)
        levels.append(shedder.level)
    assert levels == [PUBLIC, DEAR, DEAR]
    deadlines.lateness.extend([0.0] * LATE_SWEEPS)
    calm = []
    for now in (1.5 + CALM_SECONDS / 2, 1.5 + CALM_SECONDS, 2.0 + CALM_SECONDS, 1.5 + 2 * CALM_SECONDS):
        shedder.look(now)
        calm.append(shedder.level)
    assert calm == [DEAR, PUBLIC, PUBLIC, 0]


@pytest.mark.parametrize(("used", "level"), [(0.89, 0), (0.9, PUBLIC), (1.2, PUBLIC)])
def test_memory_near_its_bound_is_overload(used: float, level: int) -> None:
    shedder = Shedder(Deadlines(), lag_seconds=0, memory=0.9, memory_now=lambda: used)
    shedder.look(1.0)
    assert shedder.level == level


def bounded(cgroup: Path, most: str, used: int) -> None:
    cgroup.mkdir(parents=True, exist_ok=True)
    (cgroup / "memory.max").write_text(f"{most}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")
    (cgroup / "memory.stat").write_text("anon 300\ninactive_file 400\n")


def test_pages_of_files_that_can_be_taken_back_are_not_used_memory(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    bounded(tmp_path, "1000", 900)
    assert memory_used(tmp_path, nowhere) == 0.5
    bounded(tmp_path, "max", 900)
    assert memory_used(tmp_path, nowhere) == 0
    assert memory_used(nowhere, nowhere) == 0


@pytest.mark.parametrize("name", ["", "system.slice", "system.slice/gateway.service"])
def test_the_memory_is_that_of_the_process_cgroup_or_of_one_above_it(tmp_path: Path, name: str) -> None:
    """As a service of systemd, and in a container that shares the host's cgroups, it is not the root."""
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/elsewhere\n0::/system.slice/gateway.service\n")
    bounded(tmp_path / "system.slice/gateway.service", "max", 900)
    bounded(tmp_path / "elsewhere", "1000", 1400)
    bounded(tmp_path / name, "1000", 900)
    assert memory_used(tmp_path, own) == 0.5
