"""A new run does not begin among other people's files."""

from pathlib import Path

import fsspec
import pytest

from pipelines.planning.prepare import prepare
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError


def test_a_folder_with_other_files_is_refused_and_nothing_is_written(
    one_image: Path, tmp_path: Path
) -> None:
    output = tmp_path / "thesis"
    (output / "chapters").mkdir(parents=True)
    (output / "chapters" / "1.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"an empty folder or a run at .*thesis.*chapters/1\.txt"):
        prepare(LabelConfig(images=str(one_image), output=str(output)))
    assert [path.name for path in output.rglob("*")] == ["chapters", "1.txt"]
    forced = prepare(LabelConfig(images=str(one_image), output=str(output), force=True))
    assert forced.plan.num_images == 1
    again = prepare(LabelConfig(images=str(one_image), output=str(output)))  # now it is a run
    assert again.plan.plan_id == forced.plan.plan_id


@pytest.mark.parametrize("name", [".DS_Store", "_runs/probe-12"])
def test_hidden_files_and_what_a_probe_has_left_are_no_ones(
    one_image: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert prepare(LabelConfig(images=str(one_image), output=str(tmp_path / "run"))).plan.num_images


def test_a_plan_that_was_not_finished_is_made_again(one_image: Path, tmp_path: Path) -> None:
    config = LabelConfig(images=str(one_image), output=str(tmp_path / "run"))
    planned = prepare(config).plan
    (tmp_path / "run/_plan/plan.json").unlink()
    assert prepare(config).plan == planned


def test_so_is_a_prefix_of_a_bucket(one_image: Path, s3_server: str) -> None:
    s3 = fsspec.filesystem("s3", endpoint_url=s3_server)
    s3.makedirs("shared-bucket", exist_ok=True)
    s3.pipe_file("shared-bucket/team/report.csv", b"theirs")
    with pytest.raises(ConfigError, match=r"s3://shared-bucket/team, but it holds report\.csv"):
        prepare(LabelConfig(images=str(one_image), output="s3://shared-bucket/team"))
    assert s3.find("shared-bucket/team") == ["shared-bucket/team/report.csv"]
    assert prepare(LabelConfig(images=str(one_image), output="s3://shared-bucket/team/run")).plan
