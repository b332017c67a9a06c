# SPDX-License-Identifier: GPL-3.0-or-later
"""The system tests that are marked "vm", on Debian's stock kernels, where BPF LSM works."""
import os
import pathlib
import subprocess

import pytest

RUN = pathlib.Path(__file__).with_name("run")


@pytest.mark.parametrize("kernel", os.environ.get("ONCHANNEL_KERNELS", "6.1 6.12").split())
def test_kernel(kernel):
    result = subprocess.run([RUN, kernel], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace", check=False)
    print(result.stdout)
    assert result.returncode == 0, f"exit status {result.returncode}"
