import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from rich.console import Console

from pipelines.monitor.status import read_status
from pipelines.monitor.status_table import alarms, status_table
from pipelines.run.finalise import finalise
from pipelines.run.folder import (
    SCHEMA_VERSION,
    RunFolder,
    draft_folder,
    plan_key,
    plan_part_key,
    shard_key,
)
from pipelines.run.plan import load_plan
from pipelines.run.presence import Presence
from possam_core.errors import ConfigError

OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations.md"

# A run of `make_run` has three images a shard.
FIVE_IMAGES, TWO_SHARDS = 5, 2


@pytest.fixture
def run(make_run: Callable) -> Path:
    """A run of five images in shards of three and two, all committed, not finalised."""
    return make_run(FIVE_IMAGES).run


def remove(run: Path, *shards: int) -> None:
    for shard in shards:
        (run / shard_key(shard)).unlink()


def size_of(run: Path, shard: int) -> int:
    return (run / shard_key(shard)).stat().st_size


def commit_at(run: Path, shard: int, *, seconds_ago: float) -> None:
    """Set the time at which a shard was committed."""
    time = datetime.now().timestamp() - seconds_ago
    os.utime(run / shard_key(shard), (time, time))


def leave_note(run: Path, *, started_s: float, seen_s: float, is_finished: bool = False) -> None:
    """Leave the note of process 7 on `farm`, with times that many seconds ago."""
    now = datetime.now(UTC)
    note = {
        "host": "farm",
        "pid": 7,
        "possam_version": "0",
        "started": (now - timedelta(seconds=started_s)).isoformat(),
        "last_seen": (now - timedelta(seconds=seen_s)).isoformat(),
        "is_finished": is_finished,
    }
    key = f"_runs/{len(list(run.glob('_runs/*'))):032x}.json"
    RunFolder(str(run)).put_new(key, json.dumps(note).encode())


def plan_retry(run: Path, *, num_images: int) -> None:
    """Freeze the head of a first retry; statuses need no more of it."""
    plan = load_plan(RunFolder(str(run)))
    assert plan is not None
    head = {
        "schema_version": SCHEMA_VERSION,
        "plan_id": plan.plan_id,
        "round": 1,
        "codes": ["not_found"],
        "dropped": {},
        "num_images": num_images,
        "num_shards": 1,
        "parts": [{"key": plan_part_key(0, draft_folder(1, ["not_found"]))}],
    }
    RunFolder(str(run)).put_new(plan_key(1), json.dumps(head).encode())


def printed(run: Path) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(status_table(read_status(str(run))))
    return capture.get()


def test_a_run_whose_shards_are_all_committed_is_complete(run: Path) -> None:
    status = read_status(str(run))
    (corpus,) = status.rounds
    assert status.state == "complete"
    assert (corpus.num_committed_images, corpus.num_images) == (5, 5)
    assert (corpus.num_committed_shards, corpus.num_shards) == (2, 2)
    assert status.num_bytes == status.expected_bytes == size_of(run, 0) + size_of(run, 1)
    assert status.root_hash is None
    assert alarms(status) == ["the manifest is not written; run the same command again to write it"]


def test_a_finalised_run_has_a_root_hash_and_no_alarms(run: Path) -> None:
    manifest = finalise(RunFolder(str(run)))
    status = read_status(str(run))
    assert (status.state, status.root_hash) == ("finalised", manifest.root_hash)
    assert status.share_committed == 1
    assert alarms(status) == []


def test_a_plan_without_commits_or_attempts_is_planned(run: Path) -> None:
    remove(run, 0, 1)
    status = read_status(str(run))
    assert (status.state, status.share_committed) == ("planned", 0)
    assert (status.num_bytes, status.expected_bytes) == (0, None)
    assert status.pace.first_commit is status.pace.last_commit is None


@pytest.mark.parametrize(("open_shard", "num_committed"), [(0, 2), (1, 3)])
def test_images_are_counted_by_the_size_of_their_shards(
    run: Path, open_shard: int, num_committed: int
) -> None:
    remove(run, open_shard)
    status = read_status(str(run))
    assert status.state == "interrupted"
    assert status.rounds[0].num_committed_images == num_committed
    assert status.share_committed == num_committed / 5
    num_bytes = size_of(run, 1 - open_shard)
    assert status.num_bytes == num_bytes
    assert status.expected_bytes == round(num_bytes / num_committed * 5)


