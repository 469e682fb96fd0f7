"""A run finds its truth by class, id and path, wherever its images and the truth are.

Three small pictures: `day/a.jpg` is a person left of a tree, `night/a.jpg` a person above a tree,
`b.jpg` sky. Taken for each other, the first two match nowhere: their persons have an IoU of 1/3.
"""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from PIL import Image
from playwright.sync_api import Browser

from pipelines.cli import main
from pipelines.corpus.image import InputImage
from pipelines.corpus.source import read_source
from pipelines.evaluate import evaluate_run
from pipelines.evaluate.run import EvaluationReport
from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.fetch.image_reader import ImageReader
from pipelines.label.rows import label_row, shard_bytes
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import VOCABULARY_KEY, RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import PlanSettings, load_plan
from pipelines.train.config import DataConfig
from pipelines.train.data import open_images
from possam_core.errors import ConfigError, GroundTruthError
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.images.decode import decode_image
from possam_core.labels.id_colours import rgb_from_ids
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.factories import encode, make_pixels
from tests.pipelines.browser import WatchedPage
from tests.pipelines.export.true_runs import as_if_found

COCO = find_vocabulary("coco-panoptic")
PERSON, TREE, SKY = 1, 184, 187
HEIGHT, WIDTH = 8, 12
COLUMNS, ROWS = np.arange(WIDTH)[None, :], np.arange(HEIGHT)[:, None]
SHAPE = (HEIGHT, WIDTH)

DATA = {
    name: encode(make_pixels(HEIGHT, WIDTH, seed=seed))
    for seed, name in enumerate(("day/a.jpg", "night/a.jpg", "b.jpg"))
}
TRUTH = {
    "day/a.jpg": PanopticAnnotation(
        ids=np.where(np.broadcast_to(COLUMNS < 6, SHAPE), 1, 2).astype(np.int32),
        category_ids={1: PERSON, 2: TREE},
    ),
    "night/a.jpg": PanopticAnnotation(
        ids=np.where(np.broadcast_to(ROWS < 4, SHAPE), 1, 2).astype(np.int32),
        category_ids={1: PERSON, 2: TREE},
    ),
    "b.jpg": PanopticAnnotation(ids=np.ones(SHAPE, np.int32), category_ids={1: SKY}),
}
# As COCO publishes them; two of the three have other names in our vocabulary.
CATEGORIES = [
    {"id": PERSON, "name": "person", "isthing": 1},
    {"id": TREE, "name": "tree-merged", "isthing": 0},
    {"id": SKY, "name": "sky-other-merged", "isthing": 0},
]


def write_images(folder: Path) -> Path:
    for name, data in DATA.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_truth(folder: Path, names: dict[str, str] | None = None, **changes: Any) -> Path:
    """The JSON and its PNGs; `names` calls a picture something else, `changes` replace keys."""
    images, annotations = [], []
    for number, (picture, annotation) in enumerate(TRUTH.items(), start=1):
        segments = [
            {"id": i, "category_id": c, "area": int((annotation.ids == i).sum()), "iscrowd": 0}
            for i, c in annotation.category_ids.items()
        ]
        png = f"{number}.png"
        (folder / "panoptic").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb_from_ids(annotation.ids)).save(folder / "panoptic" / png)
        images.append({"id": number, "file_name": (names or {}).get(picture, picture)})
        annotations.append({"image_id": number, "file_name": png, "segments_info": segments})
    content = {"categories": CATEGORIES, "images": images, "annotations": annotations}
    path = folder / "panoptic.json"
    path.write_text(json.dumps(content | changes))
    return path


def by_content(image: InputImage) -> str:
    data = ImageReader().read(image)
    return next(name for name, known in DATA.items() if known == data)


def write_run(
    folder: Path,
    images: str,
    *,
    picture_of: Callable[[InputImage], str] = by_content,
    vocabulary: Vocabulary = COCO,
    labels: dict[str, PanopticAnnotation] = TRUTH,
) -> str:
    """A run whose labels are the truth of each picture, or `labels`."""
    run = RunFolder(str(folder), create=True)
    settings = PlanSettings(
        images=images,
        model="truth",
        model_sha256="12",
        vocabulary=vocabulary.name,
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=2,
    )
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    source = read_source(images, allowed_hosts=["images.example.org"])
    plan = freeze_plan(run, settings, source, vocabulary=frozen)
    for shard in range(plan.num_shards):
        rows = []
        for image in read_shard(run, shard):
            name = picture_of(image)
            found = as_if_found(labels[name], vocabulary, score=0.9)
            rows.append(label_row(image, decode_image(DATA[name]), found))
        run.commit(shard, shard_bytes(rows, {"plan_id": plan.plan_id, "shard": str(shard)}))
    return str(folder)


