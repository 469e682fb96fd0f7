import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest

from pipelines.cli.jobs import JOBS, settings_class
from pipelines.settings.json_schema import config_schema
from pipelines.settings.label import LabelConfig
from pipelines.settings.load import load_config
from pipelines.settings.prices import PriceConfig
from possam_core.errors import ConfigError
from possam_core.settings import Setting

EXAMPLE = Path(__file__).parents[3] / "configs/label.example.yaml"


def unless_a_day(text: str) -> str:
    """Every text but one is a day of May."""
    return "" if text.startswith("2026-05-") else "a day of May 2026"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One setting of each kind that the jobs have."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    images: str
    num_workers: int | None = None
    gpus_per_worker: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    allowed_hosts: tuple[str, ...] = ()
    since: Annotated[str | None, Setting("a day", unset="all", wanted_of=unless_a_day)] = None
    prices: PriceConfig = field(default_factory=PriceConfig)

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise ConfigError(f"num_workers must be at least 1, got {self.num_workers}")


def write(folder: Path, text: str) -> Path:
    file = folder / "label.yaml"
    file.write_text(text)
    return file


def mistake(file: Path | None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(Settings, file, flags)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(file), "FILE")


def test_a_file_fills_nested_settings(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "images: s3://b/p\ngpus_per_worker: 1\nallowed_hosts: [a.org, b.org]\n"
        "since: 2026-05-01\nprices: {worker_hour: 2}\n",
    )
    assert load_config(Settings, file, {}) == Settings(
        images="s3://b/p",
        gpus_per_worker=1.0,
        allowed_hosts=("a.org", "b.org"),
        since="2026-05-01",
        prices=PriceConfig(worker_hour=2.0),
    )


def test_flags_that_are_given_win_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "images: there\nnum_workers: 2\n")
    loaded = load_config(Settings, file, {"images": "here", "num_workers": None})
    assert loaded == Settings(images="here", num_workers=2)


def test_flags_alone_are_enough() -> None:
    flags = {"images": "here", "since": "2026-05-01", "allowed_hosts": ("a.org",)}
    assert load_config(Settings, None, flags) == Settings(
        images="here", since="2026-05-01", allowed_hosts=("a.org",)
    )


def test_all_mistakes_are_reported_at_once_with_their_place_and_the_nearest_name(
    tmp_path: Path,
) -> None:
    file = write(
        tmp_path,
        "num_wrokers: 2\nprecision: int8\nprices: {worker_huor: 1, get_per_1000: cheap}\n",
    )
    assert mistake(file, gpus_per_worker="many") == (
        "6 settings are wrong:"
        " (1) expected images in FILE, got none; it has no default"
        " (2) expected gpus_per_worker on the command line to be a number, got 'many'"
        " (3) expected precision in FILE to be 'float32' or 'bfloat16', got 'int8'"
        " (4) expected prices.get_per_1000 in FILE to be a number, got 'cheap'"
        " (5) expected the name of a setting in FILE, got prices.worker_huor;"
        " did you mean 'worker_hour'?"
        " (6) expected the name of a setting in FILE, got num_wrokers; did you mean 'num_workers'?"
    )


def test_a_name_like_no_other_is_answered_with_all_names(tmp_path: Path) -> None:
    assert mistake(write(tmp_path, "images: x\nzzz: 1\n")) == (
        "expected the name of a setting in FILE, got zzz; known are images, num_workers,"
        " gpus_per_worker, precision, allowed_hosts, since, prices"
    )


def test_the_error_of_a_class_about_its_own_settings_is_reported_unchanged(tmp_path: Path) -> None:
    assert mistake(None, images="x", num_workers=0) == "num_workers must be at least 1, got 0"
    assert mistake(write(tmp_path, "images: x\nprices: {worker_hour: -1}\n")) == (
        "prices.worker_hour in FILE must be 0 or more, got -1.0; leave it out if there is none"
    )


@pytest.mark.parametrize("value", ["yes", "'2'", "1.5", "[2]"])
def test_only_a_whole_number_is_a_count(tmp_path: Path, value: str) -> None:
    message = mistake(write(tmp_path, f"images: x\nnum_workers: {value}\n"))
    assert message.startswith("expected num_workers in FILE to be a whole number, got ")


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        ("1e-1", "0.1 or 1.0e-1"),
        ("25E3", "25000 or 25.0e+3"),
        ("2.5e3", "2500 or 2.5e+3"),
        ("1e-30", "1.0e-30"),
    ],
)
def test_a_number_that_yaml_takes_for_text_is_answered_with_how_to_write_it(
    tmp_path: Path, value: str, spellings: str
) -> None:
    file = write(tmp_path, f"images: x\ngpus_per_worker: {value}\n")
    assert mistake(file) == (
        f"expected gpus_per_worker in FILE to be a number, got {value!r}; write it as {spellings}"
    )
    for spelling in spellings.split(" or "):
        file = write(tmp_path, f"images: x\ngpus_per_worker: {spelling}\n")
        assert load_config(Settings, file, {}).gpus_per_worker == float(value)


