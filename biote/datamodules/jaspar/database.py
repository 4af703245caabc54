"""A folder of JASPAR files: profiles, the proteins they belong to, and the domains of these.

Files, one set a taxon, each plain or with ``.gz``: ``<taxon>.jaspar`` (profiles, see
`biote.datamodules.jaspar.profiles`), ``<taxon>.uniprot.json`` (``{accession: [[matrix id, ...],
sequence]}``), ``<taxon>.pfam.json`` (``{accession: [[domain, aligned, start, end, E-value],
...]}``) and ``<taxon>.profiles.json`` (``{matrix id: name}``). In the place of the first and the
last of them, JASPAR's release has the profiles of all taxa in one file,
``JASPAR2024_CORE_redundant_pfms_jaspar.txt``. ``biote download jaspar jaspar-proteins`` fetches
that one and those of the proteins.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from biote.datamodules.jaspar.profiles import Profile, parse_profiles
from biote.errors import DataError
from biote.molecules import Molecule, canonical_sequence

logger = logging.getLogger(__name__)

_PROFILES: Final = ".jaspar"
_PROTEINS: Final = ".uniprot.json"
_RELEASE: Final = "JASPAR*_pfms_jaspar.txt"


@dataclass(frozen=True, kw_only=True)
class Protein:
    """One accession."""

    accession: str
    sequence: str
    """Canonical residues; empty where the files hold none."""

    profiles: tuple[str, ...]
    """Matrix ids linked to it, versions included."""

    domains: tuple[str, ...]
    """Names of its DNA-binding domains (Pfam), each once, sorted."""


@dataclass(frozen=True)
class Database:
    """All profiles and proteins of a folder."""

    profiles: Mapping[str, Profile]
    """By matrix id."""

    proteins: Mapping[str, Protein]
    """By accession."""


def read_database(folder: Path) -> Database:
    """Read the files of every taxon.

    An accession of two taxa is one protein with the profiles of both.

    Args:
        folder: Folder with the files.

    Raises:
        DataError: If there are none, one is missing or unreadable, or two disagree.
    """
    profiles: dict[str, Profile] = {}
    stems = _stems(folder, _PROFILES)
    for stem in stems:
        path = _found(folder, f"{stem}{_PROFILES}")
        of_taxon = _read_profiles(path, into=profiles)
        _check_names(folder, stem, of_taxon)
    whole = None if stems else _release(folder)
    if whole is not None:
        _read_profiles(whole, into=profiles)
        stems = _stems(folder, _PROTEINS)
    proteins: dict[str, Protein] = {}
    lost: set[str] = set()
    for stem in stems:
        path = _found(folder, f"{stem}{_PROTEINS}")
        entries = _json(path)
        domains = _json(_found(folder, f"{stem}.pfam.json"))
        for accession, entry in entries.items():
            protein = _protein(accession, entry, domains.get(accession, []), where=str(path))
            unknown = [matrix for matrix in protein.profiles if matrix not in profiles]
            if unknown and whole is None:
                raise DataError(
                    f"{accession} is linked to {unknown[0]}, which is no profile", where=str(path)
                )
            if unknown:  # the release of another year, or profiles outside of its core
                lost.update(unknown)
                known = tuple(matrix for matrix in protein.profiles if matrix in profiles)
                protein = replace(protein, profiles=known)
            earlier = proteins.get(accession)
            proteins[accession] = protein if earlier is None else _joined(earlier, protein, path)
    if lost:
        logger.warning("%s: %d profiles of proteins are not in it.", whole, len(lost))
    return Database(profiles, proteins)


def jaspar_folder(root: Path) -> Path:
    """The folder ``jaspar`` of a data folder, or a folder of JASPAR files itself.

    Args:
        root: Either of them.
    """
    inside = root / "jaspar"
    return inside if inside.is_dir() else root


def _stems(folder: Path, ending: str) -> list[str]:
    """Taxa that have a file of some ending, plain or compressed."""
    names = {path.name.removesuffix(".gz") for path in folder.glob(f"*{ending}*")}
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _release(folder: Path) -> Path:
    """The one file with the profiles of all taxa."""
    found = sorted(path for ending in ("", ".gz") for path in folder.glob(f"{_RELEASE}{ending}"))
    if not found:
        raise DataError(
            f"no <taxon>{_PROFILES} file and no {_RELEASE} in {folder}",
            where="data.root",
            mend="give the folder that holds jaspar/, or fetch it: biote download jaspar "
            "jaspar-proteins --output DIR",
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(
            f"profiles of several releases: {names}", where=str(folder), mend="keep one"
        )
    return found[0]


def _read_profiles(path: Path, *, into: dict[str, Profile]) -> list[Profile]:
    """Read a file of profiles and add them to others."""
    profiles = parse_profiles(_text(path), source=str(path))
    for profile in profiles:
        if into.setdefault(profile.id, profile) is not profile:
            raise DataError(f"profile {profile.id} stands there twice", where=str(path))
    return profiles


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"no file {name} or {name}.gz", where=str(folder), mend="copy it there")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise DataError(f"not JSON ({error})", where=str(path)) from error
    if not isinstance(content, dict):
        raise DataError("not an object", where=str(path))
    return content


def _check_names(folder: Path, stem: str, profiles: list[Profile]) -> None:
    path = _found(folder, f"{stem}.profiles.json")
    names = _json(path)
    there = {profile.id: profile.name for profile in profiles}
    for matrix in sorted(names.keys() | there.keys()):
        if names.get(matrix) != there.get(matrix):
            raise DataError(
                f"{matrix} is {names.get(matrix)!r} here and {there.get(matrix)!r} in "
                f"{stem}{_PROFILES}",
                where=str(path),
                mend="take both files from one release",
            )


def _protein(accession: str, entry: Any, domains: Any, *, where: str) -> Protein:
    try:
        matrices, sequence = entry
        names = sorted({str(domain[0]) for domain in domains})
        linked = tuple(str(matrix) for matrix in matrices)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(
            f"entry {accession} is not [[matrix ids], sequence]", where=where
        ) from error
    if not isinstance(sequence, str):
        raise DataError(f"the sequence of {accession} is no text", where=where)
    canonical = canonical_sequence(sequence, Molecule.PROTEIN, record=accession) if sequence else ""
    return Protein(accession=accession, sequence=canonical, profiles=linked, domains=tuple(names))


def _joined(first: Protein, second: Protein, path: Path) -> Protein:
    if first.sequence != second.sequence:
        raise DataError(f"{first.accession} has two sequences", where=str(path))
    return Protein(
        accession=first.accession,
        sequence=first.sequence,
        profiles=tuple(dict.fromkeys((*first.profiles, *second.profiles))),
        domains=tuple(sorted({*first.domains, *second.domains})),
    )
