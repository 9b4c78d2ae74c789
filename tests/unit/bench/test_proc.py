"""What is read from Linux's process files, on texts as the kernel writes them."""

from __future__ import annotations

from bench.cpu import ticks
from bench.machine import cpu_model
from bench.memory import kilobytes

STATUS = "Name:\tpython\nVmPeak:\t  151236 kB\nVmSize:\t  151000 kB\nVmRSS:\t   63216 kB\n"
STAT = "4242 (a (strange) name) S 1 4242 4242 0 -1 4194304 9000 0 12 0 731 69 0 0 20 0 3 0 5000 150000000 15000\n"
CPUINFO = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nprocessor\t: 1\nmodel name\t: Some CPU @ 2.00GHz\n"


def test_memory_is_found_by_its_whole_key() -> None:
    assert kilobytes(STATUS, "VmRSS") == 63216
    assert kilobytes(STATUS, "RSS") is None


def test_processor_time_is_user_and_system_together_whatever_the_process_is_called() -> None:
    assert ticks(STAT) == 731 + 69


def test_the_processor_is_named_once() -> None:
    assert cpu_model(CPUINFO) == "Some CPU @ 2.00GHz"
    assert cpu_model("") is None
