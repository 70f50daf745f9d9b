"""What a process tree has cost: CPU seconds and resident memory, read from /proc.

CPU is user plus system time of every process of the tree, children that have ended included.  The kernel
rounds that sum to 10 ms in /proc/PID/stat but gives the same sum in nanoseconds through the CPU-time clock of a
process (clock_getcpuclockid(3)), threads that have ended included, which matters for a peer with a thread
per connection.  Ended children (cutime, cstime) exist only in ticks.

Sources: proc_pid_stat(5), proc_pid_smaps(5), clock_getcpuclockid(3).
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # <linux/posix-timers.h>: the scheduler's own sum, for a whole process
_CUTIME, _CSTIME = 13, 14  # of the fields after the command's name


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.  `rss` counts pages that several processes of the tree share once for each of them, `pss` once."""

    rss: int
    pss: int


class Tree:
    """A process and its descendants, as they are at each call."""

    def __init__(self, root: int) -> None:
        self.root = root

    def pids(self) -> list[int]:
        return list(_walk(self.root))

    def cpu_seconds(self) -> float:
        """User and system time used so far by the living and the ended processes of the tree."""
        return sum(_clock_seconds(pid) + _ended_children_seconds(pid) for pid in self.pids())

    def memory(self) -> Memory:
        found = [_rollup(pid) for pid in self.pids()]
        return Memory(rss=sum(one["Rss"] for one in found), pss=sum(one["Pss"] for one in found))


def _walk(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread ended meanwhile
            continue
        for child in children:
            yield from _walk(int(child))


def _clock_seconds(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def _ended_children_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_CUTIME]) + int(fields[_CSTIME])) / _TICKS_PER_SECOND


def _rollup(pid: int) -> dict[str, int]:
    """The sums of all mappings, in bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, amount, _unit = line.split()
        found[name.rstrip(":")] = int(amount) * 1024
    return found
