"""Tests of pipelines.run.longest_path."""

import pytest

from pipelines.run.longest_path import pair_paths, path_of


def paired(names, others):
    found = pair_paths([path_of(name) for name in names], [path_of(other) for other in others])
    assert found.tie is None
    return {names[i]: others[j] for i, j in found.pairs.items()}


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("/data/day/a.jpg", ("data", "day", "a.jpg")),
        ("day\\a.jpg", ("day", "a.jpg")),
        ("/data/x.tar#day/a.jpg", ("data", "x.tar", "day", "a.jpg")),
        ("s3://bucket/day/a.jpg", ("s3:", "bucket", "day", "a.jpg")),
        ("https://example.org/day/a%20b.jpg?size=1#top", ("example.org", "day", "a b.jpg")),
        ("", ("",)),
    ],
)
def test_an_address_is_a_path(address, parts):
    assert path_of(address) == parts


@pytest.mark.parametrize(
    ("names", "others", "pairs"),
    [
        # one of a name on either side: folders do not matter
        (["val/a"], ["/photos/a", "/photos/b"], {"val/a": "/photos/a"}),
        (
            ["day/a", "night/a"],
            ["/d/night/a", "/d/day/a"],
            {"day/a": "/d/day/a", "night/a": "/d/night/a"},
        ),
        # the longest end wins, whatever the folders above it are called
        (
            ["one/x/day/a", "one/x/night/a"],
            ["/two/x/day/a", "/two/x/night/a"],
            {"one/x/day/a": "/two/x/day/a", "one/x/night/a": "/two/x/night/a"},
        ),
        # those without a partner are left out, on either side
        (["day/a"], ["/d/day/a", "/d/night/a"], {"day/a": "/d/day/a"}),
        (["day/a", "night/a"], ["/d/day/a"], {"day/a": "/d/day/a"}),
        (["day/a", "noon/a"], ["/d/day/a", "/d/night/a"], {"day/a": "/d/day/a"}),
        # below one root: a name without folders is the one that lies where theirs begin
        (
            ["a", "x/a", "y/x/a"],
            ["/d/a", "/d/x/a", "/d/y/x/a", "/d/z/a"],
            {"a": "/d/a", "x/a": "/d/x/a", "y/x/a": "/d/y/x/a"},
        ),
        (
            ["/d/a", "/d/x/a"],
            ["s3://b/a", "s3://b/x/a"],
            {"/d/a": "s3://b/a", "/d/x/a": "s3://b/x/a"},
        ),
        (["a", "x/a"], ["/d/x/a", "/d/z/a"], {"x/a": "/d/x/a"}),
    ],
)
def test_paths_are_paired_by_their_longest_common_end(names, others, pairs):
    assert paired(names, others) == pairs
    assert paired(others, names) == {other: name for name, other in pairs.items()}


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (["a"], ["/d/day/a", "/d/night/a"]),
        (["day/a", "night/a"], ["/d/a"]),
        (["x/a", "y/a"], ["/d/day/a", "/d/night/a"]),
        (["day/a", "day/a"], ["/d/day/a"]),
    ],
)
def test_what_fits_equally_well_is_a_tie(names, others):
    found = pair_paths([path_of(name) for name in names], [path_of(other) for other in others])
    assert found.tie is not None
    assert [len(side) for side in found.tie] == [len(names), len(others)]


def test_many_files_of_one_name_are_paired_in_a_moment():
    names = [(f"{i}", "a.jpg") for i in range(20_000)]
    others = [("d", *name) for name in reversed(names)]
    found = pair_paths(names, others)
    assert found.pairs == {i: 19_999 - i for i in range(20_000)}
