"""Benchmarks that need what is seldom at hand, on small things, so that they are found sound."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import ensembles, limits, photographs
from benchmarks.gpu import matmul_flops, measure
from benchmarks.gpu_parts import useful_flops
from benchmarks.precision import measure as measure_precision
from possam_core.checkpoints.weights import load_model
from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.encoders.mobile_sam import MobileSamEncoder, official_key
from possam_core.encoders.sam import SAM_CONFIGS
from possam_core.playground import PLAYGROUND, write_corpus
from possam_core.predictor import load_predictor
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.vocabulary.builtin import find_vocabulary
from tests.factories import small_model


def test_the_gpu_benchmark_runs_through_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.gpu.MATMUL_SIDE", 64)
    monkeypatch.setattr("benchmarks.gpu.BATCH_SIZE", 2)
    monkeypatch.setattr("benchmarks.gpu.KEPT_MASKS", 3)
    cpu = torch.device("cpu")
    rows = dict(measure("tiny", small_model().config, cpu, matmul_flops(cpu)))
    for form in ("bias added to each score", "bias spelt out"):
        assert rows[f"tiny encoder, bfloat16, {form}"].endswith("of peak")
    assert rows["tiny waits of the host in a batch"] == "0"
    for part in ("SAM", "CLIP", "pyramid", "pixel decoder", "mask decoder", "classify", "merge"):
        assert " ms a batch" in rows[f"tiny {part}"]
    assert " TFLOP, " in rows["tiny SAM"]
    assert float(rows["tiny bfloat16 = float32"].split("%")[0]) > 90


def test_useful_operations_leave_out_what_windows_pad() -> None:
    # 64 x 64 tokens; windows of 14 leave one of 8 at the edge: (4 * 14^2 + 8^2)^2 pairs.
    products, whole, windows = 24 * 4096 * 768**2 * 12, 4096**2, (4 * 14**2 + 8**2) ** 2
    expected = products + 4 * 768 * (4 * whole + 8 * windows)
    assert useful_flops(SAM_CONFIGS["vit_b"]) == expected


def test_the_benchmark_of_bfloat16_finds_most_classes_unchanged_in_each_part() -> None:
    shares = measure_precision(load_predictor("possam-tiny"), 2)
    assert list(shares) == ["SAM's encoder", "CLIP's encoder", "decoders", "all of it"]
    assert all(len(of) == 2 and min(of) > 0.9 for of in shares.values())


def write_text(folder: Path, names: list[str]) -> None:
    """Rows 512 wide for `names`, in the files and formats of the real ones."""
    folder.mkdir(parents=True)
    (folder / "coco_stuff_171_names.json").write_text(json.dumps(names))
    rows = np.random.default_rng(0).normal(size=(len(names), 512)).astype(np.float16)
    np.save(folder / "coco_multi.npy", rows)


def write_shared(folder: Path) -> None:
    """Three playground scenes, random weights and random text, where the real things lie."""
    data, vocabulary = folder / "data", PLAYGROUND.vocabulary
    write_corpus(data / "coco128_train", num_images=3, seed=9)
    (data / "coco128_train/panoptic.json").rename(data / "coco128_train/panoptic_train.json")
    write_text(data / "clip_text_embeddings", [n for c in vocabulary.classes for n in c.all_names])
    tensors = MobileSamEncoder().state_dict()
    (data / "weights").mkdir()
    save_file(
        {f"image_encoder.{official_key(k)}": v for k, v in tensors.items()},
        data / "weights/mobile_sam.safetensors",
    )


def test_the_photographs_benchmark_runs_through_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_shared(tmp_path / "shared")
    loop = replace(photographs.LOOP, num_steps=2, batch_size=2, log_every=1, evaluate_every=2)
    settings = {
        "LOOP": loop,
        "CANVAS": 64,
        "VOCABULARY": "playground",
        "OUTPUT": tmp_path,
        "NUM_PHOTOGRAPHS": 2,
    }
    for name, value in settings.items():
        monkeypatch.setattr(photographs, name, value)
    monkeypatch.setattr(sys, "argv", ["photographs", "--shared", str(tmp_path / "shared")])
    photographs.main()
    first = json.loads((tmp_path / "photographs.json").read_text())
    photographs.main()
    again = json.loads((tmp_path / "photographs.json").read_text())

    assert first["photographs"] == ["scene-00000.jpg", "scene-00001.jpg"]
    assert [first["steps_timed"], again["steps_timed"]] == [2, 0]
    assert first["quality"]["truth on the mask grid"]["all"]["rq"] > 0.5
    corpus = tmp_path / "shared/data/coco128_train/images"
    widths = [Image.open(corpus / name).width for name in first["photographs"]]
    with Image.open(tmp_path / "photographs.png") as sheet:
        assert sheet.width == 2 * 3 * max(widths)  # two strips of photograph, truth and labels


def test_photographs_are_named_by_the_text_rows_of_their_classes(tmp_path: Path) -> None:
    vocabulary = find_vocabulary("coco-panoptic")
    clip = ClipEncoder(ClipConfig(embed_dim=512), image_size=48)
    published = {"brick wall": "wall-brick", "sky": "sky-other", "ceiling": "ceiling-other"}
    names = [published.get(c.name, c.name) for c in vocabulary.classes]
    write_text(tmp_path / "text", [*names, "hill", "clouds"])
    text = photographs.read_text(clip, vocabulary, tmp_path / "text")
    assert text.class_of_name.tolist() == [*range(133), vocabulary.class_index("mountain")]


def test_what_limits_a_checkpoint_is_found_beside_the_quality_that_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(limits, "NUM_SCENES", 4)
    monkeypatch.setattr(limits, "OUTPUT", tmp_path / "limits.json")
    monkeypatch.setattr(sys, "argv", ["limits"])
    limits.main()
    found = json.loads((tmp_path / "limits.json").read_text())
    model = load_model("possam-tiny")
    measured = HeldOutScenes(seed=limits.SEED, num_scenes=4).pq(model, model.card.inference)
    assert found["pq"]["as it is"] == pytest.approx(measured, abs=0.1)
    assert found["pq"]["true classes"]["all"] > measured["all"]
    steps = [found["things"][name] for name in limits.STEPS[:3]]  # a merge may mend what is cut
    assert steps == sorted(steps, reverse=True)
    assert sum(size["share of true things"] for size in found["by_size"].values()) == pytest.approx(
        100
    )


def test_ways_of_ensembling_are_compared_on_the_masks_of_one_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ensembles, "NUM_TUNING", 2)
    monkeypatch.setattr(ensembles, "NUM_REPORTED", 4)
    monkeypatch.setattr(ensembles, "OUTPUT", tmp_path / "ensembles.json")
    monkeypatch.setattr(sys, "argv", ["ensembles"])
    ensembles.main()
    rows = json.loads((tmp_path / "ensembles.json").read_text())["rows"]
    places = [(row["world"], row["way"]) for row in rows]
    assert places == [(w, way) for w in ("playground", "workshop") for way in ensembles.WAYS]
    for row in rows:
        (mase,) = (r for r in rows if (r["world"], r["way"]) == (row["world"], "MASE 1"))
        worth, low, high = row[ensembles.GAIN]
        assert worth == pytest.approx(mase["all"] - row["all"])
        assert low <= high
    playground = {row["way"]: row for row in rows if row["world"] == "playground"}
    assert playground["LDP alone"]["all"] > 20, "its own head names what it has learned"
