from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from possam_core.errors import ConfigError
from possam_core.training.loop import StageConfig, StepResult, learning_rate, train_stage


def make_config(num_steps: int = 6, **changes: int) -> StageConfig:
    settings = {"batch_size": 1, "warmup_steps": 2, "log_every": 100, "save_every": 2} | changes
    return StageConfig(name="toy", num_steps=num_steps, **settings)


def run(folder: Path, config: StageConfig, stop_after: int | None = None) -> list[float]:
    """Fit a line to noise; the losses of the steps that ran. Stops as a kill would."""
    torch.manual_seed(0)
    line = nn.Linear(2, 1)
    losses: list[float] = []

    def step(index: int, rng: np.random.Generator) -> StepResult:
        if index == stop_after:
            raise KeyboardInterrupt
        points = torch.from_numpy(rng.normal(size=(4, 2))).float()
        loss = (line(points) - points.sum(dim=1, keepdim=True)).square().mean()
        losses.append(loss.item())
        return StepResult(loss, {})

    train_stage(line, config, folder, step=step)
    return losses


def test_a_resumed_stage_has_the_losses_of_an_undisturbed_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = run(tmp_path / "whole", make_config())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", make_config(), stop_after=5)
    assert run(tmp_path / "killed", make_config()) == whole[4:]  # saved after step 4


def test_a_finished_stage_does_nothing(tmp_path: Path) -> None:
    run(tmp_path, make_config())
    assert run(tmp_path, make_config()) == []


def test_the_rate_warms_up_to_its_peak_and_falls_to_a_hundredth() -> None:
    config = make_config(num_steps=100)
    assert learning_rate(0, config) == pytest.approx(config.learning_rate / 2)
    assert learning_rate(2, config) == pytest.approx(config.learning_rate)
    assert learning_rate(100, config) == pytest.approx(config.learning_rate / 100)


def test_a_stage_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one step"):
        make_config(num_steps=0)
