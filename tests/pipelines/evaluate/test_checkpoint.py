"""A checkpoint is measured on labelled images: figures, record, page, command."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import s3fs
import torch
from PIL import Image
from playwright.sync_api import Browser, expect
from rich.console import Console
from safetensors.torch import save_file

from pipelines.cli import main
from pipelines.cli.labelled_data import FIT_SCENES, FIT_SEED, data_settings
from pipelines.evaluate import (
    EvaluateConfig,
    EvaluationPage,
    ModelEvaluation,
    evaluate_model,
    to_record,
    to_terminal,
    write_model_page,
)
from pipelines.evaluate.checkpoint import measure_images, open_teacher
from pipelines.train.config import DataConfig
from pipelines.train.data import open_images
from possam_core.checkpoints.models import promised_grades
from possam_core.checkpoints.weights import load_model
from possam_core.errors import ConfigError
from possam_core.evaluation.measurement import Measurement
from possam_core.playground import PLAYGROUND, write_corpus
from possam_core.training.tiny.train import TinyRecipe
from tests.pipelines.browser import WatchedPage

NUM_SCENES = 6
NOTHING = "\N{EN DASH}"  # in a table
SCENES = DataConfig(source="playground", num_scenes=NUM_SCENES, scene_seed=21)


@pytest.fixture(scope="module")
def evaluation() -> ModelEvaluation:
    """Of possam-tiny on a few scenes."""
    return evaluate_model(EvaluateConfig(model="possam-tiny", data=SCENES))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scenes in COCO panoptic format."""
    folder = tmp_path_factory.mktemp("coco") / "corpus"
    write_corpus(folder, num_images=NUM_SCENES, seed=21)
    return folder


def coco(folder: Path | str) -> DataConfig:
    return DataConfig(
        source="coco-panoptic",
        annotations=f"{folder}/panoptic.json",
        images=f"{folder}/images",
        vocabulary="playground",
    )