def require_perfect(report: EvaluationReport, num_images: int = 3) -> None:
    assert (report.num_images, report.num_errors) == (num_images, 0)
    assert report.quality["all"].pq == 1.0


def test_cocos_own_names_are_the_classes_of_the_built_in_vocabulary(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    truth = write_truth(tmp_path)
    require_perfect(evaluate_run(run, truth))
    data = DataConfig(
        source="coco-panoptic",
        vocabulary="coco-panoptic",
        images=str(tmp_path / "images"),
        annotations=str(truth),
    )
    images = open_images(data)  # as evaluation of a checkpoint and training read it
    named = [images.read(i).annotation(COCO).category_ids for i in range(3)]
    assert named == [annotation.category_ids for annotation in TRUTH.values()]


def test_ade20ks_own_names_are_found_although_its_ids_count_from_0(tmp_path: Path) -> None:
    ade = find_vocabulary("ade20k-150")
    ours = {c.name: c.category_id for c in ade.classes}
    of = {PERSON: ours["person"], TREE: ours["tree"], SKY: ours["television"]}
    labels = {
        name: PanopticAnnotation(
            ids=a.ids, category_ids={i: of[c] for i, c in a.category_ids.items()}
        )
        for name, a in TRUTH.items()
    }
    images = str(write_images(tmp_path / "images"))
    run = write_run(tmp_path / "run", images, vocabulary=ade, labels=labels)
    categories = [
        {"id": PERSON, "name": "person, individual, someone, somebody", "isthing": 1},
        {"id": TREE, "name": "tree", "isthing": 0},
        {"id": SKY, "name": "television receiver, television, television set, tv", "isthing": 1},
    ]
    require_perfect(evaluate_run(run, write_truth(tmp_path, categories=categories)))


def test_the_figures_are_those_of_each_image_with_its_own_truth(tmp_path: Path) -> None:
    sky = np.where(np.broadcast_to(COLUMNS < 9, SHAPE), 1, 0).astype(np.int32)  # IoU 9/12
    labels = TRUTH | {"b.jpg": PanopticAnnotation(ids=sky, category_ids={1: SKY})}
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")), labels=labels)
    report = evaluate_run(run, write_truth(tmp_path))
    assert report.quality["all"].pq == pytest.approx((1 + 1 + 0.75) / 3)
    assert report.quality["stuff"].pq == pytest.approx((1 + 0.75) / 2)
    record = report.to_json()
    assert {i["name"]: i["pq"] for i in record["images"]} == {
        "day/a.jpg": 1.0,
        "night/a.jpg": 1.0,
        "b.jpg": 0.75,
    }
    assert set(record["reliability"]) == {"predicted_iou", "score"}
    assert sum(b["num"] for b in record["reliability"]["score"]["bins"]) == 5


@pytest.mark.parametrize("above", ["", "val2017/", "other/place/"])
def test_equal_file_names_are_told_apart_by_their_folders(tmp_path: Path, above: str) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    require_perfect(evaluate_run(run, write_truth(tmp_path, {n: above + n for n in TRUTH})))


def test_truth_that_may_be_of_two_images_is_refused_and_so_are_two_truths_of_one(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    with pytest.raises(ConfigError, match=r"a\.jpg: 2 images of the run have that name"):
        evaluate_run(run, write_truth(tmp_path, {"day/a.jpg": "a.jpg", "night/a.jpg": "c.jpg"}))
    with pytest.raises(ConfigError, match=r"b\.jpg: x/b\.jpg is the same image of the run"):
        evaluate_run(run, write_truth(tmp_path, {"day/a.jpg": "x/b.jpg", "night/a.jpg": "c.jpg"}))


def test_ids_of_one_s_own_that_look_like_other_files_are_not_taken_for_them(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "numbered"
    folder.mkdir()
    for number, data in enumerate(DATA.values()):
        (folder / f"{number}.jpg").write_bytes(data)
    lines = [f"{folder}/{number}.jpg,{(number + 1) % 3}" for number in range(3)]
    (tmp_path / "list.csv").write_text("\n".join(["uri,image_id", *lines]))
    run = write_run(tmp_path / "run", str(tmp_path / "list.csv"))
    truth = write_truth(tmp_path, {name: f"{number}.jpg" for number, name in enumerate(DATA)})
    require_perfect(evaluate_run(run, truth))  # the id of 0.jpg is 1, of 1.jpg 2, of 2.jpg 0


def change_segments(content: dict[str, Any], **changes: object) -> None:
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment |= changes


def change_all(content: dict[str, Any], key: str, **changes: object) -> None:
    for record in content[key]:
        record |= changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: change_segments(c, iscrowd="0"), "iscrowd is '0', neither 0 nor 1"),
        (lambda c: change_all(c, "categories", isthing="0"), "isthing is '0', neither 0 nor 1"),
        (lambda c: change_segments(c, id=1.5), r"unique within day/a.jpg, got \[1.5, 1.5\]"),
        (lambda c: change_all(c, "images", id=1), "images of different ids .* the id 1;"),
        (lambda c: change_all(c, "categories", id=1), "categories of different ids .* the id 1;"),
        (lambda c: change_all(c, "annotations", image_id="1"), "none of the id '1', whose"),
        (lambda c: change_all(c, "annotations", file_name="../1.png"), r"the id map \.\./1.png, w"),
        (lambda c: change_all(c, "annotations", file_name=""), "the id map , which .* none"),
    ],
)
def test_truth_that_contradicts_itself_is_refused_in_one_sentence(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    truth = write_truth(tmp_path)
    content = json.loads(truth.read_text())
    change(content)
    truth.write_text(json.dumps(content))
    with pytest.raises(GroundTruthError, match=f"expected .*{said}"):
        evaluate_run(run, truth)


def test_truth_of_folders_that_the_run_lacks_is_left_out(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    (images / "night/a.jpg").unlink()
    report = evaluate_run(write_run(tmp_path / "run", str(images)), write_truth(tmp_path))
    require_perfect(report, 2)
    assert (report.num_without_truth, report.num_without_row) == (0, 1)


def write_tar(folder: Path) -> str:
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name, data in DATA.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(folder / "shard.tar")


def write_parquet(folder: Path) -> str:
    images = [{"bytes": data, "path": name} for name, data in DATA.items()]
    pq.write_table(pa.table({"image": images}), folder / "train.parquet")
    return str(folder / "train.parquet")


def write_manifest(folder: Path) -> str:
    """Addresses in a bucket and on the web, which tell a picture by its path, query or id."""
    rows = [
        ("https://images.example.org/day/a.jpg?size=large", ""),
        ("s3://photographs/night/a.jpg", ""),
        ("https://images.example.org/show?picture=7", "b"),
    ]
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("uri", "image_id"), *rows])
    return str(folder / "list.csv")


