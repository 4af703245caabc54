from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from biote.corpora.bpe_training.folder import new_tokenizer_folder
from biote.errors import DataError
from biote.tokenization import CharacterTokenizer, load_tokenizer
from biote.tokenization.base import TOKENIZER_FILE


def test_the_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    output = tmp_path / "new/out"
    with new_tokenizer_folder(output, overwrite=False) as build:
        CharacterTokenizer().save(build)
        assert not output.exists()
        assert output.parent in build.parents  # so that it can be renamed
    assert load_tokenizer(output)
    assert [path.name for path in output.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_leaves_what_was_there(tmp_path: Path, overwrite: bool) -> None:
    output = tmp_path / "out"
    if overwrite:
        CharacterTokenizer().save(output)
    before = sorted(path.name for path in tmp_path.iterdir())

    def fail() -> None:
        with new_tokenizer_folder(output, overwrite=overwrite) as build:
            (build / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_was_there_comes_back_when_the_new_folder_cannot_take_its_place(
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    CharacterTokenizer().save(output)
    with (
        pytest.raises(FileNotFoundError),
        new_tokenizer_folder(output, overwrite=True) as build,
    ):
        build.rmdir()
    assert load_tokenizer(output)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


_KILLED = """
import os, signal, sys
from pathlib import Path
from biote.corpora.bpe_training import folder
from biote.tokenization import CharacterTokenizer

rename = Path.rename
def rename_and_die(path, target):
    rename(path, target)
    if sys.argv[2] == "replacing":
        os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename_and_die
with folder.new_tokenizer_folder(Path(sys.argv[1]), overwrite=True) as build:
    CharacterTokenizer().save(build)
    if sys.argv[2] == "building":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["building", "replacing"])
def test_what_a_killed_run_left_is_put_right_by_the_next(tmp_path: Path, moment: str) -> None:
    output = tmp_path / "out"
    CharacterTokenizer().save(output)
    before = (output / TOKENIZER_FILE).read_bytes()
    mine = tmp_path / ".out.123.partial", tmp_path / ".outer.tokenizer.partial"
    for path in mine:
        path.mkdir()
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(output), moment], check=False)
    assert killed.returncode == -9
    assert output.exists() == (moment == "building")
    assert len(names(tmp_path)) > 3  # something was left

    def begin() -> None:
        with new_tokenizer_folder(output, overwrite=False):
            pass

    if moment == "replacing":  # what was there stands again, and is not replaced unasked
        with pytest.raises(DataError, match="holds a tokenizer already"):
            begin()
    else:
        with new_tokenizer_folder(output, overwrite=True) as build:
            assert not list(build.iterdir())
            CharacterTokenizer().save(build)
    assert (output / TOKENIZER_FILE).read_bytes() == before
    assert names(tmp_path) == sorted(["out", *(path.name for path in mine)])


def test_the_folder_of_a_live_run_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"

    def begin() -> None:
        with new_tokenizer_folder(output, overwrite=True):
            pass

    with new_tokenizer_folder(output, overwrite=False) as build:
        CharacterTokenizer().save(build)
        with pytest.raises(DataError, match=r"another process writes out now"):
            begin()
        assert (build / TOKENIZER_FILE).is_file()
    assert load_tokenizer(output)
    assert names(tmp_path) == ["out"]


def test_a_link_to_the_folder_stays_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, link = tmp_path / "disk/real", tmp_path / "link"
    real.mkdir(parents=True)
    link.symlink_to(real)
    with new_tokenizer_folder(link, overwrite=False) as build:
        CharacterTokenizer().save(build)
    assert link.is_symlink()
    assert load_tokenizer(real)
    monkeypatch.chdir(real)
    with new_tokenizer_folder(Path("."), overwrite=True) as build:
        CharacterTokenizer().save(build)
    assert load_tokenizer(link)
    assert names(real.parent) == ["real"]
    assert names(tmp_path) == ["disk", "link"]
