"""Files and folders that are whole or not there."""

from pathlib import Path

import pytest

from helpers import files_below
from model.files import whole, write_whole


def test_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    with whole(tmp_path / "deep" / "a.json") as part:
        part.write_text("new", encoding="utf-8")
        assert not (tmp_path / "deep" / "a.json").exists()
        assert part.name.startswith(".a.json.")
    assert files_below(tmp_path) == {"deep/a.json": b"new"}


@pytest.mark.parametrize("made", ["file", "folder", "nothing"])
def test_what_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, made: str) -> None:
    def fail() -> None:
        with whole(tmp_path / "a") as part:
            if made == "file":
                part.write_text("half", encoding="utf-8")
            elif made == "folder":
                part.mkdir()
                (part / "b").write_text("half", encoding="utf-8")
            raise RuntimeError

    write_whole(tmp_path / "a", "é")
    with pytest.raises(RuntimeError):
        fail()
    assert files_below(tmp_path) == {"a": "é".encode()}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_whole_and_what_a_killed_process_left_is_replaced(
    tmp_path: Path,
) -> None:
    with whole(tmp_path / "scan") as first:
        left = first
        left.mkdir()
    left.mkdir()
    (left / "old").touch()
    with whole(tmp_path / "scans" / "1", ".tmp") as part:
        assert part.suffix == ".tmp"
        part.mkdir()
        (part / "ct").write_bytes(b"x")
    assert (tmp_path / "scans" / "1" / "ct").read_bytes() == b"x"
    (tmp_path / "scan").rmdir()
    with whole(tmp_path / "scan") as part:
        assert part == left
        assert not part.exists()
        part.mkdir()
    assert list((tmp_path / "scan").iterdir()) == []
