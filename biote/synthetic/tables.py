"""Tables like a user's own: named sequence columns and a label, as CSV and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from biote.synthetic.genetic_code import encode_protein
from biote.synthetic.genomes import Species
from biote.synthetic.pronab import BindingData
from biote.synthetic.proteins import ProteinFamily, draw_member, pick_family

_WINDOW = 90
"""Nucleotides of a row of the coding table."""


def binding_table(data: BindingData, *, rows: int) -> dict[str, list[Any]]:
    """Columns of a regression task on pairs: protein and DNA strand to Delta G.

    Args:
        data: Binding data; RNA and awkward rows are left out.
        rows: Most rows.

    Returns:
        Columns ``id``, ``protein``, ``dna`` and ``delta_g_kcal_mol``.
    """
    columns: dict[str, list[Any]] = {"id": [], "protein": [], "dna": [], "delta_g_kcal_mol": []}
    for protein in data.proteins:
        for number, row in enumerate(protein.measurements):
            usable = row.kind == "DNA" and row.first and row.delta_g_kcal_mol < -0.005
            if usable and len(columns["id"]) < rows:
                columns["id"].append(f"{protein.accession}:{number}")
                columns["protein"].append(protein.sequence)
                columns["dna"].append(row.first)
                columns["delta_g_kcal_mol"].append(row.delta_g_kcal_mol)
    return columns


def coding_table(
    species: Species, families: list[ProteinFamily], *, rows: int, rng: np.random.Generator
) -> dict[str, list[Any]]:
    """Columns of a classification task: is a stretch of DNA coding or intergenic?

    Args:
        species: Species whose DNA it is.
        families: Families that the encoded proteins belong to.
        rows: Number of rows.
        rng: Source of randomness.

    Returns:
        Columns ``id``, ``dna``, ``label`` (0 intergenic, 1 coding) and ``split``.
    """
    columns: dict[str, list[Any]] = {"id": [], "dna": [], "label": [], "split": []}
    for number in range(rows):
        label = number % 2
        if label:
            protein = draw_member(pick_family(families, rng=rng), rng=rng)
            coding = encode_protein(protein, species.codon_usage, rng=rng)
            start = int(rng.integers(len(coding) - _WINDOW + 1))
            dna = coding[start : start + _WINDOW]
        else:
            dna = species.intergenic.sample(_WINDOW, rng=rng)
        tenth = number // 2 % 10
        columns["id"].append(f"window{number + 1}")
        columns["dna"].append(dna)
        columns["label"].append(label)
        columns["split"].append("test" if tenth == 0 else "validation" if tenth == 1 else "train")
    return columns


def write_table(path: Path, columns: dict[str, list[Any]]) -> None:
    """Write a table twice, as ``.csv`` and as ``.parquet``.

    Args:
        path: File to write, without its extension; its folder is made if it is not there.
        columns: Values of each column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    options = pa.csv.WriteOptions(quoting_style="needed")
    pa.csv.write_csv(table, path.with_suffix(".csv"), write_options=options)
    pa.parquet.write_table(table, path.with_suffix(".parquet"))
