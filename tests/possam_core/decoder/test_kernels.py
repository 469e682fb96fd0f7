"""The kernels against the step-by-step forms, in Triton's interpreter, which needs no GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# In a process of its own: whether Triton interprets is settled when it is imported.
PROGRAM = """
import torch
from possam_core.decoder.deformable_attention import cell_centres, samples_around_cells
from possam_core.decoder.fused import add_norm
from possam_core.decoder.norm_kernel import norm_in_one_kernel
from possam_core.decoder.sampling_kernel import sample_in_one_kernel

torch.manual_seed(0)
grids = [(1, 2), (3, 5), (6, 10)]  # a level of one row, and 77 cells: not a multiple of a block
heads, points, channels, batch = 2, 3, 6, 2  # channels that are no power of two
cells = sum(height * width for height, width in grids)
numbers = 3 * heads * len(grids) * points
projected = torch.randn(batch, cells, heads * channels + numbers)
projected[..., heads * channels :] *= 3  # points well beyond the border
by_place = torch.randn(cells, numbers)
centres = cell_centres(grids, torch.device("cpu"))
padding = torch.rand(batch, cells) > 0.7
expected = samples_around_cells(
    projected, by_place, centres, padding, [s for g in grids for s in g], heads, points
)
found = sample_in_one_kernel(
    projected, by_place, centres, padding, grids, num_heads=heads, num_points=points
)
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
assert found.abs().max() > 1

first, second = torch.randn(4, 3, 6) * 5 + 2, torch.randn(4, 3, 6).bfloat16()
weight, bias = torch.randn(6), torch.randn(6)
expected = add_norm(first, second, weight, bias, 1e-5)
found = norm_in_one_kernel(first, second, weight, bias, 1e-5)
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="torch brought no Triton here")
def test_the_kernels_give_what_the_step_by_step_forms_give() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
