import pytest

from pipelines.corpus.glob_pattern import GlobPattern, split_glob


@pytest.mark.parametrize(
    ("pattern", "path", "is_meant"),
    [
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "x/a.jpg", False),
        ("x/*/y?.jpg", "x/1/y2.jpg", True),
        ("x/*/y?.jpg", "x/1/2/y3.jpg", False),
        ("x/[ab].jpg", "x/b.jpg", True),
        ("x/[!ab].jpg", "x/b.jpg", False),
        ("x/**/a.jpg", "x/a.jpg", True),
        ("x/**/a.jpg", "x/1/2/a.jpg", True),
        ("x/**/a.jpg", "y/a.jpg", False),
        ("x/**", "x/1/2.jpg", True),
        ("**/a/**/b.jpg", "1/a/b.jpg", True),
        ("**/a/**/b.jpg", "1/b/b.jpg", False),
        ("a+b (1).jpg*", "a+b (1).jpg", True),
    ],
)
def test_a_star_stays_in_a_folder_and_two_cross(pattern: str, path: str, is_meant: bool) -> None:
    assert GlobPattern(pattern).matches(path) is is_meant


def test_folders_that_cannot_hold_a_match_are_known() -> None:
    pattern = GlobPattern("x/*/y*.jpg")
    assert pattern.may_hold("x")
    assert pattern.may_hold("x/1")
    assert not pattern.may_hold("x/1/2")
    assert not pattern.may_hold("z")
    assert GlobPattern("**/*.jpg").may_hold("any/depth/at/all")


def test_the_last_folder_of_a_glob_is_known() -> None:
    assert GlobPattern("x/*/y*.jpg").ends_in("x/1")
    assert not GlobPattern("x/*/y*.jpg").ends_in("x")
    assert not GlobPattern("x/**/y*.jpg").ends_in("x")
    assert not GlobPattern("x/**").ends_in("x")


def test_an_address_splits_before_its_first_wildcard() -> None:
    assert split_glob("s3://b/x/2024-*/[a].jpg") == ("s3://b/x/2024-", True)
    assert split_glob("s3://b/x/a.jpg") == ("s3://b/x/a.jpg", False)
