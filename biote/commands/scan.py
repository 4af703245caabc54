"""Every single substitution of a binding site for one protein, as a table and a picture.

Delta-Delta-G is the predicted Delta G of the mutated site minus that of the site, averaged over
the checkpoints; the second strand is the reverse complement of the first, in both.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from biote.commands.model_arguments import add_model_arguments

if TYPE_CHECKING:
    import jsonargparse

logger = logging.getLogger(__name__)

TABLE_FILE: Final = "scan.parquet"
CSV_FILE: Final = "scan.csv"
FIGURE_FILE: Final = "scan.png"


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    add_model_arguments(parser)
    parser.add_argument(
        "--protein", type=str, required=True, help="FASTA file with one protein, or its residues"
    )
    parser.add_argument(
        "--site",
        type=str | None,
        default=None,
        help="the site's bases on one strand, 5' to 3'; without it the consensus of --profile",
    )
    parser.add_argument(
        "--profile",
        type=str | None,
        default=None,
        help="JASPAR id whose logo is drawn, MA0002.3 say; without a version the latest",
    )
    parser.add_argument(
        "--jaspar",
        type=Path | None,
        default=None,
        help="folder of JASPAR files, or the data folder with jaspar/, for --profile",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")


def run(arguments: jsonargparse.Namespace) -> None:
    """Scan the site, write table and picture, print the strongest substitutions.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console
    from rich.table import Table

    from biote.atomic import atomic_path
    from biote.commands.binding_model import BindingModel
    from biote.commands.site_scan import (
        find_profile,
        placed_logo,
        read_protein,
        read_site,
        scan_matrix,
        scan_site,
    )
    from biote.errors import ConfigError
    from biote.report.scan import scan_figure

    if (arguments.profile is None) != (arguments.jaspar is None):
        raise ConfigError(
            "one is given without the other",
            where="--profile and --jaspar",
            mend="give a JASPAR id and the folder of its files",
        )
    profile = None
    if arguments.profile is not None:
        profile = find_profile(arguments.jaspar, arguments.profile)
    name, protein = read_protein(arguments.protein)
    if arguments.site is not None:
        site = read_site(arguments.site)
    elif profile is not None:
        site = profile.consensus
    else:
        raise ConfigError("no site", where="--site", mend="give its bases, or a --profile")
    models = [BindingModel(path, arguments.tokenizer) for path in arguments.checkpoint]
    placed = None if profile is None else placed_logo(profile, site)
    table = scan_site(models, protein, site, placed=placed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(arguments.output / TABLE_FILE) as partial:
        table.write_parquet(partial)
    with atomic_path(arguments.output / CSV_FILE) as partial:
        table.write_csv(partial)
    scan_figure(
        arguments.output / FIGURE_FILE,
        site=site,
        ddg_kcal_mol=scan_matrix(table, len(site)),
        title=f"{name}: predicted ΔΔG of single substitutions",
        logo=None if placed is None else placed.logo,
    )
    console = Console()
    grid = Table(title=f"{name} at {site}: the strongest of {table.height} substitutions")
    for column in ("position", "reference", "base", "ΔΔG (kcal/mol)"):
        grid.add_column(column, justify="right")
    for line in table.sort("ddg_kcal_mol", descending=True).head(5).iter_rows(named=True):
        grid.add_row(
            str(line["position"]), line["reference"], line["base"], f"{line['ddg_kcal_mol']:+.3f}"
        )
    console.print(grid)
    console.print(f"Written: {arguments.output / CSV_FILE}, {arguments.output / FIGURE_FILE}")