def rounded(value: object) -> object:
    """JSON with its floats to twelve decimals."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 12) if isinstance(value, float) else value


def test_all_kinds_of_figures_are_measured(evaluation: ModelEvaluation) -> None:
    record = to_record(evaluation)
    assert record["num_images"] == NUM_SCENES == len(record["images"])
    assert set(record["panoptic"]) == {"all", "things", "stuff", "seen", "unseen"}
    assert set(record["semantic"]) == set(record["panoptic"])
    assert 0.2 < record["panoptic"]["all"]["pq"] < 1
    assert 0.2 < record["semantic"]["all"]["miou"] < 1
    assert 0.02 < record["instances"]["ap"] < record["instances"]["ap50"] < 1
    assert len(record["classes"]) == len(PLAYGROUND.vocabulary)
    assert set(record["reliability"]) == {"predicted_iou", "class_score", "score"}
    num_true = sum(image["num_true"] for image in record["images"])
    pairs = record["segment_pairs"]
    assert sum(pair["num"] for pair in pairs if pair["true"]) == num_true
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_grades_of_other_classes_promise_nothing(
    evaluation: ModelEvaluation, tmp_path: Path, browser: Browser
) -> None:
    assert evaluation.uncalibrated is None
    assert all(grade.expected_pq is not None for grade in evaluation.grades)
    data = DataConfig(source="playground", world="workshop", num_scenes=2, scene_seed=5)
    config = EvaluateConfig(model="possam-tiny", data=data, num_worst=1)
    other = evaluate_model(config)
    assert other.uncalibrated is not None
    assert "not with workshop" in other.uncalibrated
    assert to_record(other)["uncalibrated"] == other.uncalibrated
    assert {grade.expected_pq for grade in other.grades} == {None}
    stream = io.StringIO()
    Console(file=stream, width=400).print(to_terminal(other))
    assert f"not calibrated here: {other.uncalibrated}" in stream.getvalue()
    address = write_model_page(EvaluationPage(str(tmp_path / "page")), other, config)
    page = WatchedPage(browser).open(address)
    expect(page.locator("#grades .soft")).to_contain_text("not calibrated here: the model was")
    card = page.locator(".pair .facts")
    expect(card).to_contain_text("grade uncalibrated")
    expect(card).not_to_contain_text("expected")


def test_shares_of_the_images_add_up_to_the_whole(evaluation: ModelEvaluation) -> None:
    images = open_images(SCENES)
    predictor = open_teacher(EvaluateConfig(model="possam-tiny", data=SCENES), images)
    shares = [
        sum(measure_images(predictor, images, range(start, NUM_SCENES, 2)), Measurement())
        for start in (1, 0)
    ]
    total = ModelEvaluation(
        model=evaluation.model,
        fingerprint=evaluation.fingerprint,
        data=SCENES,
        calibration=evaluation.calibration,
        uncalibrated=evaluation.uncalibrated,
        figures=replace(evaluation.figures, measurement=sum(shares, Measurement())),
    )
    assert rounded(to_record(total)) == rounded(to_record(evaluation))


def test_a_bucket_in_coco_format_gives_the_figures_of_the_folder(
    corpus: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3fs.S3FileSystem()
    bucket.mkdir("measured")
    bucket.put(str(corpus), "measured/corpus", recursive=True)
    records = [
        to_record(evaluate_model(EvaluateConfig(model="possam-tiny", data=coco(place))))
        for place in (corpus, "s3://measured/corpus")
    ]
    assert records[0]["panoptic"]["all"]["pq"] > 0.2
    for record in records:
        del record["data"]
    assert records[0] == records[1]


def test_the_worst_images_come_first(evaluation: ModelEvaluation) -> None:
    worst = evaluation.figures.worst_images(3)
    qualities = [
        image.pq for image in evaluation.figures.measurement.images if image.pq is not None
    ]
    assert [image.pq for image in worst] == sorted(qualities)[:3]


def test_the_page_shows_figures_classes_confusion_and_the_worst_images(
    evaluation: ModelEvaluation, tmp_path: Path, browser: Browser
) -> None:
    folder = tmp_path / "page"
    config = EvaluateConfig(model="possam-tiny", data=SCENES, report=str(folder), num_worst=2)
    index = write_model_page(EvaluationPage(str(folder)), evaluation, config)
    watched = WatchedPage(browser)
    page = watched.open(index, state="drawn")
    assert f"{100 * evaluation.figures.quality['all'].pq:.1f}" in page.inner_text(
        "#figures .totals"
    )
    rows = page.locator("#class-table tbody tr")
    assert rows.count() == len(PLAYGROUND.vocabulary)
    page.click("#class-table th[data-key=iou] button")
    shown = page.locator("#class-table tbody td:nth-child(7)").all_inner_texts()
    ious = [float(text) for text in shown if text != NOTHING]
    assert ious == sorted(ious, reverse=True)
    assert shown[: len(ious)].count(NOTHING) == 0  # classes without truth come last
    page.fill("#class-search", "grass")
    assert rows.all_inner_texts()[0].startswith("grass")
    assert page.locator("#heat .heatmaplayer image, #heat .hm").count() >= 1
    assert page.locator("#curves figure").count() == 3
    assert page.locator("#cards .pair").count() == 2
    assert page.locator("#cards .photo").first.evaluate("image => image.naturalWidth") > 50
    assert page.locator("#cards .mistakes li").count() >= 2
    assert watched.messages == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in watched.requests)


def test_the_page_is_written_anew_over_an_earlier_one_and_over_nothing_else(
    evaluation: ModelEvaluation, tmp_path: Path
) -> None:
    place = str(tmp_path / "page")
    config = EvaluateConfig(model="possam-tiny", data=SCENES, report=place, num_worst=1)
    written = [write_model_page(EvaluationPage(place), evaluation, config) for _ in range(2)]
    assert written[0] == written[1]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/index.html").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else; choose another --report"):
        EvaluationPage(str(tmp_path / "other"))
    assert (tmp_path / "other/index.html").read_text() == "mine"


Call = Callable[..., tuple[object, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `possam evaluate` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["possam", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code, *capsys.readouterr())

    return run


def test_the_command_prints_figures_or_json_and_writes_a_page(
    call: Call, tiny_model: str, tmp_path: Path
) -> None:
    scenes = ("--data", "workshop", "--num-scenes", 2, "--scene-seed", 5)
    code, out, _ = call(tiny_model, *scenes, "--report", tmp_path / "page")
    assert code == 0
    assert "Average precision" in out
    assert (tmp_path / "page/index.html").exists()
    record = json.loads(call(tiny_model, *scenes, "--json")[1])
    assert (record["num_images"], record["data"]["world"]) == (2, "workshop")
    assert record["page"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["possam-tiny"], ["expected --data"]),
        (["possam-tiny", "--ground-truth", "a.json"], ["--ground-truth, which is for runs"]),
        (["nowhere"], ["--ground-truth with the run nowhere", "--data with a checkpoint"]),
        (["posam-tiny", "--data", "playground"], ["did you mean 'possam-tiny'"]),
        (["possam-tiny", "--data", "playgroud"], ["did you mean 'playground'"]),
        (["possam-tiny", "--data", "a.json"], ["vocabulary must be named", "images must be named"]),
        (["possam-tiny", "--data", "playground", "--images", "x"], ["images must be left out"]),
        (
            ["possam-tiny", "--data", "workshop", "--limit", "0"],
            ["--limit must be at least 1, got 0"],
        ),
        (
            ["possam-tiny", "--data", "playground", "--num-scenes", "0"],
            ["--num-scenes must be 1 to"],
        ),
        (["possam-tiny", "--data", "playground", "--precision", "float16"], ["'bfloat16'"]),
        (["nowhere.safetensors", "--data", "playground"], ["nowhere.safetensors"]),
    ],
)
def test_wrong_combinations_are_refused_in_one_sentence(
    call: Call, arguments: list[str], words: list[str]
) -> None:
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(word in err for word in words)


def test_a_run_takes_ground_truth_and_no_data(call: Call, make_run) -> None:  # type: ignore[no-untyped-def]
    small = make_run(2)
    truth = ("--ground-truth", small.ground_truth)
    code, out, _ = call(small.run, *truth)
    assert (code, "100.0" in out) == (0, True)
    code, out, _ = call(small.run, *truth, "--json")
    assert (code, json.loads(out)["panoptic"]["all"]["pq"]) == (0, 1.0)
    gpu = ("--gpus-per-worker", 1)
    code, _, err = call(small.run, "--data", "playground", "--num-scenes", 3, *gpu)
    assert code == 2
    assert "expected --ground-truth with the run" in err
    assert "--data, --num-scenes, --gpus-per-worker" in err


def evaluate_coco(call: Call, corpus: Path, vocabulary: str = "playground") -> tuple[object, str]:
    data = ("--data", corpus / "panoptic.json", "--images", corpus / "images")
    code, _, err = call("possam-tiny", *data, "--vocabulary", vocabulary)
    return code, err


def test_bad_data_is_named_in_one_sentence(call: Call, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", num_images=1, seed=21)
    path = tmp_path / "corpus/panoptic.json"
    content = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    first = names[content["annotations"][0]["segments_info"][0]["category_id"]]

    assert evaluate_coco(call, tmp_path / "corpus", "coco-panoptic")[0] == 2
    code, err = evaluate_coco(call, tmp_path / "corpus", "cityscapes")
    assert (code, err.count("\n")) == (2, 1)
    assert str(path) in err
    assert repr(first) in err

    mask = tmp_path / "corpus/panoptic/scene-00000.png"
    ids = np.asarray(Image.open(mask)).copy()
    ids[0, 0] = (200, 7, 0)
    Image.fromarray(ids).save(mask)
    code, err = evaluate_coco(call, tmp_path / "corpus")
    assert (code, err.count("\n")) == (2, 1)
    assert "scene-00000.png to hold only ids" in err
    assert "1992" in err

    path.write_text(json.dumps(content | {"annotations": []}))
    code, err = evaluate_coco(call, tmp_path / "corpus")
    assert (code, "expected annotated images" in err) == (2, True)


def test_a_checkpoint_of_another_architecture_is_named(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "detector.safetensors"
    save_file({"backbone.weight": torch.zeros(2)}, file)
    code, _, err = call(file, "--data", "playground", "--num-scenes", 1)
    assert (code, err.count("\n")) == (2, 1)
    assert "detector.safetensors" in err


def test_a_checkpoint_is_calibrated_with_labelled_images_and_stays_the_same_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "calibrated.safetensors"
    scenes = ("--data", "playground", "--num-scenes", "44", "--scene-seed", "31")
    command = ["possam", "calibrate", "possam-tiny", *scenes, "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert "fitted on 22 images, measured on 22 others" in capsys.readouterr().out
    before, after = load_model("possam-tiny"), load_model(str(output))
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=0, atol=0)
    assert after.card.metrics["quality"] == before.card.metrics["quality"]
    assert after.card.inference.merge == before.card.inference.merge
    assert after.card.inference.calibration.expected_pq is not None
    grades = promised_grades(str(output))
    assert grades is not None
    assert sum(record["images"] for record in grades.values()) == 22

    data = DataConfig(source="playground", num_scenes=4, scene_seed=77)
    evaluation = evaluate_model(EvaluateConfig(model=str(output), data=data))
    assert all(image.expected_pq is not None for image in evaluation.figures.measurement.images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "a.bin", "--data", "playground"], "expected a .safetensors file"),
        (["--output", "no/a.safetensors", "--data", "playground"], "existing folder"),
        (
            ["--output", "a.safetensors", "--data", "playground", "--num-scenes", "1"],
            "two images at least",
        ),
    ],
)
def test_invalid_input_of_calibration_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["possam", "calibrate", "possam-tiny", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    err = capsys.readouterr().err
    assert (caught.value.code, err.count("\n"), words in err) == (2, 1, True)
    assert list(tmp_path.iterdir()) == []


def test_calibration_needs_data_and_by_default_fits_on_scenes_that_no_table_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["possam", "calibrate", "possam-tiny", "--output", "a"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "Missing option '--data'" in capsys.readouterr().err
    drawn = data_settings("m", "playground", {}, scenes=(FIT_SCENES, FIT_SEED))
    recipe = TinyRecipe()
    assert (drawn["num_scenes"], drawn["scene_seed"]) == (
        recipe.calibration_scenes,
        recipe.calibration_seed,
    )
    assert data_settings("m", "playground", {})["scene_seed"] == recipe.report_seed != FIT_SEED
