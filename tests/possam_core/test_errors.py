import pytest

from possam_core.errors import first_line, one_line


@pytest.mark.parametrize(
    ("message", "one", "first"),
    [
        ("the disk is full", "the disk is full", "the disk is full"),
        ("the  disk\n  is full\n", "the disk is full", "the disk"),
        ("\n the\tdisk \nis full", "the disk is full", "the disk"),
        (" \n", "OSError", "OSError"),
    ],
)
def test_the_reason_of_an_error_is_its_message_in_one_line_or_the_first_line(
    message: str, one: str, first: str
) -> None:
    error = OSError(message)
    assert (one_line(error), first_line(error)) == (one, first)
