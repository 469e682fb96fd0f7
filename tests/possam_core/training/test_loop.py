import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from possam_core.errors import CheckpointError, ConfigError
from possam_core.training.files import LocalFolder
from possam_core.training.loop import DivergedError, train_stage
from possam_core.training.schedule import ScheduleConfig
from possam_core.training.stage import Evaluation, LoopConfig, Stage, StepResult


def make_config(num_steps: int = 6, **changes: object) -> LoopConfig:
    settings = {"batch_size": 1, "log_every": 1, "save_every": 2, "evaluate_every": 2} | changes
    schedule = ScheduleConfig(warmup_steps=2)
    return LoopConfig(num_steps=num_steps, schedule=schedule, **settings)


class Line:
    """Fits a line to noise: a stage whose steps take no time."""

    def __init__(self, *, num_inputs: int = 2, num_parts: int = 1, stop_at: int = -1) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(num_inputs, 1)
        self.num_parts, self.stop_at = num_parts, stop_at
        self.non_finite: tuple[int, ...] = ()  # steps
        self.losses: list[float] = []

    def learn(self, index: int) -> Iterator[StepResult]:
        if index == self.stop_at:
            raise KeyboardInterrupt
        points = self.points(index)
        for part in points.chunk(self.num_parts):
            error = self.module(part) - part.sum(dim=1, keepdim=True)
            loss = error.square().sum() / len(points)
            if index in self.non_finite:
                loss = loss * torch.nan
            yield StepResult(loss, {"error": float(error.detach().abs().sum()) / len(points)})
            self.losses.append(loss.item())

    def points(self, index: int) -> torch.Tensor:
        rng = np.random.default_rng(index)
        return torch.from_numpy(rng.normal(size=(4, self.module.in_features))).float()

    def stage(self, **changes: object) -> Stage:
        return Stage(
            name="line",
            module=self.module,
            learn=self.learn,
            batch_of=self.points,
            **changes,
        )