@pytest.mark.parametrize(("value", "advice"), [("1e3", "; write it as 1000"), ("1e-1", "")])
def test_a_count_with_an_exponent_is_answered_with_the_whole_number(
    tmp_path: Path, value: str, advice: str
) -> None:
    message = mistake(write(tmp_path, f"images: x\nnum_workers: {value}\n"))
    expected = f"expected num_workers in FILE to be a whole number, got {value!r}{advice}"
    assert message == expected


def test_a_whole_number_may_be_written_with_a_point(tmp_path: Path) -> None:
    file = write(tmp_path, "images: x\nnum_workers: 2.0\n")
    assert load_config(Settings, file, {}).num_workers == 2
    assert isinstance(load_config(Settings, file, {}).num_workers, int)


def test_a_list_is_not_made_of_one_word(tmp_path: Path) -> None:
    message = mistake(write(tmp_path, "images: x\nallowed_hosts: a.org\n"))
    assert message == "expected allowed_hosts in FILE to be a list, got 'a.org'"


def test_a_number_is_not_taken_for_a_date(tmp_path: Path) -> None:
    message = mistake(write(tmp_path, "images: x\nsince: 2026\n"))
    assert message == "expected since in FILE to be text, got 2026"


def test_a_day_that_no_calendar_has_is_reported_beside_other_mistakes(tmp_path: Path) -> None:
    assert mistake(write(tmp_path, "images: x\nsince: 2026-13-40\nnum_workers: two\n")) == (
        "2 settings are wrong:"
        " (1) expected num_workers in FILE to be a whole number, got 'two'"
        " (2) since in FILE must be a day of May 2026, got '2026-13-40'"
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("num_workers: true", "expected num_workers in FILE to be a whole number, got true"),
        ("images: null", "expected images in FILE to be text, got null"),
        ("images: [a, null, 1.5]", "expected images in FILE to be text, got [a, null, 1.5]"),
        ("prices: 3", "expected prices in FILE to be a group of settings, got 3"),
        ("prices.worker_hour: 1", "write worker_hour on a line of its own below prices:"),
        ("use_gpu: true", "got use_gpu; it is now gpus_per_worker: 1 for a GPU, 0 for the CPU"),
        ("since: ''", "since in FILE must not be empty, got ''; leave it out (all)"),
        ('since: "2026-05\\0"', r"since in FILE must hold no NUL character, got '2026-05\x00'"),
        ("images: !!binary aGk=", "got !!binary"),
        ("images: !!set {a}", "got !!set"),
        ("images: !!timestamp 2026-05-01", "got !!timestamp"),
    ],
)
def test_a_wrong_line_is_answered_in_the_words_of_yaml(
    tmp_path: Path, line: str, problem: str
) -> None:
    text = line if line.startswith("images") else f"images: x\n{line}"
    assert problem in mistake(write(tmp_path, text))


def test_a_contradiction_in_a_group_names_the_group_and_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "output: o\nnetwork: {checkpoint: possam-tiny}\n"
        "data: {source: playground}\nvalidation: {source: playground, num_scenes: 1}\n"
        "loop: {num_steps: 2, schedule: {kind: step}}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(settings_class("train"), file, {})
    message = str(caught.value)
    assert f"data in {file}: num_scenes must be named for the source 'playground'" in message
    assert f"in {file}: loop.schedule.drop_steps must name steps" in message


@pytest.mark.parametrize(
    ("group", "setting"),
    [
        ("loop", "learning_rate: 1.0e+300"),
        ("loss", "void: 1.0e+300"),
        ("loss", "num_points: 1000000000000"),
        ("data", "num_scenes: 9223372036854775807"),
    ],
)
def test_a_number_that_no_training_could_bear_is_refused(
    tmp_path: Path, group: str, setting: str
) -> None:
    file = write(tmp_path, f"{group}: {{{setting}}}\n")
    with pytest.raises(ConfigError, match=rf"{group}.{setting.partition(':')[0]} in .* must be "):
        load_config(settings_class("train"), file, {})


@pytest.mark.parametrize(
    "host",
    ["https://example.org/", "example.org/a", "*.example.org", "example.org:0", "a b", ":80"],
)
def test_a_web_host_that_no_address_could_match_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed_hosts .* must be a host such as example\.org"):
        load_config(LabelConfig, None, {"images": "i", "output": "o", "allowed_hosts": (host,)})


