"""Paint predictions on a structure: an mmCIF file and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "structure",
        type=Path,
        help="PDB or mmCIF file of one protein chain with one or two nucleic chains",
    )
    parser.add_argument(
        "predictions",
        type=Path,
        help="Parquet table with a line for every residue, or a list of values for every protein",
    )
    parser.add_argument("--output", type=Path, required=True, help="mmCIF file to write")
    parser.add_argument(
        "--picture", type=Path, help="PNG file to write; by default beside the mmCIF file"
    )
    parser.add_argument(
        "--id", help="the protein's id in the table; by default the name of the structure file"
    )
    parser.add_argument("--id-column", default="row_id", help="column of protein ids")
    parser.add_argument(
        "--residue-column",
        default="position",
        help="column of residue numbers; without meaning where values are lists",
    )
    parser.add_argument("--value-column", default="prediction", help="column of values")
    parser.add_argument(
        "--first-residue", type=int, default=0, help="number of the sequence's first residue"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="use only lines with this value; may be given several times",
    )
    parser.add_argument(
        "--cutoff-angstrom", type=float, default=8.0, help="marked as in contact in the picture"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are there already"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the painted structure and its picture.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    import numpy as np
    from rich.console import Console

    from biote.corpora.structures.complexes import find_complex
    from biote.corpora.structures.files import refuse_present
    from biote.corpora.structures.maps import alpha_coordinates
    from biote.corpora.structures.paint import backbone_coordinates, paint_structure
    from biote.corpora.structures.polymers import read_structure
    from biote.corpora.structures.residue_values import read_residue_values
    from biote.report.structure import structure_figure

    picture = arguments.picture or arguments.output.with_suffix(".png")
    for path in (arguments.output, picture):
        refuse_present(path, overwrite=arguments.overwrite)
    read = read_structure(arguments.structure)
    found = find_complex(read)
    name = arguments.id or read.name
    values = read_residue_values(
        arguments.predictions,
        name,
        length=len(found.protein.sequence),
        id_column=arguments.id_column,
        residue_column=arguments.residue_column,
        value_column=arguments.value_column,
        first_residue=arguments.first_residue,
        where=arguments.where,
    )
    trace = alpha_coordinates(found.protein)
    strands = [backbone_coordinates(strand) for strand in found.nucleic]
    painted = paint_structure(read, values, arguments.output)
    finite = values[np.isfinite(values)]
    kinds = " and ".join(dict.fromkeys(strand.molecule.value for strand in found.nucleic))
    probabilities = bool(((finite >= 0) & (finite <= 1)).all())
    structure_figure(
        picture,
        trace=trace,
        strands=strands,
        values=values,
        near=found.distance <= arguments.cutoff_angstrom,
        title=f"{name}: {arguments.value_column} of residues; shaded: within "
        f"{arguments.cutoff_angstrom:g} Å of {kinds}",
        label=arguments.value_column,
        limits=(0.0, 1.0) if probabilities else (float(finite.min()), float(finite.max())),
    )
    console = Console()
    resolved = len(values) - found.protein.n_unresolved
    console.print(
        f"{painted:,} of {resolved:,} resolved residues painted, 100 x {arguments.value_column} "
        f"as B-factor: {arguments.output}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(f"picture: {picture}", highlight=False, markup=False, soft_wrap=True)
