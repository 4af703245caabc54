"""Every dataset that can be downloaded: where it is, in which files, how they are checked.

This is the one file with addresses. What has no address that a program may read (a login, a form,
a page for browsers) is here with the steps a person takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biote.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file whose name is known beforehand."""

    path: str
    """Path below the address of the dataset."""
    checksum: str | None = None
    """``algorithm:hexadecimal digest``, where one is known."""
    bytes: int | None = None
    """Exact size, where it is known."""


@dataclass(frozen=True, kw_only=True)
class FixedFiles:
    """Files that never change."""

    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, kw_only=True)
class MetalinkFiles:
    """Files of the current release, with size and MD5 in a metalink document beside them."""

    metalink: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ListedFiles:
    """Files of the current release, found in the listing of its folder."""

    pattern: str
    """Regular expression of a file's name with the groups ``division`` and ``number``."""
    release: str
    """File that names the release."""
    without_sequences: frozenset[str]
    """Divisions that are left out unless they are asked for by name."""


@dataclass(frozen=True, kw_only=True)
class IdentifiedFiles:
    """One file for each identifier that the user names."""

    template: str
    """Path of a file, with ``{id}``, in lower case."""
    pattern: str
    """Regular expression of an identifier in lower case."""


@dataclass(frozen=True, kw_only=True)
class ManualSteps:
    """Nothing a program may fetch: what a person does."""

    steps: tuple[str, ...]