@pytest.mark.parametrize(
    "host", ["example.org", ".example.org", "Bücher.example.", "a-b.org:8080", "[::1]:80", "::1"]
)
def test_a_web_host_may_have_a_port_and_stand_for_all_below_it(host: str) -> None:
    flags = {"images": "i", "output": "o", "allowed_hosts": (host,)}
    assert load_config(LabelConfig, None, flags).allowed_hosts == (host,)


def test_a_name_that_is_not_utf8_is_refused_in_a_sentence() -> None:
    assert mistake(None, images="/photos/\udcff") == (
        "expected settings in UTF-8, got '\\udcff' in one of them; rename that file or folder"
    )


def test_a_long_wrong_value_is_cut(tmp_path: Path) -> None:
    message = mistake(write(tmp_path, f"images: x\nnum_workers: {'w' * 500}\n"))
    assert message.endswith("got '" + "w" * 59 + "...")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("images: a\nnum_workers: 2\nimages: b\n", "expected images once, found it twice"),
        ("images: a\nprices:\n  currency: A\n  currency: B\n", "expected currency once"),
        ("images: a\non: 1\n", "expected the name of a setting, got 'on'; put it in quotes"),
        ("images: [a\n", "expected YAML in FILE, but it does not parse"),
        ("images: &a [*a]\n", "expected YAML in FILE, but it does not parse"),
        ("[" * 5000, "expected YAML in FILE, but it does not parse"),
        ("", "expected `name: value` lines in FILE, got nothing"),
        ("- images\n", "expected `name: value` lines in FILE, got a list"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_a_sentence(
    tmp_path: Path, text: str, problem: str
) -> None:
    assert problem in mistake(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    assert "expected a readable settings file at FILE" in mistake(tmp_path / "none.yaml")
    assert "expected a readable settings file at FILE" in mistake(tmp_path)
    file = tmp_path / "binary.yaml"
    file.write_bytes(b"\xff\xfe\xfa")
    assert "expected a readable settings file at FILE" in mistake(file)


def test_the_place_of_a_repeated_name_is_given(tmp_path: Path) -> None:
    assert "line 2, column 1" in mistake(write(tmp_path, "images: a\nimages: b\n"))


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    file = write(tmp_path, "images: a\nprices:\n  <<: {worker_hour: 1}\n  worker_hour: 2\n")
    assert load_config(Settings, file, {}).prices.worker_hour == 2


def test_the_schema_names_types_choices_and_what_is_required() -> None:
    schema = json.loads(json.dumps(config_schema(Settings)))
    assert "required" not in schema  # images may come by flag
    assert config_schema(settings_class("train"))["required"] == [
        "network",
        "data",
        "validation",
        "loop",
    ]
    assert schema["additionalProperties"] is False
    assert "title" not in schema
    assert schema["description"] == "One setting of each kind that the jobs have."
    assert schema["properties"]["precision"]["enum"] == ["float32", "bfloat16"]
    prices = schema["$defs"]["PriceConfig"]
    assert prices["properties"]["worker_hour"] == {
        "examples": [1.2],
        "description": "price of a worker-hour: its share of a machine, its GPU included",
        "minimum": 0,
        "default": 0.0,
        "title": "Worker hour",
        "type": "number",
    }


@pytest.mark.parametrize("job", JOBS)
def test_no_schema_describes_a_class_by_its_example_for_python(job: str) -> None:
    schema = json.dumps(config_schema(settings_class(job)))
    assert schema.count("Example:") == schema.count(">>>") == 0


def test_the_example_is_valid_and_shows_every_setting() -> None:
    loaded = load_config(LabelConfig, EXAMPLE, {})
    assert (loaded.num_workers, loaded.prices.worker_hour) == (8, 1.2)
    lines = [line.lstrip("# ") for line in EXAMPLE.read_text().splitlines()]
    for cls in (LabelConfig, PriceConfig):
        for setting in fields(cls):
            assert any(line.startswith(f"{setting.name}:") for line in lines), setting.name


def test_what_the_example_comments_out_is_valid_too(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    names = tuple(f"# {setting.name}:" for setting in fields(LabelConfig))
    file = write(tmp_path, "\n".join(s[2:] if s.startswith(names) else s for s in lines))
    loaded = load_config(LabelConfig, file, {})
    assert loaded.since == "2026-10-01T00:00:00+00:00"
    assert loaded.allowed_hosts == ("images.example.org",)
    assert loaded.shard_size == 1024
