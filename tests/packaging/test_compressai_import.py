"""compressai loads beside any torch, and leaves no stand-ins behind."""

from __future__ import annotations

import subprocess
import sys


def test_it_loads_without_warnings_and_leaves_no_stand_in() -> None:
    code = (
        "import sys\n"
        "from ssvc_codec.training.compressai_import import ans, compressai, zoo\n"
        "stood_in = ('torchvision', 'torch_geometric', 'compressai.datasets')\n"
        "print([name for name in sys.modules if name.startswith(stood_in)], compressai.__version__, zoo.__name__)"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[] 1.2.8 compressai.zoo\n"


def test_modules_that_were_loaded_before_stay_what_they_were() -> None:
    code = (
        "import sys, types\n"
        "mine = sys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "import ssvc_codec.training.compressai_import\n"
        "print(sys.modules['torchvision'] is mine)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "True\n", result.stderr
