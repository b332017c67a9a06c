# SPDX-License-Identifier: GPL-3.0-or-later
"""The system tests that are marked "vm", on Debian's stock kernels, where BPF LSM works."""
import os
import pathlib
import subprocess

import pytest

RUN = pathlib.Path(__file__).with_name("run")
KERNELS = os.environ.get("ONCHANNEL_KERNELS", "6.1 6.12").split()


@pytest.fixture(scope="module")
def guests(tmp_path_factory):
    """All kernels at the same time: an emulated machine keeps one processor busy."""
    folder, running = tmp_path_factory.mktemp("vm"), {}
    for kernel in KERNELS:
        with open(folder / kernel, "wb") as out:
            running[kernel] = subprocess.Popen([RUN, kernel], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                               start_new_session=True)
    yield running, folder
    for process in running.values():
        if process.poll() is None:
            os.killpg(process.pid, 15)
            process.wait()


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(guests, kernel):
    running, folder = guests
    status = running[kernel].wait()
    print((folder / kernel).read_text(errors="replace"))
    assert status == 0, f"tests/vm/run {kernel}: exit status {status}"
