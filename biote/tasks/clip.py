"""Do states of genes and of their proteins share what a low-rank linear map can find?

Legend: B pairs, F features, K kinds of negatives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from biote.batch import PackedBatch
from biote.contrastive_batch import ContrastiveBatch, Side
from biote.errors import CheckpointError, ConfigError
from biote.modules.base import EncoderModule, EncoderWeights
from biote.modules.config import Compute, EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.head_optimizer import HeadOptimizer
from biote.modules.heads.contrastive import ContrastiveHead
from biote.modules.pooling import Pooling, checked_pooling
from biote.modules.schedule import LinearDecay
from biote.modules.weights import load_encoder_config, load_encoder_weights, weights_fingerprint
from biote.tasks.clip_metrics import HeldOutPairs, clip_scores
from biote.tasks.frozen_states import StatesKey, frozen_states

logger = logging.getLogger(__name__)

ContrastiveHeadFactory = Callable[[int, int], ContrastiveHead]
StatesOf = Literal["encoder", "composition"]


class ClipTask(EncoderModule):
    """Align genes and proteins by a linear map of the states of a frozen encoder.

    The states are computed once and kept in ``states_folder``; what is trained is the head alone.
    With a ``protein_encoder`` or its checkpoint, genes and proteins have an encoder each.

    Args:
        encoder: Sizes of an encoder with random weights.
        encoder_checkpoint: Folder of the encoder of genes, and of proteins without one of theirs.
        protein_encoder: Sizes of a second encoder with random weights, for proteins.
        protein_encoder_checkpoint: Folder of a second encoder, for proteins.
        head: Head class and its options; the task gives it the widths of both states.
        encoder_weights: ``random`` keeps the sizes of the checkpoints, not their weights.
        states: ``composition`` puts k-mer frequencies and lengths, standardised over the training
            pairs, in the place of states: the baseline of what needs no model.
        pooling: State of a window: its first token, or the mean over its tokens.
        states_folder: Where states are kept; several runs may share it.
        tokens_per_batch: Tokens that are encoded at once.
        temperature: What cosines are divided by.
        evaluated_pairs: Tested pairs that metrics are computed on, drawn if there are more: their
            cost grows with the square.
        optimizer: Learning rate and decay of the head.
        schedule: Learning rate over the run.
        vocab_size: Number of token ids of the encoder of genes; the datamodule gives it.
        init_seed: Chooses the random weights.
        compute: How the layers are computed.

    Source: paper, Methods (gene-protein CLIP).
    """

    encoder_fingerprints: Tensor

    monitored = ()

    def __init__(
        self,
        encoder: EncoderConfig | None = None,
        encoder_checkpoint: str | None = None,
        protein_encoder: EncoderConfig | None = None,
        protein_encoder_checkpoint: str | None = None,
        *,
        head: ContrastiveHeadFactory,
        encoder_weights: EncoderWeights = "pretrained",
        states: StatesOf = "encoder",
        pooling: Pooling = "first",
        states_folder: Path,
        tokens_per_batch: int = 16_384,
        temperature: float = 0.07,
        evaluated_pairs: int = 20_000,
        optimizer: HeadOptimizer = HeadOptimizer(),  # noqa: B008 - frozen
        schedule: LinearDecay = LinearDecay(),  # noqa: B008 - frozen
        vocab_size: int,
        init_seed: int = 0,
        compute: Compute = Compute(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            encoder,
            encoder_checkpoint,
            encoder_weights=encoder_weights,
            optimizer=optimizer,
            schedule=schedule,
            vocab_size=vocab_size,
            init_seed=init_seed,
            compute=compute,
        )
        if protein_encoder is not None and protein_encoder_checkpoint is not None:
            raise ConfigError(
                "both given",
                where="model.protein_encoder and model.protein_encoder_checkpoint",
                mend="give one, or neither: proteins then have the encoder of genes",
            )
        if (protein_encoder_checkpoint is None) != (encoder_checkpoint is None) and not (
            protein_encoder is None and protein_encoder_checkpoint is None
        ):
            raise ConfigError(
                "one encoder has weights and the other one none",
                where="model.encoder_checkpoint and model.protein_encoder_checkpoint",
                mend="give both, or the sizes of both",
            )
        checked_pooling(pooling, where="model.pooling")
        for name, value in (
            ("temperature", temperature),
            ("tokens_per_batch", tokens_per_batch),
            ("evaluated_pairs", evaluated_pairs - 1),
        ):
            if not value > 0:
                raise ConfigError("too small", where=f"model.{name}", mend="give a larger number")
        self._protein_folder = (
            Path(protein_encoder_checkpoint) if protein_encoder_checkpoint is not None else None
        )
        stored = load_encoder_config(self._protein_folder) if self._protein_folder else None
        self._stored_protein_tokenizer = stored.tokenizer_fingerprint if stored else None
        self._stored_protein_vocab = stored.vocab_size if stored else None
        self.protein_encoder_config = stored.encoder if stored else protein_encoder
        self.states_of: StatesOf = states
        self.pooling: Pooling = pooling
        self._states_folder = Path(states_folder)
        self._tokens_per_batch = tokens_per_batch
        self._temperature = temperature
        self._evaluated_pairs = evaluated_pairs
        self._head_factory = head
        self.head: ContrastiveHead | None = None
        self._tables: dict[Side, Tensor] = {}
        self._tested: list[dict[str, Tensor]] = []
        self.register_buffer("encoder_fingerprints", torch.zeros(2, 32, dtype=torch.uint8))
        if states == "encoder":
            other = self.protein_encoder_config or self.encoder_config
            self.head_name = self._check_head(self.encoder_config.width, other.width)

    def _check_head(self, gene_width: int, protein_width: int) -> str:
        """Class name of the head; refuses one that does not fit, without making its weights."""
        with torch.device("meta"):
            return type(self._head_factory(gene_width, protein_width)).__name__

    @property
    def has_two_encoders(self) -> bool:
        """Whether genes and proteins have an encoder each."""
        return self.protein_encoder_config is not None

    @property
    def starts_pretrained(self) -> bool:
        return super().starts_pretrained and self.states_of == "encoder"

    @property
    def label(self) -> str:
        if self.states_of == "composition":
            return "composition"
        return f"{super().label}s, one a side" if self.has_two_encoders else super().label

    def setup(self, stage: str) -> None:
        """Read the states of all sequences, or compute them.

        Raises:
            ConfigError: If the data are no pairs, or there are several processes.
            CheckpointError: If data and encoders have different tokenizers.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "sequences"):
            raise ConfigError(
                f"{type(data).__name__} has no pairs", where="data", mend="use ClipDataModule"
            )
        if self.trainer.world_size > 1 or self.trainer.accumulate_grad_batches > 1:
            raise ConfigError(
                "a pair's negatives are those of its batch, which cannot be divided",
                where="trainer.devices and trainer.accumulate_grad_batches",
                mend="set both to 1",
            )
        super().setup(stage)
        if self.states_of == "composition":
            self._tables = _composition(data)
        else:
            self._tables = self._encoder_states(data)
        widths = [self._tables[side].shape[1] for side in (Side.GENE, Side.PROTEIN)]
        self.head_name = self._check_head(*widths)

    def _encoder_states(self, data: Any) -> dict[Side, Tensor]:
        vocabulary = data.protein_tokenizer.vocab_size
        fingerprint = data.protein_tokenizer.fingerprint
        second = self.protein_encoder_config
        theirs = self._stored_protein_tokenizer if second is not None else self._stored_tokenizer
        if theirs not in (None, fingerprint) or (second is None and vocabulary != self.vocab_size):
            raise CheckpointError(
                "the proteins are tokenised by another tokenizer than their encoder was trained "
                "with",
                where="data.protein_tokenizer",
                mend="use the folder of their encoder",
            )
        if second is not None and data.context > second.context:
            raise ConfigError(
                f"windows of {data.context} tokens, the encoder of proteins takes {second.context}",
                where="data.context",
                mend="lower it",
            )
        tables = {}
        device = self.trainer.strategy.root_device
        encoder = self._build(
            self.encoder_config, self.vocab_size, self._folder, seed=self.init_seed
        )
        for number, side in enumerate((Side.GENE, Side.PROTEIN)):
            if side is Side.PROTEIN and second is not None:
                # Another seed: of equal sizes the two would be one and the same random encoder.
                seed = self.init_seed + 1
                encoder = self._build(second, vocabulary, self._protein_folder, seed=seed)
            weights = weights_fingerprint(encoder)
            self.encoder_fingerprints[number] = torch.tensor(list(bytes.fromhex(weights)))
            encoder.to(device).configure(self.compute, device)
            source = data.sequences(side)
            key = StatesKey(
                side=str(side),
                weights=weights,
                sequences=source.fingerprint,
                pooling=self.pooling,
                precision=str(self.trainer.precision),
            )
            tables[side] = frozen_states(
                source,
                encoder,
                key,
                folder=self._states_folder,
                tokens=self._tokens_per_batch,
                device=device,
                context=self.trainer.precision_plugin.forward_context,
            ).states
        return tables

    def _build(
        self, config: EncoderConfig, vocab_size: int, folder: Path | None, *, seed: int
    ) -> Encoder:
        encoder = Encoder(config, vocab_size, seed=seed)
        if folder is not None and self.encoder_weights == "pretrained":
            load_encoder_weights(folder, encoder)
        return encoder

    def configure_model(self) -> None:
        """Build the head; the encoder has done its work."""
        if self.head is not None:
            return
        self.head = self.build()
        self.head.reset_parameters(seed=self.init_seed)

    def build(self) -> ContrastiveHead:  # type: ignore[override]
        return self._head_factory(
            self._tables[Side.GENE].shape[1], self._tables[Side.PROTEIN].shape[1]
        )

    def on_train_start(self) -> None:
        """There is no encoder to prepare."""

    def describe(self) -> dict[str, Any]:
        assert self.head is not None
        return {
            "head": f"{self.head_name} of {self.head.features} features",
            "states": self.states_of,
            "pooling": self.pooling,
            "protein encoder": (
                asdict(self.protein_encoder_config) if self.protein_encoder_config else None
            ),
            "encoder weights": self.encoder_fingerprints.tolist(),
        }

    def progress(self, batch: PackedBatch) -> float:
        return self.progress_in_steps()

    def features(self, side: Side, numbers: Tensor) -> Tensor:
        """Features of unit length of genes or proteins.

        Args:
            side: Which of the two.
            numbers: Their numbers, (B,).

        Returns:
            (B, F).
        """
        assert self.head is not None
        states = self._tables[side].index_select(0, numbers.cpu()).to(self.device)
        map_ = self.head.genes if side is Side.GENE else self.head.proteins
        return functional.normalize(map_(states).float(), dim=1)

    def forward(self, batch: ContrastiveBatch) -> Tensor:
        """Cosine of every gene with its protein and the others of its row, (B, 1 + K).

        NaN where there is no other protein of a kind.
        """
        genes = self.features(Side.GENE, batch.genes)
        numbers = torch.cat([batch.proteins[:, None], batch.others], 1)  # (B, 1 + K)
        flat = self.features(Side.PROTEIN, numbers.clamp(min=0).reshape(-1))
        proteins = flat.unflatten(0, tuple(numbers.shape))  # (B, 1 + K, F)
        cosines = torch.einsum("bf,bkf->bk", genes, proteins)
        return cosines.masked_fill(numbers < 0, torch.nan)

    def training_step(self, batch: ContrastiveBatch, batch_idx: int) -> Tensor:
        genes = self.features(Side.GENE, batch.genes)
        proteins = self.features(Side.PROTEIN, batch.proteins)
        loss = clip_loss(genes, proteins, batch.twins, temperature=self._temperature)
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(batch.row_ids))
        return loss

    def on_test_epoch_start(self) -> None:
        self._tested = []

    def test_step(self, batch: ContrastiveBatch, batch_idx: int) -> dict[str, Any]:
        self._tested.append(
            {
                "genes": self.features(Side.GENE, batch.genes),
                "proteins": self.features(Side.PROTEIN, batch.proteins),
                "gene_numbers": batch.genes,
                "protein_numbers": batch.proteins,
                "twins": batch.twins,
                "genomes": batch.genomes,
                "gene_lengths": batch.gene_lengths,
                "protein_lengths": batch.protein_lengths,
                "groups": batch.groups,
            }
        )
        return self.predict_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        columns = {
            name: torch.cat([part[name] for part in self._tested]) for name in self._tested[0]
        }
        self._tested = []
        pairs = HeldOutPairs(**columns)
        number = len(pairs.twins)
        if number > self._evaluated_pairs:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randperm(number, generator=generator)[: self._evaluated_pairs]
            logger.info("Metrics on %d of %d tested pairs.", self._evaluated_pairs, number)
            pairs = pairs.take(drawn.to(pairs.twins.device))
        self.scores = clip_scores(pairs)
        for score in self.scores:
            self.log(f"test_{score.metric}", score.value, batch_size=1)

    def predict_step(self, batch: ContrastiveBatch, batch_idx: int) -> dict[str, Any]:
        cosines = self(batch).detach().float().cpu()
        targets = torch.zeros_like(cosines)
        targets[:, 0] = 1
        return {
            "row_ids": batch.row_ids,
            "predictions": cosines,
            "targets": targets,
            "partners": [partner for row in batch.partner_ids for partner in row],
        }


