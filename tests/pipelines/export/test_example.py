import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from pipelines.export.example import (
    TRAIN,
    VAL,
    file_stem,
    make_examples,
    path_in_corpus,
    split_of,
)
from pipelines.export.pictures import Picture
from pipelines.run.committed import Correction
from possam_core.errors import ConfigError
from tests.pipelines.export.rows import (
    CAR,
    PERSON,
    SEA,
    SKY,
    make_classes,
    make_example,
    make_row,
    make_table,
)

STREET = [[1, 1, 4], [2, 3, 3]]  # segments 1 to 4
STREET_CLASSES = [SKY, PERSON, CAR, SEA]


def write_groups(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text)
    return str(tmp_path / "classes.yaml")


def test_an_example_holds_the_segments_of_the_row_recounted() -> None:
    example = make_example(STREET, STREET_CLASSES)
    assert example.image_hw == (2, 3)
    assert example.ids().tolist() == STREET
    found = [
        (s.id, s.category.name, s.geometry.area_px, s.geometry.bbox_xywh) for s in example.segments
    ]
    assert found == [
        (1, "sky", 2, (0, 0, 2, 1)),
        (2, "person", 1, (0, 1, 1, 1)),
        (3, "car", 2, (1, 1, 2, 1)),
        (4, "sea", 1, (2, 0, 1, 1)),
    ]


def test_classes_that_are_not_chosen_become_void() -> None:
    example = make_example(STREET, STREET_CLASSES, "car,sky")
    assert example.ids().tolist() == [[1, 1, 0], [0, 3, 3]]
    assert [s.id for s in example.segments] == [1, 3]
    png = Image.open(io.BytesIO(example.classes_png(void=255, bit_depth=8)))
    assert np.asarray(png).tolist() == [[1, 1, 255], [255, 0, 0]]


def test_an_image_without_any_chosen_class_stays_all_void() -> None:
    example = make_example([[1, 1]], [SKY], "person")
    assert example.segments == ()
    assert example.ids().tolist() == [[0, 0]]


def test_stuff_that_becomes_one_class_becomes_one_segment(tmp_path) -> None:
    groups = write_groups(tmp_path, "outside: [sea, sky]")
    row = make_row(STREET, STREET_CLASSES)
    row["segments_info"][0]["score"], row["segments_info"][3]["score"] = 0.25, 1.0
    (example,) = make_examples(make_table(row), make_classes(groups))
    (segment,) = example.segments
    assert (segment.id, segment.geometry.area_px, segment.geometry.bbox_xywh) == (
        1,
        3,
        (0, 0, 3, 1),
    )
    assert segment.score == pytest.approx(0.5)  # two pixels of 0.25, one of 1.0
    assert example.ids().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert example.rle_counts() == make_example([[1, 1, 1], [0, 0, 0]], [SKY]).rle_counts()


def test_things_that_become_one_class_stay_apart(tmp_path) -> None:
    groups = write_groups(tmp_path, "actor: [car, person]")
    example = make_example(STREET, STREET_CLASSES, groups)
    assert [(s.id, s.category.name) for s in example.segments] == [(2, "actor"), (3, "actor")]
    assert example.ids().tolist() == [[0, 0, 0], [2, 3, 3]]


def test_the_rle_of_segments_that_stay_is_the_one_in_the_row() -> None:
    row = make_row(STREET, STREET_CLASSES)
    (example,) = make_examples(make_table(row), make_classes())
    assert example.rle_counts() == [s["segmentation"]["counts"] for s in row["segments_info"]]


def test_the_segments_of_one_image_do_not_reach_into_the_next() -> None:
    rows = [make_row(STREET, STREET_CLASSES), make_row([[0]], []), make_row([[1, 2]], [CAR, CAR])]
    examples = list(make_examples(make_table(*rows), make_classes()))
    assert [e.ids().tolist() for e in examples] == [STREET, [[0]], [[1, 2]]]


def test_the_facts_of_an_example_name_the_author_of_its_correction() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    correction = Correction(author="Ada", corrected_at=when, source="a.json")
    rows = make_table(make_row([[1]], [SKY]), make_row([[1]], [SKY], image_id="other"))
    machine, people = make_examples(rows, make_classes(), corrections={"other": correction})
    assert machine.facts() == {"image_id": "an-image", "uri": "/photos/1.jpg", "grade": "B"}
    assert people.facts()["corrected_by"] == "Ada"
    assert people.facts()["corrected_at"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize("segment_id", [0, -3, 2**24])
def test_ids_that_no_png_can_hold_are_refused(segment_id: int) -> None:
    row = make_row([[1]], [SKY])
    row["segments_info"][0]["id"] = segment_id
    with pytest.raises(ConfigError, match=f"labels of /photos/1.jpg, but .* the id {segment_id}"):
        list(make_examples(make_table(row), make_classes()))


def test_overlapping_segments_are_refused_by_the_name_of_the_image() -> None:
    row = make_row(STREET, STREET_CLASSES)
    row["segments_info"][0]["segmentation"] = row["segments_info"][3]["segmentation"]
    with pytest.raises(ConfigError, match=r"/photos/1\.jpg, but its segments overlap; .* verify"):
        list(make_examples(make_table(row), make_classes()))


def test_files_are_called_like_the_image_where_that_is_a_file_name() -> None:
    assert file_stem("3f_A-9") == "3f_A-9"
    stems = {file_stem(image_id) for image_id in ("a/b", "a.b", "..", "é", "x" * 81)}
    assert len(stems) == 5
    assert all(len(stem) == 32 and stem.isalnum() for stem in stems)


def test_a_split_depends_on_the_image_alone_and_grows_with_the_share() -> None:
    ids = [f"image-{i}" for i in range(1000)]
    tenth, third = ({i for i in ids if split_of(i, share) == VAL} for share in (0.1, 0.3))
    assert tenth < third
    assert 70 < len(tenth) < 130
    assert 250 < len(third) < 350
    assert {split_of(i, 0.0) for i in ids} == {TRAIN}


@pytest.mark.parametrize(
    ("uri", "corpus", "path"),
    [
        ("/data/train/a/1.jpg", "/data/train", "a/1.jpg"),
        ("s3://bucket/a/1.jpg", "s3://bucket", "a/1.jpg"),
        ("s3://bucket/a/b/1.jpg", "s3://bucket/a/*/*.jpg", "b/1.jpg"),
        ("/data/a/1.jpg", "/data/list.parquet", "a/1.jpg"),
        ("/data/training/1.jpg", "/data/train", "training/1.jpg"),
        ("s3://other/1.jpg", "/data/list.parquet", "s3://other/1.jpg"),
        ("/data/1.jpg", "", "/data/1.jpg"),
    ],
)
def test_an_image_that_is_not_copied_is_named_by_its_path_in_the_corpus(uri, corpus, path):
    assert path_in_corpus(uri, corpus) == path


def test_only_an_image_that_is_not_copied_says_that_it_has_to_be_turned():
    row = make_row([[1]], [SKY], exif_orientation=6)
    (linked,) = make_examples(make_table(row), make_classes())
    copied = replace(linked, picture=Picture(b"", "png"))
    assert (linked.facts()["exif_orientation"], linked.file_name) == (6, "/photos/1.jpg")
    assert "exif_orientation" not in copied.facts()
    assert copied.file_name == "an-image.png"
