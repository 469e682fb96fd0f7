"""Tests of pipelines.corrections.matching."""

import shutil

import pytest

from pipelines.corpus.source import read_source
from pipelines.corrections.matching import match_images
from pipelines.formats.annotation import AnnotatedImage
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.plan import PlanSettings
from possam_core.errors import ConfigError
from possam_core.playground import PLAYGROUND
from tests.factories import encode, make_pixels


def annotated(name, image_id=None):
    return AnnotatedImage(name=name, image_id=image_id, read_regions=lambda hw: [])


@pytest.fixture
def planned(tmp_path):
    """A plan of day/a.jpg, night/a.jpg and b.jpg, one a shard."""
    for seed, name in enumerate(("day/a.jpg", "night/a.jpg", "b.jpg")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(make_pixels(seed=seed)))
    vocabulary = PLAYGROUND.vocabulary
    run = RunFolder(str(tmp_path / "run"), create=True)
    settings = PlanSettings(
        images=str(tmp_path / "images"),
        model="m",
        model_sha256="1",
        vocabulary="playground",
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=1,
    )
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    plan = freeze_plan(run, settings, read_source(settings.images), vocabulary=frozen)
    yield run, plan
    shutil.rmtree(tmp_path)


def found(planned, *images):
    run, plan = planned
    return [(m.uri.partition("/images/")[2], m.shard) for m in match_images(run, plan, images)]


def test_an_image_is_found_by_its_file_name_and_else_by_the_folders_before_it(planned):
    assert found(planned, annotated("/data/b.jpg"), annotated("x/night/a.jpg")) == [
        ("b.jpg", 0),
        ("night/a.jpg", 2),
    ]
    assert found(planned, annotated("day\\a.jpg")) == [("day/a.jpg", 1)]


def test_an_image_is_found_by_its_id_which_may_be_its_file_name(planned):
    run, plan = planned
    (night,) = match_images(run, plan, [annotated("night/a.jpg")])
    assert found(planned, annotated("other.jpg", night.image_id)) == [("night/a.jpg", 2)]
    assert found(planned, annotated(f"export/{night.image_id}.png")) == [("night/a.jpg", 2)]


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([annotated("c.jpg")], "c.jpg: the run has no such image; name images as the run does"),
        ([annotated("b.jpg", "12")], "b.jpg: the run has no such image"),
        ([annotated("x/a.jpg")], "x/a.jpg: 2 images of the run have that name; name them with"),
        (
            [annotated("b.jpg"), annotated("x/b.jpg")],
            "x/b.jpg: b.jpg is the same image of the run; annotate each image once",
        ),
    ],
)
def test_an_image_that_is_unknown_or_ambiguous_or_annotated_twice_is_named(
    planned, images, sentence
):
    run, plan = planned
    with pytest.raises(ConfigError, match=sentence):
        match_images(run, plan, images)
