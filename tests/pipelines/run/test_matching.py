"""Tests of pipelines.run.matching."""

import io
import shutil
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.source import read_source
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.matching import ImageName, match_images
from pipelines.run.plan import PlanSettings
from possam_core.errors import ConfigError
from possam_core.playground import PLAYGROUND
from tests.factories import encode, make_pixels


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
    assert found(planned, ImageName("/data/b.jpg"), ImageName("x/night/a.jpg")) == [
        ("b.jpg", 0),
        ("night/a.jpg", 2),
    ]
    assert found(planned, ImageName("day\\a.jpg")) == [("day/a.jpg", 1)]


def test_an_image_is_found_by_its_id_which_may_be_its_file_name(planned):
    run, plan = planned
    (night,) = match_images(run, plan, [ImageName("night/a.jpg")])
    assert found(planned, ImageName("other.jpg", night.image_id)) == [("night/a.jpg", 2)]
    assert found(planned, ImageName(f"export/{night.image_id}.png")) == [("night/a.jpg", 2)]


def test_an_image_that_the_run_lacks_is_none(planned):
    run, plan = planned
    assert match_images(run, plan, [ImageName("c.jpg"), ImageName("b.jpg", "12")]) == [None, None]


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([ImageName("x/a.jpg")], "x/a.jpg: 2 images of the run have that name; name each once"),
        (
            [ImageName("b.jpg"), ImageName("x/b.jpg")],
            "x/b.jpg: b.jpg is the same image of the run; name each once",
        ),
    ],
)
def test_a_name_that_is_ambiguous_or_occurs_twice_is_refused(planned, images, sentence):
    run, plan = planned
    with pytest.raises(ConfigError, match=sentence):
        match_images(run, plan, images)


def test_an_id_that_occurs_twice_is_refused(planned):
    run, plan = planned
    (night,) = match_images(run, plan, [ImageName("night/a.jpg")])
    twice = [ImageName("one.jpg", night.image_id), ImageName("two.jpg", night.image_id)]
    with pytest.raises(ConfigError, match=r"two\.jpg: one\.jpg is the same image of the run"):
        match_images(run, plan, twice)


def plan_of(folder, images):
    """The plan of a corpus at any address, and its folder."""
    run = RunFolder(str(folder), create=True)
    settings = PlanSettings(
        images=images,
        model="m",
        model_sha256="1",
        vocabulary="playground",
        vocabulary_sha256=PLAYGROUND.vocabulary.fingerprint,
        shard_size=1,
    )
    vocabulary = PLAYGROUND.vocabulary
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    found = read_source(images, allowed_hosts=["images.example.org"])
    return run, freeze_plan(run, settings, found, vocabulary=frozen)


def ends(planned, *names):
    run, plan = planned
    images = match_images(run, plan, [ImageName(name) for name in names])
    return [image and image.uri.rpartition("/")[2] for image in images]


def test_an_image_in_a_tar_is_found_by_its_path_in_the_tar(tmp_path):
    with tarfile.open(tmp_path / "shard-0.tar", "w") as tar:
        for seed, name in enumerate(("day/a.jpg", "night/a.jpg", "b.jpg")):
            data = encode(make_pixels(seed=seed))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    planned = plan_of(tmp_path / "run", str(tmp_path / "shard-0.tar"))
    assert ends(planned, "night/a.jpg", "photos/b.jpg", "day/a.jpg") == [
        "a.jpg",
        "shard-0.tar#b.jpg",
        "a.jpg",
    ]
    run, plan = planned
    (night,) = match_images(run, plan, [ImageName("night/a.jpg")])
    assert night.uri.endswith("shard-0.tar#night/a.jpg")


def test_an_image_in_parquet_is_found_by_its_row_or_by_the_path_beside_it(tmp_path):
    images = [
        {"bytes": encode(make_pixels(seed=seed)), "path": path}
        for seed, path in enumerate(("day/a.jpg", "night/a.jpg", None, "c.jpg"))
    ]
    pq.write_table(pa.table({"image": images}), tmp_path / "train.parquet")
    planned = plan_of(tmp_path / "run", str(tmp_path / "train.parquet"))
    names = ("night/a.jpg", "c.jpg", "train.parquet#2", "d.jpg")
    expected = ["train.parquet#1", "train.parquet#3", "train.parquet#2", None]
    assert ends(planned, *names) == expected


def test_bytes_without_paths_are_found_by_row_alone(tmp_path):
    data = [encode(make_pixels(seed=seed)) for seed in range(2)]
    pq.write_table(pa.table({"jpg": data}), tmp_path / "train.parquet")
    planned = plan_of(tmp_path / "run", str(tmp_path / "train.parquet"))
    assert ends(planned, "x/train.parquet#1", "a.jpg") == ["train.parquet#1", None]


def test_images_of_a_manifest_are_found_by_their_ids_and_web_addresses(tmp_path):
    lines = (
        "uri,image_id",
        "s3://photos/day/a.jpg,one",
        "https://images.example.org/night/a%20b.jpg?size=large,two",
        "https://images.example.org/?id=7,seven",
    )
    (tmp_path / "list.csv").write_text("\n".join(lines))
    run, plan = plan_of(tmp_path / "run", str(tmp_path / "list.csv"))
    names = [
        ImageName("day/a.jpg"),
        ImageName("a b.jpg"),
        ImageName("seven.png"),
        ImageName("x", "one"),
    ]
    assert [image.image_id for image in match_images(run, plan, names[:3])] == [
        "one",
        "two",
        "seven",
    ]
    assert match_images(run, plan, names[3:])[0].image_id == "one"