class Notes:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, dict[str, float]]] = []
        self.shown: list[tuple[int, Sequence[object]]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.noted.append((step, dict(values)))

    def examples(self, step: int, examples: Sequence[object]) -> None:
        self.shown.append((step, examples))


def test_a_resumed_stage_has_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, killed, resumed = Line(), Line(stop_at=5), Line()
    train_stage(whole.stage(), make_config(), LocalFolder(tmp_path / "whole"))
    folder = LocalFolder(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train_stage(killed.stage(), make_config(), folder)
    report = train_stage(resumed.stage(), make_config(), folder)
    assert resumed.losses == whole.losses[4:]  # saved after step 4
    assert (report.num_steps, report.num_new) == (6, 2)
    assert report.loss == pytest.approx(whole.losses[-1])


def test_gradients_of_an_earlier_stage_are_cleared(tmp_path: Path) -> None:
    fresh, used = Line(), Line()
    used.module.bias.requires_grad_(False).grad = torch.full((1,), 1e6)
    fresh.module.bias.requires_grad_(False)
    for line, folder in ((fresh, "fresh"), (used, "used")):
        train_stage(line.stage(), make_config(), LocalFolder(tmp_path / folder))
    assert used.losses == fresh.losses  # they would count when gradients are clipped


def test_a_finished_stage_does_nothing(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    train_stage(Line().stage(), make_config(), folder)
    again = Line()
    report = train_stage(again.stage(), make_config(), folder)
    assert again.losses == []
    assert (report.num_steps, report.num_new, report.loss) == (6, 0, None)


def test_a_step_in_parts_equals_the_whole_step(tmp_path: Path) -> None:
    whole, parted = Line(), Line(num_parts=4)
    train_stage(whole.stage(), make_config(), LocalFolder(tmp_path / "whole"))
    report = train_stage(parted.stage(), make_config(), LocalFolder(tmp_path / "parted"))
    torch.testing.assert_close(parted.module.weight, whole.module.weight)
    assert report.loss == pytest.approx(sum(parted.losses[-4:]))


def test_a_step_with_a_non_finite_gradient_is_skipped_and_counted(tmp_path: Path) -> None:
    line = Line()
    line.non_finite = (1, 2, 4)
    weights = []

    def learn(index: int) -> Iterator[StepResult]:
        weights.append(line.module.weight.detach().clone())
        yield from line.learn(index)

    stage = Stage(name="line", module=line.module, learn=learn)
    report = train_stage(stage, make_config(), LocalFolder(tmp_path))
    assert report.num_skipped == 3
    torch.testing.assert_close(weights[1], weights[3], rtol=0, atol=0)  # 1 and 2 did nothing
    assert not torch.equal(weights[3], weights[4])
    assert line.module.weight.isfinite().all()


def test_the_third_non_finite_step_in_a_row_stops_the_stage_and_keeps_its_batch(
    tmp_path: Path,
) -> None:
    line = Line()
    line.non_finite = (0, 2, 3, 4)
    with pytest.raises(DivergedError, match=r"3 steps in a row.*skipped-step-5\.worker-0\.pt"):
        train_stage(line.stage(), make_config(), LocalFolder(tmp_path))
    kept = torch.load(tmp_path / "line.skipped-step-5.worker-0.pt", weights_only=True)
    torch.testing.assert_close(kept, line.points(4))


def evaluations(*figures: float) -> Callable[[], Evaluation]:
    remaining = iter(figures)
    return lambda: Evaluation({"all": next(remaining)}, ["picture"])


def test_the_best_checkpoint_is_that_of_the_highest_figure_and_the_last_of_the_last_step(
    tmp_path: Path,
) -> None:
    stage = Line().stage(
        evaluate=evaluations(1.0, 3.0, 2.0),
        best_by="all",
        checkpoint=lambda step, figures: f"{step} {dict(figures)}".encode(),
    )
    report = train_stage(stage, make_config(), LocalFolder(tmp_path))
    assert (tmp_path / "best.safetensors").read_text() == "4 {'all': 3.0}"
    assert (tmp_path / "last.safetensors").read_text() == "6 {}"
    assert report.best == {"all": 3.0}
    assert not list(tmp_path.glob("*.partial"))


def test_a_resumed_stage_knows_the_best_figure_so_far(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)

    def stage(line: Line, *figures: float) -> Stage:
        return line.stage(
            evaluate=evaluations(*figures),
            best_by="all",
            checkpoint=lambda step, _: str(step).encode(),
        )

    with pytest.raises(KeyboardInterrupt):
        train_stage(stage(Line(stop_at=4), 5.0, 1.0), make_config(), folder)
    assert train_stage(stage(Line(), 4.0), make_config(), folder).best == {"all": 5.0}
    assert folder.read("best.safetensors") == b"2"


def test_an_observer_receives_figures_of_training_and_evaluation(tmp_path: Path) -> None:
    notes, line = Notes(), Line(num_parts=2)
    stage = line.stage(evaluate=evaluations(7.0))
    config = make_config(2, log_every=2)
    train_stage(stage, config, LocalFolder(tmp_path), observer=notes)
    (step, training), held_out = notes.noted
    assert step == 2
    assert training["train/loss"] == pytest.approx(sum(line.losses) / 2)  # the mean of two steps
    assert training["train/learning_rate"] == config.learning_rate
    assert training["train/skipped_steps"] == 0
    assert held_out == (2, {"held-out/all": 7.0})
    assert notes.shown == [(2, ["picture"])]


def test_after_evaluation_each_part_is_in_the_mode_it_was_in(tmp_path: Path) -> None:
    line = Line()
    line.module.add_module("learning", nn.Dropout())
    line.module.add_module("frozen", nn.Dropout().eval())
    seen = []

    def evaluate() -> Evaluation:
        seen.append([m.training for m in line.module.modules()])
        return Evaluation({})

    train_stage(line.stage(evaluate=evaluate), make_config(2), LocalFolder(tmp_path))
    assert seen == [[False, False, False]]
    assert [m.training for m in line.module.modules()] == [True, True, False]


def test_an_evaluation_that_fails_leaves_each_part_in_the_mode_it_was_in(tmp_path: Path) -> None:
    line = Line()
    line.module.add_module("frozen", nn.Dropout().eval())

    def evaluate() -> Evaluation:
        raise ArithmeticError("no figures today")

    with pytest.raises(ArithmeticError, match="no figures today"):
        train_stage(line.stage(evaluate=evaluate), make_config(2), LocalFolder(tmp_path))
    assert [m.training for m in line.module.modules()] == [True, False]


def test_frozen_weights_are_not_in_the_state(tmp_path: Path) -> None:
    line = Line()
    line.module.bias.requires_grad_(False)
    train_stage(line.stage(), make_config(2), LocalFolder(tmp_path))
    state = torch.load(tmp_path / "line.state.pt", weights_only=True)
    assert set(state["module"]) == {"weight"}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Line(num_inputs=3), r"weight has the shape \[1, 2\] instead of \[1, 3\]"),
        (nn.Sequential(nn.Linear(2, 1)), "is missing or unexpected"),
    ],
)
def test_a_state_of_another_architecture_is_refused_by_name(
    tmp_path: Path, other: Line | nn.Module, reason: str
) -> None:
    train_stage(Line().stage(), make_config(2), LocalFolder(tmp_path))
    module = other.module if isinstance(other, Line) else other
    stage = Stage(name="line", module=module, learn=lambda _: [])
    with pytest.raises(CheckpointError, match=f"line.state.pt to be of this.*{reason}"):
        train_stage(stage, make_config(), LocalFolder(tmp_path))


def test_a_damaged_state_is_refused_by_name(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"step": 3}, stream)
    for damaged in (b"noise", stream.getvalue()):
        (tmp_path / "line.state.pt").write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=r"line\.state\.pt, but it is damaged; start again"
        ):
            train_stage(Line().stage(), make_config(), LocalFolder(tmp_path))


def test_a_state_of_an_earlier_version_is_refused_and_the_weights_beside_it_are_kept(
    tmp_path: Path,
) -> None:
    progress = {"step": 3, "num_spoiled": 0, "num_spoiled_in_a_row": 0, "best": {}}
    state = {"module": {}, "optimizer": {}, "progress": progress}
    torch.save(state, tmp_path / "line.state.pt")
    with pytest.raises(CheckpointError) as caught:
        train_stage(Line().stage(), make_config(), LocalFolder(tmp_path))
    assert str(caught.value) == (
        f"expected the state of a training by this version in {tmp_path}/line.state.pt, but an"
        " earlier version wrote it, and it cannot be resumed; start again in another output;"
        " weights beside it, as last.safetensors, stay usable"
    )


def test_every_wrong_setting_of_a_loop_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        LoopConfig(num_steps=0, batch_size=0, images_at_once=0, learning_rate=0.0, seed=-1)
    for name in ("num_steps", "batch_size", "images_at_once", "learning_rate", "seed"):
        assert f"loop.{name}" in str(caught.value)
