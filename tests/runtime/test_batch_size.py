"""The search for a batch size: a clock, a memory and a network that are made up, so that what it must find is known."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from ltgen_bench.core.errors import MachineError
from ltgen_bench.runtime import batch_size
from ltgen_bench.runtime.batch_size import even_chunks, fastest_size, out_of_memory

FULL = torch.OutOfMemoryError("full")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Machine:
    """A device on which a call takes `overhead` and then `each` second an image up to `width` images a time, and no more than
    `capacity` images fit. It is its own clock, and keeps what it was asked for."""

    def __init__(self, capacity=10**9, overhead=0.0, each=0.001, width=1, error=FULL, first=0.0):
        self.now, self.asked = 0.0, []
        self.capacity, self.overhead, self.each, self.width = capacity, overhead, each, width
        self.error, self.first, self.slow = error, first, 0

    def __call__(self, size):
        self.now += 0.0 if self.asked else self.first
        self.asked.append(size)
        if size > self.capacity:
            raise self.error
        self.now += self.overhead + self.each * -(-size // self.width) + (0.05 if size == self.slow else 0.0)

    def clock(self):
        return self.now

    def rate(self, size):
        return size / (self.overhead + self.each * -(-size // self.width))

    def search(self, device=CUDA, largest=10**6, memory=None):
        """The number that is found by this clock; on the CPU there is the `memory` (free bytes, bytes an image)."""
        free, an_image = memory or (1e15, 0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch_size, "time", SimpleNamespace(perf_counter=self.clock, process_time=self.clock))
            patch.setattr(batch_size, "free_memory", lambda: free)
            patch.setattr("gc.collect", lambda: 0)  # which accelerate does before every try, and takes longer than all else here
            patch.setattr(batch_size, "peak_memory", lambda device: nullcontext(Peaking(self, an_image)))
            return fastest_size(self, device, largest=largest)


class Peaking:
    """The peak of memory while a machine takes as many images as it was last asked for, over that of the network."""

    def __init__(self, machine, an_image):
        self.machine, self.an_image = machine, an_image

    @property
    def mb(self):
        return 0.01 + self.an_image * self.machine.asked[-1] / 1e6


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """CUDA that does nothing."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)


class TestTheKnee:
    @pytest.mark.parametrize(("width", "knee"), [(8, 8), (64, 64), (256, 256)])
    def test_a_device_that_takes_so_many_at_once_gets_so_many(self, width, knee):
        assert Machine(each=0.01, width=width).search() == knee

    def test_no_more_is_taken_than_brings_a_few_percent(self):
        machine = Machine(overhead=0.01, each=0.001)  # rate 1000 n / (10 + n)
        found = machine.search()
        best = max(machine.rate(size) for size in machine.asked)
        assert best / 1.03 <= machine.rate(found)
        assert machine.rate(found / 2) < best / 1.03

    def test_where_nothing_is_gained_it_is_one_image(self):
        machine = Machine(each=0.05)
        assert machine.search() == 1
        assert max(machine.asked) == 4, "two doublings that bring nothing end the search"

    def test_a_single_number_that_is_slow_is_stepped_over(self):
        machine = Machine(each=0.01, width=64)
        machine.slow = 16
        assert machine.search() == 64

    @pytest.mark.parametrize("largest", [1, 3, 24, 100])
    def test_never_more_than_there_are(self, largest):
        machine = Machine(each=0.01, width=1000)
        assert machine.search(largest=largest) == largest
        assert max(machine.asked) == largest


class TestTheTime:
    def test_a_slow_device_is_not_asked_for_what_takes_too_long(self):
        machine = Machine(overhead=0.5, each=0.4)
        found = machine.search()
        assert machine.now < 0.9 + 0.9 + batch_size.SECONDS
        assert found == max(machine.asked) == 4

    def test_one_call_that_takes_minutes_is_one_image_and_no_more_than_two_calls(self):
        machine = Machine(each=100.0, width=50)
        assert machine.search() == 1
        assert machine.asked == [1, 1]

    def test_what_the_very_first_call_loads_is_not_the_searchs_time(self):
        assert Machine(each=0.01, width=32, first=60.0).search() == 32

    def test_a_call_that_takes_no_time_ends(self):
        assert Machine(each=0.0).search(largest=64) <= 64


class TestTheMemory:
    @pytest.mark.parametrize("capacity", [1, 2, 3, 5, 17, 31, 32, 33, 39, 40, 100])
    def test_never_more_than_fits_and_a_quarter_stays_free(self, capacity):
        machine = Machine(capacity, each=0.01, width=10**6)  # ever faster
        found = machine.search()
        assert found <= capacity
        assert found == 1 or found + found // 4 <= capacity
        assert found >= capacity / 4

    def test_a_knee_far_below_what_fits_needs_no_margin(self):
        machine = Machine(300, each=0.01, width=64)
        assert machine.search() == 64
        assert 80 not in machine.asked

    @pytest.mark.parametrize("device", [CPU, CUDA])
    def test_not_even_one_image_is_said_in_a_sentence(self, device):
        with pytest.raises(MachineError, match=f"not even one image fits into the memory of this {device.type} device; take a"):
            Machine(0).search(device)

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
                                       RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")])
    def test_every_way_to_say_it_ends_the_search(self, error):
        assert out_of_memory(error)
        assert Machine(8, each=0.01, width=10**6, error=error).search(CPU) == 4

    @pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory")])
    def test_another_error_is_not_taken_for_it(self, error):
        with pytest.raises(type(error), match=str(error)):
            Machine(8, each=0.01, width=10**6, error=error).search(CPU)

    @pytest.mark.parametrize(("free", "most"), [(100.0, 16), (1000.0, 256)])
    def test_a_memory_that_can_be_seen_is_not_filled_beyond_four_fifths(self, free, most):
        machine = Machine(each=0.01, width=10**6)
        found = machine.search(CPU, memory=(free, 3.0))
        assert max(machine.asked) * 3.0 <= 0.8 * free + 3.0
        assert found == most


class TestThisMachine:
    def test_a_real_network_gets_a_number_between_one_and_the_largest(self, monkeypatch):
        monkeypatch.setattr(batch_size, "SECONDS", 0.2)
        net = torch.nn.Conv2d(3, 8, 3)
        images = torch.zeros(64, 3, 16, 16)
        with torch.inference_mode():
            assert 1 <= fastest_size(lambda size: net(images[:size]), CPU, largest=64) <= 64


@pytest.mark.parametrize(("count", "size", "chunk"), [
    (5000, 4096, 2504), (5000, 250, 250), (100_000, 512, 512), (200, 64, 50), (7, 64, 7), (7, 7, 7), (9, 8, 5), (1, 1, 1)])
def test_images_are_cut_into_as_few_chunks_with_little_padding(count, size, chunk):
    assert even_chunks(count, size) == chunk
    assert -(-count // chunk) == -(-count // size)