def test_a_process_seen_recently_is_at_work(run: Path) -> None:
    remove(run, 1)
    Presence(RunFolder(str(run))).beat()
    status = read_status(str(run))
    (worker,) = status.workers
    assert status.state == "running"
    assert (worker.pid, worker.is_at_work) == (os.getpid(), True)
    assert f"(process {os.getpid()})" in printed(run)
    assert alarms(status) == []


def test_a_process_not_seen_for_long_is_called_silent(run: Path) -> None:
    remove(run, 1)
    leave_note(run, started_s=3600, seen_s=600)
    status = read_status(str(run))
    assert (status.state, status.workers[0].is_at_work) == ("interrupted", False)
    assert alarms(status) == [
        "farm (process 7) is silent for 10 min",
        "no process is at work; run the same command again to label what is left",
    ]


def test_a_process_that_recorded_its_end_is_not_listed(run: Path) -> None:
    leave_note(run, started_s=60, seen_s=1, is_finished=True)
    assert read_status(str(run)).workers == ()


def test_shards_that_were_started_three_times_are_suspects_while_they_are_open(run: Path) -> None:
    remove(run, 1)
    folder = RunFolder(str(run))
    for shard in (0, 1):
        for _ in range(3):
            folder.start_attempt(shard)
    status = read_status(str(run))
    assert (status.rounds[0].num_started_shards, status.rounds[0].suspects) == (1, (1,))
    assert alarms(status)[0] == "shards with three attempts or more in data: 1"


def test_two_attempts_make_no_suspect(run: Path) -> None:
    remove(run, 0)
    folder = RunFolder(str(run))
    folder.start_attempt(0)
    folder.start_attempt(0)
    status = read_status(str(run))
    assert (status.rounds[0].num_started_shards, status.rounds[0].suspects) == (1, ())


def test_the_overall_pace_leaves_out_the_first_commit(run: Path) -> None:
    commit_at(run, 0, seconds_ago=5000)
    commit_at(run, 1, seconds_ago=4800)
    pace = read_status(str(run)).pace
    assert pace.first_commit is not None
    assert pace.last_commit is not None
    assert (pace.last_commit - pace.first_commit).total_seconds() == pytest.approx(200, abs=1)
    assert pace.images_per_s == pytest.approx(2 / 200, rel=0.01)  # two images in the last shard
    assert pace.images_per_s_now is pace.seconds_left is None  # no process is at work


def test_the_time_left_follows_from_what_those_at_work_have_committed(make_run: Callable) -> None:
    run = make_run(8).run  # shards of 3, 3 and 2
    remove(run, 2)
    commit_at(run, 0, seconds_ago=9000)  # by an earlier process
    commit_at(run, 1, seconds_ago=100)
    leave_note(run, started_s=300, seen_s=1)
    pace = read_status(str(run)).pace
    assert pace.images_per_s_now == pytest.approx(3 / 300, rel=0.05)
    assert pace.seconds_left == pytest.approx(2 / (3 / 300), rel=0.05)


def test_only_the_last_ten_minutes_count_for_the_present_pace(make_run: Callable) -> None:
    run = make_run(8).run
    remove(run, 2)
    commit_at(run, 0, seconds_ago=1200)
    commit_at(run, 1, seconds_ago=100)
    leave_note(run, started_s=3600, seen_s=1)
    assert read_status(str(run)).pace.images_per_s_now == pytest.approx(3 / 600, rel=0.05)


def test_pauses_between_a_run_and_its_retry_do_not_count(make_run: Callable) -> None:
    run = make_run(8).run  # shards of 3, 3 and 2
    commit_at(run, 0, seconds_ago=9000)
    commit_at(run, 1, seconds_ago=8900)
    commit_at(run, 2, seconds_ago=1000)
    leave_note(run, started_s=9100, seen_s=8800, is_finished=True)
    leave_note(run, started_s=1100, seen_s=990, is_finished=True)
    # At work from the first commit to the last: 9000 to 8800, and 1100 to 1000.
    assert read_status(str(run)).pace.images_per_s == pytest.approx(5 / 300, rel=0.02)


def test_the_pace_of_the_last_ten_minutes_stays_when_the_run_has_just_ended(
    make_run: Callable,
) -> None:
    run = make_run(8).run
    for shard in range(3):
        commit_at(run, shard, seconds_ago=150 - shard)
    leave_note(run, started_s=300, seen_s=100, is_finished=True)
    pace = read_status(str(run)).pace
    assert pace.images_per_s_now == pytest.approx(8 / 200, rel=0.02)
    assert pace.seconds_left is None


