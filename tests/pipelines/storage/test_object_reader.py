"""Reading from an unreliable store, simulated by a list of replies."""

import hashlib

import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from pipelines.storage import object_reader
from pipelines.storage.object_reader import DAMAGE, TROUBLE, DamagedReadError, ObjectReader
from tests.pipelines.clock import Clock

MD5 = hashlib.md5(b"data").hexdigest()


class Reply:
    """What obstore.get returns."""

    def __init__(self, body: bytes, *, etag: str = MD5, size: int | None = None) -> None:
        self.body = body
        self.meta = {"e_tag": f'"{etag}"', "size": len(body) if size is None else size}

    def bytes(self) -> bytes:
        return self.body


class Replies:
    """Answers each read with the next reply, and the last one for ever."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.num_reads = 0

    def __call__(self, *_: object) -> Reply:
        reply = self.replies[min(self.num_reads, len(self.replies) - 1)]
        self.num_reads += 1
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def reader(clock: Clock) -> ObjectReader:
    return ObjectReader(MemoryStore())


def answer(monkeypatch: pytest.MonkeyPatch, *replies: Reply | Exception) -> Replies:
    answers = Replies(*replies)
    monkeypatch.setattr(object_reader.obstore, "get", answers)
    return answers


def test_a_sound_object_is_read_once(reader: ObjectReader, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = answer(monkeypatch, Reply(b"data"))
    assert reader.read("a") == b"data"
    assert answers.num_reads == 1


def test_short_flipped_and_broken_replies_are_read_again(
    reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [Reply(b"dat", size=4), Reply(b"dXta"), GenericError("reset"), Reply(b"data")]
    answers = answer(monkeypatch, *broken)
    assert reader.read("a") == b"data"
    assert answers.num_reads == 4


def test_a_short_body_whose_announced_length_agrees_is_found_by_the_planned_size(
    reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, Reply(b"dat", etag="no-md5"), Reply(b"data", etag="no-md5"))
    assert reader.read("a", size=4) == b"data"


def test_an_object_that_is_always_damaged_is_named(
    reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answer(monkeypatch, Reply(b"dat", size=4))
    with pytest.raises(DamagedReadError):
        reader.read("a")
    assert answers.num_reads == DAMAGE.tries


def test_an_etag_that_is_no_md5_costs_more_reads_only_once(
    reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answer(monkeypatch, Reply(b"data", etag="0" * 32))
    assert reader.read("a") == b"data"
    assert answers.num_reads == DAMAGE.tries
    assert reader.read("b") == b"data"
    assert answers.num_reads == DAMAGE.tries + 1


def test_bytes_that_change_while_they_are_read_are_damaged(
    reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, Reply(b"dXta"), Reply(b"dYta"))
    with pytest.raises(DamagedReadError):
        reader.read("a")


def test_trouble_that_lasts_raises(reader: ObjectReader, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = answer(monkeypatch, GenericError("503 Slow Down"))
    with pytest.raises(GenericError):
        reader.read("a")
    assert answers.num_reads == TROUBLE.tries
