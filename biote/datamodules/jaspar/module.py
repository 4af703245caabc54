"""JASPAR as a test of specificity: does a mutated site bind less than the consensus?

Source: Rauluseviciute et al., JASPAR 2024 (Nucleic Acids Research 52, D174); paper, Methods
(nucleic acid binding specificity).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.jaspar.database import jaspar_folder, read_database
from biote.datamodules.jaspar.factors import Dimers, Factor, sampled, select_factors, without
from biote.datamodules.jaspar.homology import similarity, training_proteins
from biote.datamodules.jaspar.variants import Control, Variants, make_variants
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError
from biote.splits.homology import SIMILAR_ABOVE

logger = logging.getLogger(__name__)


class JasparDataModule(LabelledDataModule):
    """Transcription factors at their consensus sites, at mutants of these, and at controls.

    A row is ``<protein>P<EOS><DNA>S1<EOS><DNA>S2<EOS>``, S2 the reverse complement of S1. There
    is nothing to train on: a model of binding free energy is tested, by the difference between
    its predictions for a mutant and for the consensus.

    Args:
        root: Folder with ``jaspar/``, or a folder of JASPAR files.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        trained_on: What the model was trained on: the data folder with
            ``pronab/pronab_no_mutations.json``, a file like it, or FASTA. Proteins similar to
            any protein there are dropped; null keeps them all.
        scores_file: Where alignment scores are kept, so that proteins are aligned once.
        batch_size: Rows of a batch.
        threshold: Score per residue (BLOSUM62) above which proteins are similar.
        probabilities: Probability of each base to be replaced; each gives mutants of its own.
        mutants: Distinct mutants of each protein, profile and probability.
        controls: Negative controls: ``other_family`` puts a protein without a domain in common
            on the same sites, ``shuffled`` the protein on its shuffled consensus and mutants of
            that.
        dimers: ``exclude`` profiles that two proteins bind together, or ``concatenate`` them.
        proteins: Most proteins, drawn at random; null takes all.
        fold: Test fold of the model in its cross-validation, as it shall stand in results.
        context: Most tokens of a row; proteins are trimmed to fit, nucleic acids never.
        seed: Decides mutants, controls and which proteins are drawn.
        num_workers: Processes that build batches.
        nucleic_tokenizer: Tokenizer of the nucleic acids where a second encoder reads them; null
            takes that of ``model.nucleic_encoder.encoder_checkpoint``.

    Source: paper, Methods (nucleic acid binding specificity).
    """

    benchmark = "jaspar"
    unit = "kcal/mol"
    target_kind = "regression"
    evaluates_only = True

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        trained_on: Path | None,
        scores_file: Path,
        batch_size: int,
        threshold: float = SIMILAR_ABOVE,
        probabilities: tuple[float, ...] = (0.05,),
        mutants: int = 8,
        controls: tuple[Control, ...] = ("other_family", "shuffled"),
        dimers: Dimers = "exclude",
        proteins: int | None = None,
        fold: int | None = None,
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
        nucleic_tokenizer: str | None = None,
    ) -> None:
        super().__init__(
            tokenizer,
            context=context,
            batch_size=batch_size,
            seed=seed,
            num_workers=num_workers,
            nucleic_tokenizer=nucleic_tokenizer,
        )
        for name, number in (("mutants", mutants), ("proteins", proteins)):
            if number is not None and number < 1:
                raise ConfigError(f"{number} {name}", where=f"data.{name}", mend="give 1 or more")
        if not probabilities or not all(0 < p <= 1 for p in probabilities):
            raise ConfigError(
                f"{list(probabilities)}",
                where="data.probabilities",
                mend="give numbers above 0 and up to 1",
            )
        self._root = Path(root)
        self._trained_on = None if trained_on is None else Path(trained_on)
        self._scores_file = Path(scores_file)
        self._threshold = threshold
        self._probabilities = tuple(dict.fromkeys(probabilities))
        self._mutants = mutants
        self._controls: tuple[Control, ...] = tuple(dict.fromkeys(controls))
        self._dimers: Dimers = dimers
        self._proteins = proteins
        self._fold = fold
        self._variants: Variants | None = None

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def fold(self) -> int | None:
        return self._fold

    @property
    def variants(self) -> Variants:
        """What every row stands for."""
        self.rows("test")
        assert self._variants is not None
        return self._variants

    def read_rows(self) -> Mapping[Split, list[Row]]:
        database = read_database(jaspar_folder(self._root))
        logger.info(
            "JASPAR: %d profiles of %d proteins.", len(database.profiles), len(database.proteins)
        )
        selected = select_factors(database, dimers=self._dimers)
        for what, count in sorted(selected.dropped.items(), key=lambda item: -item[1]):
            logger.info("JASPAR: %d %s dropped.", count, what)
        factors = self._unrelated(selected.kept)
        asked = factors
        if self._proteins is not None:
            asked = sampled(factors, self._proteins, seed=self.seed)
        self._variants = make_variants(
            asked,
            probabilities=self._probabilities,
            mutants=self._mutants,
            controls=self._controls,
            seed=self.seed,
            partners=factors,
        )
        for what, count in sorted(self._variants.missing.items()):
            logger.info("JASPAR: %d %s.", count, what)
        _describe(asked)
        return {"train": [], "validation": [], "test": self._variants.rows}

    def _unrelated(self, factors: list[Factor]) -> list[Factor]:
        if self._trained_on is None:
            logger.warning(
                "JASPAR: no protein is dropped for being similar to one the model was trained on: "
                "data.trained_on is null."
            )
            return factors
        scores = similarity(
            [sequence for factor in factors for sequence in factor.sequences],
            training_proteins(self._trained_on),
            cache=self._scores_file,
            progress=self.alignment_progress,
        )
        similar = {sequence for sequence, score in scores.items() if score > self._threshold}
        kept, left_out = without(factors, similar)
        logger.info(
            "JASPAR: %d proteins dropped, similar to one of %s (score over %g per residue).",
            left_out,
            self._trained_on,
            self._threshold,
        )
        return kept


def _describe(factors: list[Factor]) -> None:
    profiles = {factor.profile.id: factor.profile for factor in factors}.values()
    logger.info(
        "JASPAR: %d proteins of %d families with %d profiles: %d consensuses are palindromes, "
        "%d have ties, resolved to the first of A, C, G, T.",
        len({factor.protein for factor in factors}),
        len({factor.family for factor in factors}),
        len(profiles),
        sum(profile.is_palindrome for profile in profiles),
        sum(bool(profile.tied_positions) for profile in profiles),
    )