def test_a_run_that_was_stopped_before_its_first_shard_is_interrupted(make_run: Callable) -> None:
    run = make_run(8).run
    for shard in range(3):
        remove(run, shard)
    for note in run.glob("_attempts/*"):
        note.unlink()
    assert read_status(str(run)).state == "planned"
    leave_note(run, started_s=60, seen_s=30, is_finished=True)
    assert read_status(str(run)).state == "interrupted"


def test_a_retry_is_a_round_of_its_own_and_reopens_the_run(run: Path) -> None:
    folder = RunFolder(str(run))
    finalise(folder)
    plan_retry(run, num_images=2)
    status = read_status(str(run))
    assert (status.state, status.root_hash) == ("planned", None)
    assert status.rounds[1].codes == ("not_found",)
    assert (status.rounds[1].num_committed_images, status.rounds[1].num_images) == (0, 2)
    assert status.share_committed == 5 / 7
    folder.start_attempt(0, 1)
    assert read_status(str(run)).state == "interrupted"
    folder.commit(0, b"x", 1)
    status = read_status(str(run))
    assert (status.state, status.rounds[1].num_committed_images) == ("complete", 2)
    assert status.root_hash is None  # the manifest is older than the retry


def test_the_data_files_are_not_read(run: Path) -> None:
    before = read_status(str(run))
    for shard in range(TWO_SHARDS):
        (run / shard_key(shard)).write_bytes(b"\0" * size_of(run, shard))
    after = read_status(str(run))
    assert (after.rounds, after.num_bytes) == (before.rounds, before.num_bytes)


def test_what_does_not_belong_to_the_plan_is_not_counted(run: Path) -> None:
    (run / "data/g=0000/shard-00000002.parquet").write_bytes(b"x")
    (run / "data/g=0000/notes.txt").write_bytes(b"x")
    folder = RunFolder(str(run))
    folder.start_attempt(2)
    folder.put_new("_runs/probe-12", b"{}")
    (corpus,) = read_status(str(run)).rounds
    assert (corpus.num_committed_images, corpus.num_started_shards) == (5, 0)


def test_the_status_of_a_run_in_a_bucket_is_the_same(run: Path, s3_server: str) -> None:
    remove(run, 1)
    bucket = fsspec.filesystem("s3")
    bucket.makedirs("runs", exist_ok=True)
    location = f"s3://runs/{run.parent.name}"
    bucket.put(str(run), location, recursive=True)
    status = read_status(location)
    assert (status.state, status.location) == ("interrupted", location)
    assert status.rounds == read_status(str(run)).rounds
    assert status.num_bytes == size_of(run, 0)


def test_the_table_says_what_the_status_says(run: Path) -> None:
    remove(run, 1)
    text = printed(run)
    assert "is interrupted" in text
    assert "3 of 5 (60.0%)" in text
    assert "1 of 2 committed" in text
    assert "at work" in text
    assert "no process" in text


def test_the_json_holds_plain_values(run: Path) -> None:
    leave_note(run, started_s=60, seen_s=1)
    content = read_status(str(run)).to_json()
    assert json.loads(json.dumps(content)) == content
    assert (content["state"], content["share_committed"]) == ("complete", 1.0)
    assert datetime.fromisoformat(content["pace"]["first_commit"]).tzinfo is not None
    assert content["workers"][0]["host"] == "farm"


def test_where_no_run_is_one_sentence_says_so(tmp_path: Path, s3_server: str) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "none", "s3://no-such-bucket/run"):
        with pytest.raises(ConfigError, match="possam label"):
            read_status(str(place))


def test_the_manual_explains_every_alarm(make_run: Callable) -> None:
    run = make_run(FIVE_IMAGES).run
    found = alarms(read_status(str(run)))
    remove(run, 1)
    leave_note(run, started_s=3600, seen_s=600)
    for _ in range(3):
        RunFolder(str(run)).start_attempt(1)
    found += alarms(read_status(str(run)))
    explained = [
        line.split("|")[1].strip()
        for line in OPERATIONS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    assert len(found) == 4
    for alarm in found:
        fixed = alarm.replace("farm (process 7)", "HOST (process PID)").replace("10 min", "N min")
        assert any(fixed.partition(end)[0] in explained for end in (";", ":"))
