"""Images inside tar and Parquet files, read a few at a time and checked one by one."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.image import InputImage
from pipelines.fetch import container_reader
from pipelines.fetch.container_reader import ContainerReader
from pipelines.fetch.image_reader import ImageReader
from pipelines.storage.store import open_bucket
from possam_core.images.decode import ImageError
from tests.factories import list_images
from tests.pipelines.clock import Clock

CONTENTS = [bytes([65 + i]) * (10 + i) for i in range(6)]


def write_tar(path: Path, contents: list[bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for i, content in enumerate(contents):
            for name, data in ((f"{i:03d}.jpg", content), (f"{i:03d}.json", b"{}")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(path)


def write_parquet(path: Path, contents: list[bytes]) -> str:
    images = [{"bytes": content, "path": None} for content in contents]
    pq.write_table(pa.table({"image": images}), path, row_group_size=4)
    return str(path)


def read_all(images: list[InputImage]) -> list[bytes | str]:
    reader = ContainerReader()
    contents = [c for unit in reader.units(images) for c in reader.read(unit)]
    return [c.code.value if isinstance(c, ImageError) else c for c in contents]


@pytest.fixture(params=["tar", "parquet"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write = {"tar": write_tar, "parquet": write_parquet}[request.param]
    return write(tmp_path / f"images.{request.param}", CONTENTS)


def rewrite(container: str, contents: list[bytes]) -> None:
    write = write_tar if container.endswith(".tar") else write_parquet
    write(Path(container), contents)


def test_every_image_comes_back_in_order(container: str) -> None:
    assert read_all(list_images(container)) == CONTENTS


def test_a_few_images_come_back_alone(container: str) -> None:
    images = list_images(container)
    assert read_all([images[4], images[1]]) == [CONTENTS[4], CONTENTS[1]]


def test_a_changed_member_is_named_and_the_others_are_read(container: str, clock: Clock) -> None:
    images = list_images(container)
    rewrite(container, [*CONTENTS[:2], CONTENTS[2].lower(), *CONTENTS[3:]])
    assert read_all(images) == [*CONTENTS[:2], "input_changed", *CONTENTS[3:]]


def test_a_file_that_became_shorter_has_changed(container: str, clock: Clock) -> None:
    images = list_images(container)
    Path(container).write_bytes(b"short")
    assert read_all(images) == ["input_changed"] * 6


def test_a_file_that_went_is_not_found(container: str) -> None:
    images = list_images(container)
    Path(container).unlink()
    assert read_all(images) == ["not_found"] * 6


def test_neighbours_in_a_tar_are_one_unit_up_to_a_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = list_images(write_tar(tmp_path / "a.tar", CONTENTS))
    assert [len(unit) for unit in ContainerReader().units(images)] == [6]
    monkeypatch.setattr(container_reader, "RANGE_BYTES", 5000)  # a member and its JSON take 2048
    assert [len(unit) for unit in ContainerReader().units(images)] == [3, 3]
    assert read_all(images) == CONTENTS


def test_rows_of_a_row_group_are_one_unit(tmp_path: Path) -> None:
    images = list_images(write_parquet(tmp_path / "a.parquet", CONTENTS))
    assert [len(unit) for unit in ContainerReader().units(images)] == [4, 2]


def test_a_giant_member_is_refused_unread(tmp_path: Path) -> None:
    (image,) = list_images(write_tar(tmp_path / "a.tar", CONTENTS[:1]))
    giant = replace(image, size=65 * 2**20)
    assert read_all([giant]) == ["too_large"]


def test_a_tar_in_a_bucket_is_read_by_one_request_a_range(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    fsspec.filesystem("s3").makedirs("containers", exist_ok=True)
    data = Path(write_tar(tmp_path / "a.tar", CONTENTS)).read_bytes()
    obstore.put(open_bucket("containers"), "a.tar", data)
    images = list_images("s3://containers/a.tar")
    ranges = []
    get_range = obstore.get_range

    def count(*arguments: object, **options: object) -> object:
        ranges.append(options)
        return get_range(*arguments, **options)

    monkeypatch.setattr(container_reader.obstore, "get_range", count)
    reader = ImageReader()
    fetched = [f for unit in reader.units(images) for f in reader.fetch(unit)]
    assert [f.data for f in fetched] == CONTENTS
    assert len(ranges) == 1
