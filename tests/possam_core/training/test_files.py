from pathlib import Path

from possam_core.training.files import LocalFolder


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "new")
    assert folder.read("a.bin") is None
    assert folder.write("a.bin", b"first") == str(tmp_path / "new/a.bin")
    folder.write("a.bin", b"second")
    assert folder.read("a.bin") == b"second"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_a_half_written_file_of_a_killed_process_is_not_read(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("a.bin", b"whole")
    (tmp_path / "a.bin.partial").write_bytes(b"ha")
    assert folder.read("a.bin") == b"whole"
    folder.write("a.bin", b"next")
    assert folder.read("a.bin") == b"next"
