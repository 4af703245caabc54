"""Heads that bring genes and proteins into one space.

Legend: B pairs, D width of a state, F features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

from biote.errors import ConfigError
from biote.modules.initialisation import HiddenLinear, initialise


class ContrastiveHead(nn.Module, ABC):
    """Features of genes and of proteins, to be compared by their cosine.

    Args:
        gene_width: Width of the state of a gene.
        protein_width: Width of the state of a protein.
        features: Features of either, F.

    Raises:
        ConfigError: If there are no features.
    """

    def __init__(self, gene_width: int, protein_width: int, *, features: int = 16) -> None:
        super().__init__()
        if features < 1:
            raise ConfigError(
                f"{features} features",
                where="model.head.init_args.features",
                mend="give a positive number",
            )
        self.gene_width = gene_width
        self.protein_width = protein_width
        self.features = features

    @abstractmethod
    def genes(self, states: Tensor) -> Tensor:
        """Features of genes, (B, F), from their states, (B, D)."""

    @abstractmethod
    def proteins(self, states: Tensor) -> Tensor:
        """Features of proteins, (B, F), from their states, (B, D)."""

    def forward(self, genes: Tensor, proteins: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the genes and of the proteins of B pairs, (B, F) each."""
        return self.genes(genes), self.proteins(proteins)

    def reset_parameters(self, *, seed: int) -> None:
        """Give every weight its initial value.

        Args:
            seed: With a parameter's name it decides the parameter's values.
        """
        initialise(self, seed=seed)


def _linear_map(width: int, features: int) -> HiddenLinear:
    return HiddenLinear(width, features, std=1 / math.sqrt(width))


class SharedMapHead(ContrastiveHead):
    """One linear map for genes and proteins alike: it can only find what both states share.

    Args:
        gene_width: Width of the state of a gene.
        protein_width: Width of the state of a protein; must be the same.
        features: Features of either, F.

    Raises:
        ConfigError: If the widths differ.

    Source: paper, Methods (gene-protein CLIP).
    """

    def __init__(self, gene_width: int, protein_width: int, *, features: int = 16) -> None:
        super().__init__(gene_width, protein_width, features=features)
        if gene_width != protein_width:
            raise ConfigError(
                f"one map for genes of width {gene_width} and proteins of width {protein_width}",
                where="model.head",
                mend="use TwoMapsHead",
            )
        self.map = _linear_map(gene_width, features)

    def genes(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.map(states)
        return mapped

    def proteins(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.map(states)
        return mapped


class TwoMapsHead(ContrastiveHead):
    """A linear map for genes and another one for proteins.

    Args:
        gene_width: Width of the state of a gene.
        protein_width: Width of the state of a protein.
        features: Features of either, F.

    Source: paper, Methods (gene-protein CLIP), the control with two single-omic encoders.
    """

    def __init__(self, gene_width: int, protein_width: int, *, features: int = 16) -> None:
        super().__init__(gene_width, protein_width, features=features)
        self.gene_map = _linear_map(gene_width, features)
        self.protein_map = _linear_map(protein_width, features)

    def genes(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.gene_map(states)
        return mapped

    def proteins(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.protein_map(states)
        return mapped
