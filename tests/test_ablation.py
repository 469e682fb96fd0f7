"""The study of PosSAM's parts, at its smallest, and the arithmetic of its table."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ablation.measure import bootstrap, pq
from benchmarks.ablation.study import ROWS, StudyRecipe, run_study
from benchmarks.ablation.table import BEGIN, END, figures, markdown, write_table
from possam_core.checkpoints.weights import save_model
from tests.factories import small_model


def test_the_ablation_trains_measures_and_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.ablation.ensembles.TAUS", (0.5,))
    monkeypatch.setattr("benchmarks.ablation.ensembles.WEIGHTS", (0.4, 0.8))
    for name in ("OBJECT_THRESHOLDS", "OVERLAP_THRESHOLDS", "ETAS"):
        monkeypatch.setattr(f"benchmarks.ablation.measure.{name}", (0.5,))
    checkpoint = tmp_path / "small.safetensors"
    save_model(checkpoint, small_model())
    recipe = StudyRecipe(
        checkpoint=str(checkpoint),
        num_steps=1,
        batch_size=4,
        num_scenes=16,
        seeds=(1,),
        head_scenes=16,
        head_steps=2,
        progress_scenes=1,
        tuning_scenes=1,
        report_scenes=1,
    )
    cpu = torch.device("cpu")
    run_study(recipe, tmp_path, cpu, num_processes=1, only_train=True)
    networks = list(tmp_path.glob("*-?.safetensors"))
    assert len(networks) == 4
    assert not list(tmp_path.glob("*.npz"))
    trained = [(file.stat().st_mtime_ns, file.read_bytes()) for file in networks]
    run_study(recipe, tmp_path, cpu, num_processes=1)
    now = [(file.stat().st_mtime_ns, file.read_bytes()) for file in networks]
    assert now == trained, "measured is what was trained"
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}
    assert len(written) == 8, (
        "two worlds, with SAM's features and without, CLIP as it is and harder"
    )
    run_study(recipe, tmp_path, cpu, num_processes=1)
    assert written == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}

    whole = tmp_path / "playground-sam-1.npz"
    with np.load(whole) as counts:
        before = dict(counts)
    np.savez_compressed(whole, **{k: c for k, c in before.items() if not k.startswith("MASE 3|")})
    run_study(recipe, tmp_path, cpu, num_processes=1)
    with np.load(whole) as counts:
        after = dict(counts)
    assert after.keys() == before.keys(), "a row that is new is measured, the others stay"
    assert all(np.array_equal(after[key], before[key]) for key in before)

    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_table(page, markdown(figures(recipe, tmp_path)))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert all(f"| {row.name} |" in text for row in ROWS)


def test_pq_of_counts_is_the_mean_over_the_classes_that_occur() -> None:
    # Two hits of IoU 0.8 and 0.6 and a miss: 1.4 / 2.5 = 0.56; a class of false positives: 0.
    counts = np.array([[2, 0, 1, 1.4], [0, 3, 0, 0], [0, 0, 0, 0]], float)
    assert pq(counts) == pytest.approx(28.0)


def test_a_bootstrap_of_equals_is_zero_and_of_a_sure_gain_lies_above_it() -> None:
    worse = np.tile([[[1.0, 0, 1, 0.6]]], (2, 30, 1, 1))  # in every scene PQ 0.6 / 1.5 = 0.4
    better = np.tile([[[2.0, 0, 0, 1.2]]], (2, 30, 1, 1))  # in every scene 0.6
    np.testing.assert_allclose(bootstrap(worse, worse), 0)
    np.testing.assert_allclose(bootstrap(better, worse), 20)
