"""PyTorch in R's process comes with its own symbols."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_pytorch_comes_with_its_own_symbols(warm, tmp_path):
    code = (
        "import os, sys; from r_bridge.torch_in_r import import_torch\n"
        "flags = sys.getdlopenflags()\n"
        "assert 'torch' not in sys.modules\n"
        "assert import_torch() and import_torch()\n"
        "assert sys.getdlopenflags() == flags\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    late = "import torch; from r_bridge.torch_in_r import import_torch; assert not import_torch()"
    assert warm.run("-c", late, folder=tmp_path).returncode == 0
