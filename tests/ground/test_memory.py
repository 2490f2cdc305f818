"""How much memory there is, on machines that are described, and on this one."""

from __future__ import annotations

import pytest

from gemma_audio_cli.memory import Memory, memory

KIB = 1024
MEMINFO = "MemTotal:       24635560 kB\nMemFree:         100 kB\nMemAvailable:   20000000 kB\n"
V2, V2_USED = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"
V1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Memory(24635560 * KIB, 20000000 * KIB)),
        ({V2: "max\n", V2_USED: "5\n"}, Memory(24635560 * KIB, 20000000 * KIB)),
        ({V2: "4000000000\n", V2_USED: "1000000000\n"}, Memory(4_000_000_000, 3_000_000_000)),
        ({V2: "4000000000\n", V2_USED: "9000000000\n"}, Memory(4_000_000_000, 0)),
        ({V1: "9223372036854771712\n"}, Memory(24635560 * KIB, 20000000 * KIB)),
        ({V1: "2000000000"}, Memory(2_000_000_000, 20000000 * KIB)),
        ({V2: "rubbish", V1: ""}, Memory(24635560 * KIB, 20000000 * KIB)),
    ],
)
def test_a_container_has_what_it_may_have(files, expected):
    assert memory(({"/proc/meminfo": MEMINFO} | files).get) == expected


def test_this_machine_has_some():
    assert (memory().total or 0) > 100_000_000


def test_a_system_without_files_still_knows_its_total():
    assert (memory(lambda _path: None).total or 0) > 100_000_000
