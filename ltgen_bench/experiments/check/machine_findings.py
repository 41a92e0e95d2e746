"""Checks of versions, device, memory and disk."""

import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement  # matplotlib brings it along

from ltgen_bench.core.files import CACHE_VARIABLE
from ltgen_bench.experiments.check.finding import Finding, Machine, at_least, at_most, note
from ltgen_bench.runtime.device import hardware, versions
from ltgen_bench.runtime.memory import free_memory
from ltgen_bench.runtime.precision import exact_float32

MEMORY_GB, DISK_GB = 1.0, 1.0  # for the digits; 50,000 images of 2048 features take 3 and 1


def installed(machine: Machine) -> Iterator[Finding]:
    """Check that every required package is installed in a supported version."""
    yield note("versions", ", ".join(f"{name} {number}" for name, number in versions().items()))
    wrong = []
    for line in requires("ltgen-bench") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            number = version(requirement.name)
        except PackageNotFoundError:
            number = "missing"
        if number == "missing" or not requirement.specifier.contains(number, prereleases=True):
            wrong.append(f"{requirement.name} {number}")
    yield Finding("required packages", "FAILED" if wrong else "ok", ", ".join(wrong) or "all there",
                  "the versions that pyproject.toml states")


def arithmetic(machine: Machine) -> Iterator[Finding]:
    """Check that a convolution on the device is computed in float32, not in a shorter format."""
    device = machine.context.device
    facts = hardware(device)
    yield note("device", f"{facts['device']}: {facts['device_name']}, {facts['threads']} threads")
    generator = torch.Generator().manual_seed(0)
    images, weights = (torch.randn(shape, generator=generator, dtype=torch.float64)
                       for shape in ((4, 64, 16, 16), (64, 64, 3, 3)))
    exact = torch.nn.functional.conv2d(images, weights)
    with exact_float32():
        found = torch.nn.functional.conv2d(images.float().to(device), weights.float().to(device)).double().cpu()
    yield at_most("convolutions in float32", float((found - exact).abs().max() / exact.abs().max()), 1e-5)


def memory_and_disk(machine: Machine) -> Iterator[Finding]:
    """Free memory, and a cache folder that can be written, with space left."""
    yield at_least("free memory", free_memory() / 1e9, MEMORY_GB, "GB")
    folder = machine.context.cache
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding("cache folder", "FAILED", f"{folder}: {error.strerror or error}", f"writable; {CACHE_VARIABLE} moves it")
        return
    yield note("cache folder", str(folder))
    yield at_least("free disk there", shutil.disk_usage(folder).free / 1e9, DISK_GB, "GB")
