from __future__ import annotations

from pathlib import Path

import pytest

from biote.corpora.workspace import workspace
from biote.errors import DataError


def test_a_workspace_is_empty_and_gone_afterwards(tmp_path: Path) -> None:
    output = tmp_path / "new/x.parquet"
    with workspace(output, command="pairs") as folder:
        left = folder
        assert list(folder.iterdir()) == []
        assert folder.parent == output.parent
        (folder / "part").write_text("")
    assert list(output.parent.iterdir()) == []
    left.mkdir()  # as a process leaves it that is killed
    (left / "part").write_text("")
    other = tmp_path / "new/.x.parquet.partial"
    other.mkdir()
    with workspace(output, command="pairs") as folder:
        assert list(folder.iterdir()) == []
    assert list(output.parent.iterdir()) == [other]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with workspace(tmp_path / "x", command="pairs") as folder:
            (folder / "part").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_has_the_workspace_of_an_output(tmp_path: Path) -> None:
    def enter(name: str, command: str) -> None:
        with workspace(tmp_path / name, command=command):
            pass

    with workspace(tmp_path / "x", command="pairs") as folder:
        (folder / "part").write_text("")
        with pytest.raises(DataError, match="another process writes x now"):
            enter("x", "pairs")
        enter("y", "pairs")
        enter("x", "tokenizer")
        assert (folder / "part").exists()
    enter("x", "pairs")


def test_what_is_no_folder_of_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / ".x.pairs.partial").symlink_to(tmp_path / "precious")

    def enter() -> None:
        with workspace(tmp_path / "x", command="pairs"):
            pass

    with pytest.raises(OSError, match="symbolic link"):
        enter()
    assert (tmp_path / "precious").is_dir()
