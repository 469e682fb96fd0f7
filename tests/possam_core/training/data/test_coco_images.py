import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from possam_core.errors import GroundTruthError
from possam_core.labels.id_colours import rgb_from_ids
from possam_core.playground import PLAYGROUND, generate_scene, write_corpus
from possam_core.training.data.coco_images import CocoFiles, CocoImages
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.published_names import find_class
from possam_core.vocabulary.vocabulary import Vocabulary

VOCABULARY = PLAYGROUND.vocabulary
PUBLISHED = Path(__file__).parent / "published"  # id, kind and name of each class, as published


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "corpus", num_images=2, seed=9)
    return tmp_path / "corpus"


def open_corpus(
    corpus: Path, vocabulary: Vocabulary = VOCABULARY, limit: int | None = None
) -> CocoImages:
    files = CocoFiles(
        annotations="panoptic.json",
        read_annotations=lambda: (corpus / "panoptic.json").read_bytes(),
        read_image=lambda name: (corpus / "images" / name).read_bytes(),
        read_mask=lambda name: (corpus / "panoptic" / name).read_bytes(),
    )
    return CocoImages(files, vocabulary, limit=limit)


def rewrite(corpus: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((corpus / "panoptic.json").read_text())
    change(content)
    (corpus / "panoptic.json").write_text(json.dumps(content))


def test_images_come_with_their_ids_and_classes(corpus: Path) -> None:
    images = open_corpus(corpus)
    assert len(images) == 2
    for index in range(2):
        scene, image = generate_scene(9, index), images.read(index)
        np.testing.assert_array_equal(image.ids, scene.ids)
        assert image.class_indices == scene.class_indices
        assert image.pixels.shape == scene.image.shape
        assert image.name == f"scene-0000{index}.jpg"
        assert image.crowds == frozenset()


def test_ids_are_counted_in_the_order_of_the_json_whatever_they_are(corpus: Path) -> None:
    scene = generate_scene(9, 0)
    spread = np.where(scene.ids > 0, 70_000 - 1000 * scene.ids, 0).astype(np.int32)
    Image.fromarray(rgb_from_ids(spread)).save(corpus / "panoptic/scene-00000.png")

    def renumber(content: dict[str, Any]) -> None:
        for info in content["annotations"][0]["segments_info"]:
            info["id"] = 70_000 - 1000 * info["id"]
            info["iscrowd"] = int(info["id"] == 68_000)

    rewrite(corpus, renumber)
    image = open_corpus(corpus).read(0)
    np.testing.assert_array_equal(image.ids, scene.ids)
    assert image.crowds == {2}


def test_a_limit_keeps_the_first_images(corpus: Path) -> None:
    assert len(open_corpus(corpus, limit=1)) == 1


def test_a_class_that_the_vocabulary_lacks_is_named_with_its_file(corpus: Path) -> None:
    shown = {VOCABULARY.classes[c].name for i in (0, 1) for c in generate_scene(9, i).class_indices}
    lacking = VOCABULARY.classes[generate_scene(9, 1).class_indices[0]].name
    vocabulary = VOCABULARY.subset({c.name for c in VOCABULARY.classes} - {lacking}, name="small")
    assert lacking in shown
    with pytest.raises(
        GroundTruthError, match=f"'small' in panoptic.json.*scene-0000.*class '{lacking}'"
    ):
        open_corpus(corpus, vocabulary)


def test_an_id_missing_from_the_json_is_reported_with_its_png(corpus: Path) -> None:
    rewrite(corpus, lambda content: content["annotations"][1]["segments_info"].pop(0))
    images = open_corpus(corpus)
    assert images.read(0).ids.max() > 0
    with pytest.raises(GroundTruthError, match=r"scene-00001\.png to hold only ids.*holds 1;"):
        images.read(1)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("panoptic.json", None, "JSON at panoptic.json, but there is none"),
        ("panoptic.json", b"{", "JSON in panoptic.json, but it does not parse"),
        ("panoptic.json", b"[1]", "is missing or misses a field"),
        (
            "panoptic.json",
            b'{"categories": [], "images": [], "annotations": []}',
            "holds none",
        ),
        ("images/scene-00000.jpg", None, "the image scene-00000.jpg, which panoptic.json names"),
        ("images/scene-00000.jpg", b"<html>", "an image in scene-00000.jpg, but"),
        ("panoptic/scene-00000.png", None, "the id map scene-00000.png, which"),
        ("panoptic/scene-00000.png", b"noise", "a PNG with segment ids in scene-00000.png"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named(
    corpus: Path, file: str, content: bytes | None, reason: str
) -> None:
    if content is None:
        (corpus / file).unlink()
    else:
        (corpus / file).write_bytes(content)
    with pytest.raises(GroundTruthError, match=reason):
        open_corpus(corpus).read(0)


def test_an_id_map_of_another_size_or_mode_is_refused(corpus: Path) -> None:
    scene = generate_scene(9, 0)
    png = corpus / "panoptic/scene-00000.png"
    Image.fromarray(rgb_from_ids(scene.ids[:-1])).save(png)
    with pytest.raises(GroundTruthError, match=r"of the size of scene-00000\.jpg"):
        open_corpus(corpus).read(0)
    Image.fromarray(scene.ids.astype(np.uint8)).save(png)
    with pytest.raises(GroundTruthError, match="got mode L"):
        open_corpus(corpus).read(0)


def test_ids_must_be_positive_and_unique(corpus: Path) -> None:
    def repeat(content: dict[str, Any]) -> None:
        segments = content["annotations"][0]["segments_info"]
        segments[1]["id"] = segments[0]["id"]

    rewrite(corpus, repeat)
    with pytest.raises(GroundTruthError, match=r"unique within scene-00000\.jpg"):
        open_corpus(corpus)


@pytest.mark.parametrize(
    ("vocabulary", "published", "ours"),
    [
        ("coco-panoptic", "person", "person"),
        ("coco-panoptic", "tree-merged", "tree"),
        ("coco-panoptic", "floor-other-merged", "floor"),
        ("coco-panoptic", "floor-wood", "wooden floor"),
        ("coco-panoptic", "door-stuff", "door"),
        ("coco-panoptic", "window-blind", "window blind"),
        ("coco-panoptic", "window-other", "window"),
        ("coco-panoptic", "playingfield", "playing field"),
        ("coco-panoptic", "traffic light", "traffic light"),
        ("coco-panoptic", "ocean", "sea"),
        ("fc-clip-coco", "wall-wood", "wood wall"),
        ("fc-clip-coco:person,tv remote", "remote", "tv remote"),
        ("fc-clip-coco", "tv remote", "tv remote"),
        ("ade20k-150", "window ", "window"),
        ("ade20k-150", "road, route", "road"),
        ("ade20k-150", "screen door, screen", "screen door"),
        ("ade20k-150", "screen", "projection screen"),
        ("ade20k-150", "blind, screen", "window blind"),
        ("ade20k-150", "falls", "waterfall"),
        ("ade20k-150", "toilet, can, commode, crapper, pot, potty, stool, throne", "toilet"),
    ],
)
def test_published_names_find_their_classes(vocabulary: str, published: str, ours: str) -> None:
    known = find_vocabulary(vocabulary)
    index = find_class(published, known)
    assert index is not None
    assert known.classes[index].name == ours


@pytest.mark.parametrize(
    ("file", "vocabulary", "num_renamed"),
    [
        ("coco_panoptic.txt", "coco-panoptic", 29),
        ("coco_panoptic.txt", "fc-clip-coco", 32),
        ("ade20k_panoptic.txt", "fc-clip-ade20k-150", 56),
        ("ade20k_scene_parsing.txt", "fc-clip-ade20k-150", 85),
        ("ade20k_panoptic.txt", "ade20k-150", 50),
        ("ade20k_scene_parsing.txt", "ade20k-150", 83),
    ],
)
def test_every_published_class_is_the_built_in_one_with_its_id_and_kind(
    file: str, vocabulary: str, num_renamed: int
) -> None:
    known = find_vocabulary(vocabulary)
    published = [line.split(" ", 2) for line in (PUBLISHED / file).read_text().splitlines()]
    found = []
    for _, _, name in published:
        index = find_class(name, known)
        assert index is not None, name
        found.append(known.classes[index])
    kinds = ["thing" if c.is_thing else "stuff" for c in found]
    ids = [str(c.category_id) for c in found]
    assert list(zip(ids, kinds, strict=True)) == [(id_, kind) for id_, kind, _ in published]
    assert len(published) == len(known)
    assert (
        sum(c.name != name for c, (_, _, name) in zip(found, published, strict=True)) == num_renamed
    )


def test_truth_of_another_kind_than_the_class_is_refused(corpus: Path) -> None:
    shown = generate_scene(9, 0).class_indices
    first = next(VOCABULARY.classes[i] for i in shown if VOCABULARY.classes[i].is_thing)

    def turn(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["isthing"] = int(category["isthing"] and category["name"] != first.name)

    rewrite(corpus, turn)
    message = (
        f"expected '{first.name}' to be a thing as in .* but a segment of scene-0000.* is stuff"
    )
    with pytest.raises(GroundTruthError, match=message):
        open_corpus(corpus)


def test_the_truth_alone_is_read_without_the_images(corpus: Path) -> None:
    shutil.rmtree(corpus / "images")
    scene, images = generate_scene(9, 1), open_corpus(corpus)
    assert [record["file_name"] for record in images.image_records] == [
        "scene-00000.jpg",
        "scene-00001.jpg",
    ]
    annotation = images.read_annotation(1)
    np.testing.assert_array_equal(annotation.ids, scene.ids)
    ids = [VOCABULARY.classes[i].category_id for i in scene.class_indices]
    assert annotation.category_ids == dict(enumerate(ids, start=1))


def test_a_name_that_no_class_has_finds_none() -> None:
    assert find_class("giraffe", VOCABULARY) is None
