from pathlib import Path

import pytest

from pipelines.corpus.source import read_source
from possam_core.errors import ConfigError


@pytest.mark.parametrize("ending", [".tar", ".parquet", ".csv", ".jsonl", ".ndjson", ".TAR"])
def test_a_folder_of_packed_images_is_an_error_that_says_what_to_write(
    tmp_path: Path, ending: str
) -> None:
    (tmp_path / f"part-0{ending}").touch()
    with pytest.raises(ConfigError) as error:
        next(read_source(str(tmp_path)))
    assert str(error.value).endswith(f"write {tmp_path}/*{ending}")


def test_the_advice_reaches_deeper_files(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/part-0.tar").touch()
    with pytest.raises(ConfigError) as error:
        next(read_source(str(tmp_path)))
    assert str(error.value).endswith(f"write {tmp_path}/**/*.tar")
    with pytest.raises(ConfigError) as error:
        next(read_source(f"{tmp_path}/deep/*/*"))
    assert str(error.value).endswith(f"write {tmp_path}/deep/**/*.tar")


def test_the_advice_for_a_bucket_names_its_prefix(make_bucket) -> None:
    bucket = make_bucket("sources", {"x/a.tar": b"", "y/deep/b.parquet": b""})
    for images, advice in ((f"{bucket}/x", "x/*.tar"), (f"{bucket}/y", "y/**/*.parquet")):
        with pytest.raises(ConfigError) as error:
            next(read_source(images))
        assert str(error.value).endswith(f"write {bucket}/{advice}")


def test_images_beside_packed_files_are_the_corpus(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.jpg").write_bytes(b"data")
    (tmp_path / "captions.parquet").touch()
    assert [row["relative_uri"] for row in read_rows(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize("name", ["gone.tar", "gone.parquet", "gone.csv", "x*.tar", "x*.parquet"])
def test_nothing_at_the_address_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        next(read_source(f"{tmp_path}/{name}"))
    assert f"{tmp_path}/{name}" in str(error.value)


def test_nothing_is_read_before_the_first_batch_is_asked_for() -> None:
    read_source("/nowhere/at/all.tar")  # an error would show


@pytest.mark.parametrize("name", ["photo.tif", "photo.HEIC", "deep/photo.avif"])
def test_images_of_a_kind_that_is_not_read_are_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    for images in (tmp_path, file):
        with pytest.raises(ConfigError) as error:
            next(read_source(str(images)))
        assert str(error.value).endswith(
            f"found none but {file}, whose kind is not read; convert such images to PNG or JPEG"
        )


@pytest.mark.parametrize("name", ["list.txt", "list.tsv", "list.json", "list.csv.gz"])
def test_a_list_of_another_kind_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a.jpg")
    with pytest.raises(ConfigError, match=rf"a list of images in .*{name} as \.csv \.jsonl"):
        next(read_source(f"{tmp_path}/{name}"))


def test_a_jfif_is_a_jpeg(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.jfif").write_bytes(b"data")
    assert [row["relative_uri"] for row in read_rows(tmp_path)] == ["a.jfif"]
