"""``import gpugrad`` stays light."""

from __future__ import annotations

import subprocess
import sys


def test_import_leaves_heavy_libraries_alone():
    code = (
        "import sys, gpugrad; "
        "heavy = {'cupy', 'numba', 'scipy', 'matplotlib', 'sklearn', 'torch', 'jax', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_numpy_code_does_not_import_cupy():
    code = (
        "import sys, numpy as np, gpugrad as gg; "
        "gg.grad(lambda x: np.sum(np.tanh(x) * x[np.array([0, 0])]))(np.ones(2)); "
        "gg.Array(1.0); gg.device('cpu'); print('cupy' in sys.modules, 'numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
