"""The training job on a small network: what it learns does not depend on where or how it runs."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import fsspec
import obstore
import pytest
import torch
from ray.train import WorkerGroupError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.cli import main
from pipelines.settings.load import load_config
from pipelines.storage.store import open_bucket
from pipelines.train.cluster import cause_of
from pipelines.train.config import DataConfig, TrainConfig
from pipelines.train.job import run_train
from possam_core.checkpoints.weights import load_model
from possam_core.errors import CheckpointError, ConfigError, GroundTruthError
from possam_core.playground import write_corpus
from possam_core.training.resume import Progress
from possam_core.vocabulary.vocabulary import load_vocabulary

POSSAM = Path(sys.executable).with_name("possam")


def write_config(folder: Path, model: str, **loop: object) -> Path:
    """Settings of a training on scenes; it measures on one scene at its end."""
    settings = {"num_steps": 2, "batch_size": 4, "log_every": 1, "precision": "float32"} | loop
    file = folder / "train.yaml"
    file.write_text(
        f"""
output: {folder}/run
network: {{checkpoint: {model}}}
data: {{source: playground, num_scenes: 6, scene_seed: 1, seen_only: true}}
validation: {{source: playground, num_scenes: 2, scene_seed: 2}}
augment: {{min_scale: 0.5, max_scale: 2}}
loop: {{{", ".join(f"{name}: {value}" for name, value in settings.items())}}}
num_examples: 1
"""
    )
    return file


def make_config(folder: Path, model: str, **loop: object) -> TrainConfig:
    return load_config(TrainConfig, write_config(folder, model, **loop), {})


def read_scalars(run: Path) -> dict[str, dict[int, float]]:
    """By name, the figures of each step, as TensorBoard shows them."""
    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: {e.step: e.value for e in events.Scalars(name)} for name in names}


def test_a_training_that_is_killed_goes_on_with_the_same_losses(
    tmp_path: Path, tiny_model: str
) -> None:
    file = write_config(tmp_path, tiny_model, num_steps=30, save_every=2, evaluate_every=100)
    config = load_config(TrainConfig, file, {})
    whole = replace(config, output=str(tmp_path / "whole"))
    run_train(whole)

    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [POSSAM, "train", file], env=environment, stderr=subprocess.PIPE, text=True
    )
    state, deadline = tmp_path / "run/possam.state.pt", time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors

    done = torch.load(state, weights_only=True)["progress"]["step"]
    assert 2 <= done < 30
    time.sleep(1)  # TensorBoard orders files by the second that they were begun in
    report = run_train(config)
    assert report.num_new == 30 - done
    losses = read_scalars(tmp_path / "whole")["train/loss"]
    assert sorted(losses) == list(range(1, 31))
    assert read_scalars(tmp_path / "run")["train/loss"] == losses
    assert run_train(config).num_new == 0


def test_a_checkpoint_says_what_it_learned_and_how_well(tmp_path: Path, tiny_model: str) -> None:
    report = run_train(make_config(tmp_path, tiny_model))
    best = load_model(str(tmp_path / "run/best.safetensors"))
    assert best.card.metrics["step"] == 2
    assert best.card.metrics["held_out"] == report.best
    assert set(report.best) == {"all", "things", "stuff", "seen", "unseen"}
    assert best.card.metrics["settings"]["augment.max_scale"] == 2.0
    assert best.card.vocabulary.name == "playground-seen"
    assert load_model(str(tmp_path / "run/last.safetensors")).card.metrics["step"] == 2
    events = EventAccumulator(str(tmp_path / "run/logs"))
    events.Reload()
    assert events.Tags()["images"] == ["held-out/0"]


def test_two_workers_learn_what_one_does(
    tmp_path: Path, tiny_model: str, ray_cluster: None
) -> None:
    config = make_config(tmp_path, tiny_model, images_at_once=1)
    alone = run_train(replace(config, output=str(tmp_path / "alone")))
    together = run_train(replace(config, num_workers=2))
    assert len(together.weights_sha256) == 2
    assert len(set(together.weights_sha256)) == 1
    assert alone.loss is not None
    assert together.loss == pytest.approx(alone.loss, rel=1e-5)
    assert together.best == pytest.approx(alone.best, abs=0.5)
    weights = [
        torch.load(tmp_path / name / "possam.state.pt", weights_only=True)["module"]["ldp.void"]
        for name in ("alone", "run")
    ]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)

    with pytest.raises(ConfigError, match="a CPU for each of 4 workers"):
        run_train(replace(config, num_workers=4, output=str(tmp_path / "y")))


def test_the_command_reports_the_error_of_a_worker() -> None:
    wrong = GroundTruthError("expected a PNG in a.png")
    lost = RuntimeError("Traceback\n  gloo: connection closed by peer")
    assert cause_of(WorkerGroupError("two failed", {0: lost, 1: wrong})) is wrong
    message = str(cause_of(WorkerGroupError("one failed", {0: lost})))
    assert "one was lost (gloo: connection closed by peer); run the same command again" in message


def coco(corpus: Path | str, vocabulary: str = "playground") -> DataConfig:
    return DataConfig(
        source="coco-panoptic",
        vocabulary=vocabulary,
        images=f"{corpus}/images",
        annotations=f"{corpus}/panoptic.json",
        masks=f"{corpus}/panoptic",
    )


def test_data_and_output_may_lie_in_a_bucket(
    tmp_path: Path, tiny_model: str, s3_server: str
) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, num_images=4, seed=5)
    bucket = fsspec.filesystem("s3")
    bucket.makedirs("trainings", exist_ok=True)
    bucket.put(str(corpus), "trainings/corpus", recursive=True)
    config = make_config(tmp_path, tiny_model)
    local = replace(config, data=coco(corpus), validation=coco(corpus))
    afar = replace(
        config,
        output="s3://trainings/run",
        data=coco("s3://trainings/corpus"),
        validation=coco("s3://trainings/corpus"),
    )
    expected, report = run_train(local), run_train(afar)
    assert report.loss == expected.loss
    assert report.best == expected.best
    store = open_bucket("trainings")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(bytes(obstore.get(store, "run/best.safetensors").bytes()))
    assert load_model(str(copy)).card.metrics["held_out"] == expected.best
    names = {m["path"] for page in obstore.list(store, "run") for m in page}
    assert {"run/last.safetensors", "run/possam.state.pt", "run/settings.json"} <= names
    assert any(name.startswith("run/logs/events.out.tfevents") for name in names)
    assert run_train(afar).num_new == 0


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> str:
    """The message of the command for a mistake."""
    monkeypatch.setattr(sys, "argv", ["possam", "train", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_bad_input_is_one_sentence_that_names_it(
    tmp_path: Path,
    tiny_model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, num_images=1, seed=5)
    few = tmp_path / "few.yaml"
    few.write_text("name: few\nclasses: [{name: apple, kind: thing}]\n")
    assert len(load_vocabulary(few)) == 1
    file = write_config(tmp_path, tiny_model)
    coco_data = (
        f"data: {{source: coco-panoptic, vocabulary: {few}, images: {corpus}/images,"
        f" annotations: {corpus}/panoptic.json}}"
    )
    text = file.read_text()
    lines = [coco_data if line.startswith("data:") else line for line in text.splitlines()]
    file.write_text("\n".join(lines))
    message = call(capsys, monkeypatch, file)
    assert f"{corpus}/panoptic.json" in message
    assert "is of the class" in message

    file.write_text(text.replace("num_steps", "num_stepz"))
    assert "did you mean 'num_steps'?" in call(capsys, monkeypatch, file)
    file.write_text(text)
    assert "expected a GPU for gpus_per_worker" in call(
        capsys, monkeypatch, file, "--gpus-per-worker", "1"
    )


def test_a_state_of_another_architecture_is_refused(tmp_path: Path, tiny_model: str) -> None:
    config = make_config(tmp_path, tiny_model)
    state = {
        "module": {"head": torch.zeros(1)},
        "optimizer": {},
        "progress": asdict(Progress(step=1)),
    }
    (tmp_path / "run").mkdir()
    torch.save(state, tmp_path / "run/possam.state.pt")
    with pytest.raises(CheckpointError, match=r"possam\.state\.pt to be of this architecture"):
        run_train(config)
