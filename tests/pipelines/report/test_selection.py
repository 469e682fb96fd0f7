"""Tests of pipelines.report.selection."""

import random

from pipelines.report import selection
from pipelines.report.selection import SAMPLE, WORST, Candidate, Selection


def candidates(scores: list[float]) -> list[Candidate]:
    return [
        Candidate(badness=(score,), image_id=f"image {row}", row=row, shard=0, position=row)
        for row, score in enumerate(scores)
    ]


def test_all_are_chosen_worst_first_where_there_is_room():
    chosen = Selection(size=3)
    chosen.add(candidates([0.5, 0.2, 0.9]))
    assert [(c.row, kind) for c, kind in chosen.chosen()] == [(1, WORST), (0, WORST), (2, WORST)]
    assert chosen.describe() == "Every labelled image has a picture."


def test_half_are_the_worst_and_half_a_sample_of_the_others():
    scores = [row / 100 for row in range(100)]
    chosen = Selection(size=20)
    chosen.add(candidates(scores))
    found = chosen.chosen()
    assert [c.row for c, kind in found if kind == WORST] == list(range(10))
    sampled = [c.row for c, kind in found if kind == SAMPLE]
    assert len(sampled) == 10
    assert min(sampled) >= 10
    assert sampled == sorted(sampled) != list(range(10, 20))
    assert "the 10 worst and 10 drawn at random from the other 90" in chosen.describe()


def test_the_choice_depends_neither_on_the_order_nor_on_the_parts(monkeypatch):
    everyone = candidates([row % 7 / 7 for row in range(300)])
    whole = Selection(size=12)
    whole.add(everyone)
    monkeypatch.setattr(selection, "SLACK", 5)
    random.Random(0).shuffle(everyone)
    parts = Selection(size=12)
    for start in range(0, 300, 17):
        parts.add(everyone[start : start + 17])
    assert parts.chosen() == whole.chosen()
