"""The GPU benchmark, on a small model and the CPU, so that the first GPU at hand finds it sound."""

import pytest
import torch

from benchmarks.gpu import matmul_flops, measure
from tests.factories import small_model


def test_the_gpu_benchmark_runs_through_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.gpu.MATMUL_SIDE", 64)
    monkeypatch.setattr("benchmarks.gpu.BATCH_SIZE", 2)
    monkeypatch.setattr("benchmarks.gpu.KEPT_MASKS", 3)
    cpu = torch.device("cpu")
    rows = dict(measure("tiny", small_model().config, cpu, matmul_flops(cpu)))
    assert rows["tiny encoder, bfloat16"].endswith("of peak")
    assert rows["tiny host syncs of a merge"] == "0"
    assert float(rows["tiny bfloat16 = float32"].split("%")[0]) > 90
