from __future__ import annotations

from pathlib import Path

import pytest

from biote.corpora.bpe_training.folder import new_tokenizer_folder
from biote.tokenization import CharacterTokenizer, load_tokenizer


def test_the_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    output = tmp_path / "new/out"
    with new_tokenizer_folder(output, overwrite=False) as build:
        CharacterTokenizer().save(build)
        assert not output.exists()
        assert build.parent == output.parent  # so that it can be renamed
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