@pytest.mark.parametrize("write", [write_tar, write_parquet])
def test_the_truth_of_an_image_in_a_container_is_found(
    tmp_path: Path, write: Callable[[Path], str]
) -> None:
    require_perfect(
        evaluate_run(write_run(tmp_path / "run", write(tmp_path)), write_truth(tmp_path))
    )


def test_the_truth_of_images_in_a_manifest_is_found(tmp_path: Path) -> None:
    def picture_of(image: InputImage) -> str:
        return next((name for name in DATA if name in image.uri), "b.jpg")

    run = write_run(tmp_path / "run", write_manifest(tmp_path), picture_of=picture_of)
    require_perfect(evaluate_run(run, write_truth(tmp_path)))


def test_a_bucket_may_hold_the_images_the_run_and_the_truth(
    tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3fs.S3FileSystem()
    bucket.mkdir("pictures")
    bucket.put(str(write_images(tmp_path / "images")), "pictures/images", recursive=True)
    run = write_run(tmp_path / "run", "s3://pictures/images")
    write_truth(tmp_path / "truth")
    bucket.put(run, "pictures/run", recursive=True)
    bucket.put(str(tmp_path / "truth"), "pictures/truth", recursive=True)
    report = evaluate_run("s3://pictures/run", "s3://pictures/truth/panoptic.json")
    require_perfect(report)
    bucket.rm("pictures/truth/panoptic", recursive=True)
    bucket.put(str(tmp_path / "truth/panoptic"), "pictures/masks", recursive=True)
    masks = "s3://pictures/masks"
    require_perfect(
        evaluate_run("s3://pictures/run", "s3://pictures/truth/panoptic.json", masks=masks)
    )


@pytest.mark.parametrize("copy_images", [True, False])
def test_an_export_of_a_run_is_truth_for_it_and_for_runs_of_the_same_images(
    tmp_path: Path, copy_images: bool
) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    config = ExportConfig(
        run=run,
        output=str(tmp_path / "coco"),
        format=ExportFormat("coco-panoptic"),
        num_workers=1,
        labels_only=not copy_images,
    )
    run_export(config)
    truth = tmp_path / "coco/annotations/panoptic_train.json"
    require_perfect(evaluate_run(run, truth))  # by image id
    packed = write_run(tmp_path / "packed", write_tar(tmp_path))  # which has other ids
    require_perfect(evaluate_run(packed, truth))

    content = json.loads(truth.read_text())
    content["images"][0]["image_id"] = "of another run"
    truth.write_text(json.dumps(content))
    report = evaluate_run(run, truth)  # ids that the run knows are not mixed with paths
    assert (report.num_images, report.num_without_truth, report.num_without_row) == (2, 1, 1)


def test_a_run_without_a_record_of_its_classes_is_measured_in_those_of_its_labels(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    (tmp_path / "run" / VOCABULARY_KEY).unlink()
    require_perfect(evaluate_run(run, write_truth(tmp_path)))


def test_truth_of_other_classes_kinds_or_images_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", str(write_images(tmp_path / "images")))
    (cat, *others) = CATEGORIES
    truth = write_truth(tmp_path, categories=[cat | {"name": "persn"}, *others])
    with pytest.raises(GroundTruthError, match="is of the class 'persn'; did you mean 'person'"):
        evaluate_run(run, truth)
    truth = write_truth(tmp_path, categories=[cat | {"isthing": 0}, *others])
    with pytest.raises(GroundTruthError, match=r"'person' to be a thing.* is stuff of that class"):
        evaluate_run(run, truth)
    with pytest.raises(GroundTruthError, match="names none of them"):
        evaluate_run(run, write_truth(tmp_path, {name: f"{i}.jpg" for i, name in enumerate(TRUTH)}))


def possam(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    monkeypatch.setattr("sys.argv", ["possam", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_the_command_reads_masks_elsewhere_and_writes_the_page_of_a_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    browser: Browser,
) -> None:
    labels = TRUTH | {"day/a.jpg": TRUTH["night/a.jpg"]}
    run = write_run(tmp_path / "run", write_tar(tmp_path), labels=labels)
    truth = write_truth(tmp_path)
    (tmp_path / "panoptic").rename(tmp_path / "masks")
    assert possam(monkeypatch, run, "--ground-truth", truth) == 2
    assert "no such folder; name theirs as masks (--masks)" in capsys.readouterr().err
    given = ("--masks", tmp_path / "masks", "--report", tmp_path / "page", "--num-worst", 2)
    assert possam(monkeypatch, run, "--ground-truth", truth, *given, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["page"] == str(tmp_path / "page/index.html")
    assert record["panoptic"]["all"]["pq"] == pytest.approx((0.5 + 0.5 + 1) / 3)

    watched = WatchedPage(browser)
    page = watched.open(record["page"], state="drawn")
    assert page.inner_text("h1") == "run against panoptic.json"
    assert "66.7" in page.inner_text("#figures .totals")
    assert "mIoU" not in page.inner_text("#figures")
    assert page.locator("#class-table thead th").count() == 9  # without IoU and AP
    assert page.locator("#curves figure").count() == 2
    cards = page.locator("#cards .pair")
    assert cards.count() == 2
    assert cards.first.locator("h3").inner_text().endswith("day/a.jpg")
    assert "PQ 0.0" in cards.first.locator(".facts").inner_text()
    assert cards.first.locator(".mistakes li").count() == 4  # 2 missed, 2 invented
    assert cards.first.locator(".photo").first.evaluate("image => image.naturalWidth") == WIDTH
    assert watched.messages == []


def test_an_image_without_labels_is_on_the_page_with_its_truth(
    make_run: Any, tmp_path: Path
) -> None:
    small = make_run(2, damage={1: b""})
    plan = load_plan(RunFolder(str(small.run)))
    assert plan is not None
    with pytest.MonkeyPatch.context() as patch:
        given = ("--ground-truth", small.ground_truth, "--report", tmp_path / "page")
        assert possam(patch, small.run, *given) == 0
    head = (tmp_path / "page/data/head.js").read_text()
    assert '"grade":null' in head.replace(" ", "")
    assert head.index("scene-00001.jpg") < head.index("scene-00000.jpg")  # the worst first