def clip_loss(genes: Tensor, proteins: Tensor, twins: Tensor, *, temperature: float) -> Tensor:
    """Symmetric cross-entropy of every pair against the others of its batch.

    Args:
        genes: Features of unit length, (B, F).
        proteins: Features of unit length, (B, F).
        twins: Pairs with the same number are no negatives of each other, (B,).
        temperature: What cosines are divided by.

    Returns:
        A scalar.

    Source: paper, Methods (gene-protein CLIP); Radford et al. 2021.
    """
    logits = genes @ proteins.T / temperature  # (B, B)
    same = twins[:, None] == twins
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    rows = functional.cross_entropy(logits, own)
    columns = functional.cross_entropy(logits.T, own)
    return (rows + columns) / 2


def _composition(data: Any) -> dict[Side, Tensor]:
    """Composition of genes and proteins, standardised over those of the training pairs."""
    tables = {}
    for side, trained in ((Side.GENE, data.train_genes), (Side.PROTEIN, data.train_proteins)):
        features = torch.from_numpy(data.sequences(side).composition())
        known = features[torch.from_numpy(trained)]
        deviation = known.std(0, correction=0)
        # What never varies in training says nothing.
        scale = torch.where(deviation > 0, deviation, torch.inf)
        tables[side] = (features - known.mean(0)) / scale
    return tables
