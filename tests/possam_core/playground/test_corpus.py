"""A written corpus obeys the COCO panoptic format as panopticapi reads it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from possam_core.errors import ConfigError
from possam_core.labels.id_colours import rgb_from_ids
from possam_core.playground import PLAYGROUND, WORKSHOP, World, generate_scene, write_corpus
from possam_core.vocabulary.vocabulary import load_vocabulary

NUM_IMAGES = 6


@pytest.fixture(scope="module", params=[PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
def world(request: pytest.FixtureRequest) -> World:
    return request.param


@pytest.fixture(scope="module")
def corpus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("corpus") / "new" / "folder"
    write_corpus(output, num_images=NUM_IMAGES, seed=4, world=world)
    return output


def read_annotations(corpus: Path) -> dict:
    return json.loads((corpus / "panoptic.json").read_text(encoding="utf-8"))


def hash_files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_corpus_holds_the_promised_files(corpus: Path) -> None:
    stems = [f"scene-{i:05d}" for i in range(NUM_IMAGES)]
    expected = [f"images/{s}.jpg" for s in stems] + [f"panoptic/{s}.png" for s in stems]
    assert set(hash_files(corpus)) == {*expected, "panoptic.json", "vocabulary.yaml"}


def test_each_image_has_one_annotation_and_its_true_size(corpus: Path) -> None:
    content = read_annotations(corpus)
    image_ids = [i["id"] for i in content["images"]]
    assert len(set(image_ids)) == NUM_IMAGES
    assert [a["image_id"] for a in content["annotations"]] == image_ids
    for image in content["images"]:
        with Image.open(corpus / "images" / image["file_name"]) as photo:
            assert photo.size == (image["width"], image["height"])
            assert photo.format == "JPEG"


def test_every_segment_of_the_json_is_in_its_png_and_the_other_way_round(corpus: Path) -> None:
    content = read_annotations(corpus)
    sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
    category_ids = {c["id"] for c in content["categories"]}
    for annotation in content["annotations"]:
        with Image.open(corpus / "panoptic" / annotation["file_name"]) as png:
            assert png.mode == "RGB"
            rgb = np.asarray(png).astype(np.int64)
        ids = rgb @ np.array([1, 256, 65536])
        assert ids.shape == sizes[annotation["image_id"]]
        segments = {s["id"]: s for s in annotation["segments_info"]}
        assert len(segments) == len(annotation["segments_info"])
        assert set(np.unique(ids)) - {0} == set(segments)
        for segment_id, segment in segments.items():
            mask = ids == segment_id
            x, y, width, height = segment["bbox"]
            assert segment["area"] == mask.sum() == mask[y : y + height, x : x + width].sum()
            assert mask[y].any()
            assert mask[y + height - 1].any()
            assert mask[:, x].any()
            assert mask[:, x + width - 1].any()
            assert segment["category_id"] in category_ids
            assert segment["iscrowd"] == 0


def test_stuff_of_one_class_is_one_segment(corpus: Path) -> None:
    content = read_annotations(corpus)
    stuff_ids = {c["id"] for c in content["categories"] if not c["isthing"]}
    for annotation in content["annotations"]:
        stuff = [s["category_id"] for s in annotation["segments_info"]]
        stuff = [c for c in stuff if c in stuff_ids]
        assert len(set(stuff)) == len(stuff)


def test_categories_carry_kind_seen_and_synonyms(corpus: Path, world: World) -> None:
    categories = read_annotations(corpus)["categories"]
    for category, entry in zip(categories, world.vocabulary.classes, strict=True):
        assert category["id"] == entry.category_id
        assert category["name"] == entry.name
        assert category["isthing"] == int(entry.is_thing)
        assert category["seen"] == int(entry in world.training_vocabulary.classes)
        assert category["synonyms"] == list(entry.synonyms)
        assert category["supercategory"]


def test_vocabulary_file_reads_back_as_that_of_the_world(corpus: Path, world: World) -> None:
    assert load_vocabulary(corpus / "vocabulary.yaml") == world.vocabulary


def test_annotated_maps_are_those_of_the_scenes(corpus: Path, world: World) -> None:
    with Image.open(corpus / "panoptic" / "scene-00002.png") as png:
        assert np.array_equal(np.asarray(png), rgb_from_ids(generate_scene(4, 2, world=world).ids))


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(
    corpus: Path, world: World, tmp_path: Path
) -> None:
    seen: list[int] = []
    write_corpus(tmp_path, num_images=NUM_IMAGES, seed=4, world=world, on_image=seen.append)
    assert hash_files(tmp_path) == hash_files(corpus)
    assert seen == list(range(NUM_IMAGES))
    write_corpus(tmp_path / "other", num_images=1, seed=5, world=world)
    name = "images/scene-00000.jpg"
    assert hash_files(tmp_path / "other")[name] != hash_files(corpus)[name]


@pytest.mark.parametrize(("num_images", "seed"), [(0, 1), (-3, 1), (2, -1)])
def test_numbers_out_of_range_are_refused(num_images: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"num_images={num_images} and seed={seed}"):
        write_corpus(tmp_path, num_images=num_images, seed=seed)
    assert not any(tmp_path.iterdir())


def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="holds something"):
        write_corpus(tmp_path, num_images=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="folder that can be written"):
        write_corpus(tmp_path / "file" / "corpus", num_images=1, seed=0)