Contents = FixedFiles | MetalinkFiles | ListedFiles | IdentifiedFiles | ManualSteps


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset and its official source."""

    name: str
    folder: str
    """Folder it is written to, below the output folder."""
    what: str
    format: str
    size: str
    """About how large the download is, for people."""
    licence: str
    address: str
    """Folder on the server, ending in a slash; of manual sources, the page to open."""
    contents: Contents
    then: str | None = None
    """Command that uses the files next, with ``{folder}``."""


_UNIPROT: Final = "https://ftp.uniprot.org/pub/databases/uniprot/uniref/"
_TAPE: Final = "https://s3.amazonaws.com/songlabdata/proteindata/data_pytorch/"
_TAPE_CHECKSUMS: Final = {
    "secondary_structure": "md5:2f61e8e09c215c032ef5bc8b910c8e97",
    "remote_homology": "md5:1d687bdeb9e3866f77504d6079eed00a",
    "fluorescence": "md5:d63d1d51ec8c20ff0d981e4cbd67457a",
    "stability": "md5:aa1e06eb5a59e0ecdae581e9ea029675",
    "proteinnet": None,  # the source gives none and nobody has published one of this file
}
_TAPE_LICENCE: Final = "as each source set; TAPE asks to cite all that are used"
# Of every taxon the UniProt accession and sequence of each protein of a profile, and the
# DNA-binding domains in it: name, bytes, SHA-256.
_JASPAR_PROTEINS: Final = (
    (
        "vertebrates.uniprot.json",
        515614,
        "f3e274caa178cee7f7f7e252bbcdb3399838d1412db065ec885c05cbb7351cee",
    ),
    (
        "plants.uniprot.json",
        314256,
        "7f320c12abee242fdfc92101bdd7ff122210839e4a7490adb35f1aa40605d929",
    ),
    (
        "insects.uniprot.json",
        184639,
        "82d815c587bb054de6423ff649cb9b83ca1f0281138dd8d6d0a046dc220f37ff",
    ),
    (
        "fungi.uniprot.json",
        125924,
        "c51546fefc8e796baad7baf0795c5646832ce0e349557ecee75d9d941128d38d",
    ),
    (
        "nematodes.uniprot.json",
        52082,
        "4fd819180dcaccfa304a0bc9be070de05afc1482cf6e9f49bbad1e404116df82",
    ),
    (
        "urochordates.uniprot.json",
        38703,
        "8ef22e4b2f771050724b46f6bb468afbe74a0cd13d8e62848339baeabc4f632c",
    ),
    (
        "vertebrates.pfam.json",
        366267,
        "ab6c741c95172995e5499fe0a0ff84c169b59cdb6a46611bf28757c20ffed5df",
    ),
    (
        "plants.pfam.json",
        159712,
        "34139839e3262bc393c066eaed2ea75e8470d81d6812f6d3c1d5e2dc3a8a349e",
    ),
    (
        "insects.pfam.json",
        87051,
        "ed59e996a03b9c8ecefc336bfbb5502ddc178aa0bc7652a06054b1bf3d1e2ec2",
    ),
    ("fungi.pfam.json", 44805, "1ecf411b1562a368a2831dfb60caf923c5883c5716dc7b4b6ae88b115851cd43"),
    (
        "nematodes.pfam.json",
        29786,
        "eb1141f5061b1c262b2a0302af2c5cb91dbcf793e59c10cb446e63867328b661",
    ),
    (
        "urochordates.pfam.json",
        15412,
        "c9ebe66f4e47164dcc9dd42956d3fa38a6e5bf6ecded6633f1f6d5eab3940404",
    ),
)


def _uniref(identity: int, size: str) -> Dataset:
    name = f"uniref{identity}"
    return Dataset(
        name=name,
        folder=name,
        what=f"UniProt clusters of proteins at {identity} % identity",
        format="FASTA, gzip",
        size=size,
        licence="CC BY 4.0",
        address=f"{_UNIPROT}{name}/",
        contents=MetalinkFiles(metalink="RELEASE.metalink", names=(f"{name}.fasta.gz",)),
        then="biote prepare {folder} --molecule protein --output CORPUS",
    )


def _tape(name: str, what: str, size: str, sets: Sequence[str]) -> Dataset:
    files = tuple(
        RemoteFile(path=f"{each}.tar.gz", checksum=_TAPE_CHECKSUMS[each]) for each in sets
    )
    return Dataset(
        name=name,
        folder="tape",
        what=what,
        format="LMDB in tar.gz",
        size=size,
        licence=_TAPE_LICENCE,
        address=_TAPE,
        contents=FixedFiles(files=files),
    )


_ALL: Final = (
    Dataset(
        name="genbank",
        folder="genbank",
        what="GenBank, current release, by division (--division bct,vrl)",
        format="GenBank flat file, gzip",
        size="thousands of files, terabytes unpacked; --dry-run tells",
        licence="no restrictions by NCBI; submitters may hold rights",
        address="https://ftp.ncbi.nlm.nih.gov/genbank/",
        contents=ListedFiles(
            pattern=r"gb(?P<division>[a-z]{3})(?P<number>\d+)\.seq\.gz",
            release="GB_Release_Number",
            without_sequences=frozenset({"con"}),  # they only say how other records join
        ),
        then="biote prepare {folder} --output CORPUS",
    ),
    _uniref(100, "over 100 GB"),
    _uniref(90, "30 to 40 GB"),
    _uniref(50, "9 to 12 GB"),
    Dataset(
        name="pronab",
        folder="pronab",
        what="ProNAB protein-nucleic-acid affinities of wild types, as the OmniBioTE authors used",
        format="JSON",
        size="3.2 MB",
        licence="MIT (the authors' file)",
        address="https://raw.githubusercontent.com/nyuolab/OmniBioTE/"
        "54afaceae4f16fee8defea49508ef4e8b824f7d7/datasets/",
        contents=FixedFiles(
            files=(
                RemoteFile(
                    path="pronab_no_mutations.json",
                    bytes=3162216,
                    checksum="sha256:"
                    "c0f332da4681d1dfce3402223479adc52e912b2deac98132073fe31f17718331",
                ),
            )
        ),
    ),
    Dataset(
        name="pronab-mutants",
        folder="pronab",
        what="the whole ProNAB database, mutants included",
        format="table",
        size="small",
        licence="not stated; cite the ProNAB paper",
        address="https://web.iitm.ac.in/bioinfo2/pronab/",
        contents=ManualSteps(
            steps=(
                "open {address} in a browser and go to its Download section",
                "save the table into {folder}",
            )
        ),
    ),
    Dataset(
        name="jaspar",
        folder="jaspar",
        what="JASPAR 2024 CORE profiles of all taxa, every version",
        format="JASPAR count matrices, text",
        size="about 1.5 MB",
        licence="CC BY 4.0",
        address="https://jaspar.elixir.no/download/data/2024/CORE/",
        contents=FixedFiles(files=(RemoteFile(path="JASPAR2024_CORE_redundant_pfms_jaspar.txt"),)),
    ),
    Dataset(
        name="jaspar-proteins",
        folder="jaspar",
        what="UniProt accession, sequence and domains of the proteins of JASPAR 2024, by taxon",
        format="JSON",
        size="1.9 MB",
        licence="MIT",
        address="https://raw.githubusercontent.com/wassermanlab/JASPAR-inference-tool/"
        "622dca48b0e93d342888704dd6176ee912d94074/files/",
        contents=FixedFiles(
            files=tuple(
                RemoteFile(path=name, bytes=size, checksum=f"sha256:{digest}")
                for name, size, digest in _JASPAR_PROTEINS
            )
        ),
    ),
    Dataset(
        name="gue",
        folder="gue",
        what="GUE, 28 genome benchmarks of DNABERT-2",
        format="CSV in a zip",
        size="small",
        licence="Apache-2.0 (the DNABERT-2 repository)",
        address="https://drive.google.com/file/d/1GRtbzTe3UXYF1oW27ASNhYX3SZ16D7N2/view",
        contents=ManualSteps(
            steps=(
                "open {address} in a browser (the file is on Google Drive, which asks before it "
                "hands out large files) and download the zip",
                "unpack it with: unzip GUE.zip -d {folder}",
                "the tables then stand at {folder}/GUE/<group>/<task>/train.csv, dev.csv, test.csv",
            )
        ),
    ),
    _tape("tape", "TAPE, its five supervised sets", "about 120 MB", tuple(_TAPE_CHECKSUMS)),
    *(
        _tape(
            f"tape-{name.replace('_', '-')}",
            f"TAPE {name.replace('_', ' ')}",
            "tens of MB",
            (name,),
        )
        for name in _TAPE_CHECKSUMS
    ),
    Dataset(
        name="proteinglue",
        folder="proteinglue",
        what="ProteinGLUE, seven tasks of one label a residue",
        format="TFRecord",
        size="not stated",
        licence="not stated; cite the ProteinGLUE paper",
        address="https://www.ibi.vu.nl/downloads/ProteinGLUE/",
        contents=ManualSteps(
            steps=(
                "open {address} in a browser: the authors' page lists the files of each task",
                "save them into {folder}",
            )
        ),
    ),
    Dataset(
        name="pdb",
        folder="pdb",
        what="structures of the Protein Data Bank by id (--ids 1LCD,5UGO or --ids file:ids.txt)",
        format="mmCIF, gzip",
        size="about 0.2 MB an entry",
        licence="CC0",
        address="https://files.rcsb.org/download/",
        contents=IdentifiedFiles(template="{id}.cif.gz", pattern=r"[0-9][a-z0-9]{3}"),
    ),
)

DATASETS: Final[dict[str, Dataset]] = {dataset.name: dataset for dataset in _ALL}


def find_dataset(name: str) -> Dataset:
    """Look a dataset up by name.

    Args:
        name: Name of the dataset.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1)
    mend = f"did you mean {near[0]}?" if near else f"datasets: {', '.join(DATASETS)}"
    raise ConfigError(f"no dataset {name!r}", mend=mend)
