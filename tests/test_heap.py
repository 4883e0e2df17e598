"""Freed memory of the host is kept for the next arrays, each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpugrad.heap import _is_glibc

# Two passes that leave many arrays of a megabyte and free them all: the second one's new pages.
PROGRAM = """
import resource
import numpy as np
import gpugrad

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 17) for _ in range(100)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""
PAGES = 100 * (1 << 20) // 4096


def run(program, **variables):
    plain = {k: v for k, v in os.environ.items() if "MALLOC" not in k and k != "GLIBC_TUNABLES"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**plain, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def new_pages(**variables):
    done = run(PROGRAM, **variables)
    assert not done.returncode, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not _is_glibc(), reason="the C library is not glibc")
def test_freed_memory_is_kept():
    assert new_pages() < PAGES / 20


@pytest.mark.skipif(not _is_glibc(), reason="the C library is not glibc")
@pytest.mark.parametrize(
    "variables",
    [
        {"GPUGRAD_HOST_MEMORY_KEPT": "0"},
        {"GPUGRAD_HOST_MEMORY_KEPT": str(20 << 20)},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
    ids=["nothing", "a limit", "the user's variable", "the user's tunable"],
)
def test_freed_memory_is_kept_within_the_users_limit(variables):
    assert new_pages(**variables) > PAGES / 2


def test_a_limit_that_is_no_number_of_bytes():
    done = run("import gpugrad", GPUGRAD_HOST_MEMORY_KEPT="1GB")
    assert done.returncode
    assert "GPUGRAD_HOST_MEMORY_KEPT='1GB': expected a number of bytes" in done.stderr
