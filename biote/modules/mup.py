"""Parameter groups: which learning rate and decay a weight gets.

Legend: D width.

One function reads the role of every parameter from the module tree; the optimisers of
pre-training and fine-tuning turn roles into groups. The factor of the readout is the readout's own
(`biote.modules.readout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from biote.errors import ConfigError
from biote.modules.heads.base import Head
from biote.modules.heads.probe import MapHead
from biote.modules.readout import HEAD_BASE_WIDTH, PRETRAINING_BASE_WIDTH, Readout

Role = Literal["embedding", "readout", "vector", "hidden", "head"]
PretrainingRule = Literal["code", "paper"]


def parameter_roles(module: nn.Module) -> dict[str, Role]:
    """The role of every parameter below a module, frozen ones included.

    Everything inside a head is ``head``. Elsewhere a parameter of one dimension is a ``vector``,
    and a matrix is what its owner is: ``embedding``, ``readout`` or (a linear layer) ``hidden``.

    Args:
        module: Encoder, or whatever contains it.

    Returns:
        Role by parameter name, each parameter once.

    Raises:
        ConfigError: If a parameter has no role, or is shared by owners of different roles.
    """
    heads = tuple(
        f"{name}." if name else ""
        for name, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, Head | MapHead)
    )
    roles: dict[str, Role] = {}
    first_name: dict[int, str] = {}
    for prefix, owner in module.named_modules(remove_duplicate=False):
        inside_head = f"{prefix}.".startswith(heads) if prefix else "" in heads
        for local, parameter in owner.named_parameters(recurse=False):
            name = f"{prefix}.{local}" if prefix else local
            role = _role(owner, parameter, name, inside_head=inside_head)
            known = first_name.setdefault(id(parameter), name)
            if roles.setdefault(known, role) != role:
                raise ConfigError(
                    f"one parameter is {roles[known]} as {known} and {role} as {name}",
                    where="model.optimizer",
                    mend="give each its own parameter: tied weights have no learning rate in muP",
                )
    return roles


def _role(owner: nn.Module, parameter: nn.Parameter, name: str, *, inside_head: bool) -> Role:
    if inside_head:
        return "head"
    if parameter.ndim == 1:
        return "vector"
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if isinstance(owner, Readout):
        return "readout"
    if isinstance(owner, nn.Linear):
        return "hidden"
    raise ConfigError(
        f"{name} ({type(owner).__name__}, {parameter.ndim} dimensions) has no learning rate",
        where="model.optimizer",
        mend="put the layer inside a Head, or use Linear, Embedding or Readout layers",
    )


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """Learning rate and decay of one role, and the group it goes to."""

    group: str
    lr: float
    weight_decay: float


def _groups(
    module: nn.Module, settings: Mapping[Role, _Setting], optimizer: str
) -> list[dict[str, Any]]:
    """Parameter groups of all trainable parameters, empty ones left out."""
    parameters = dict(module.named_parameters())
    groups: dict[str, dict[str, Any]] = {}
    for name, role in parameter_roles(module).items():
        if not parameters[name].requires_grad:
            continue
        setting = settings.get(role)
        if setting is None:
            raise ConfigError(
                f"{optimizer} has no learning rate for {name}, a {role} parameter",
                where="model.optimizer",
                mend="use PretrainingOptimizer for masked language modelling and "
                "FineTuningOptimizer for heads",
            )
        group = groups.setdefault(
            setting.group,
            {
                "name": setting.group,
                "params": [],
                "lr": setting.lr,
                "weight_decay": setting.weight_decay,
            },
        )
        group["params"].append(parameters[name])
    if not groups:
        raise ConfigError(
            "nothing to train: every parameter is frozen",
            where="model.optimizer",
            mend="leave at least one part of the model trainable",
        )
    return [
        groups[name] for name in dict.fromkeys(s.group for s in settings.values()) if name in groups
    ]


@dataclass(frozen=True, kw_only=True)
class PretrainingOptimizer:
    """AdamW groups of maximal-update parametrisation (muP).

    Raises:
        ConfigError: If a value is out of range.

    Source: paper, Methods (muP); released training code for the ``code`` rule.
    """

    lr: float = 0.05
    """Peak learning rate of embedding and readout; that of hidden matrices is lr * base_width / D,
    so it carries over from narrow models to wide ones."""

    rule: PretrainingRule = "code"
    """code: norms learn at lr, decay is weight_decay on the readout, weight_decay * D / base_width
    on hidden matrices and 0 elsewhere. paper: norms learn like hidden matrices, decay is flat."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of Adam's running means of gradient and squared gradient."""

    eps: float = 1e-8
    """Added to the root of Adam's squared gradient."""

    weight_decay: float = 0.01
    """Decoupled weight decay, relative to the learning rate."""

    base_width: int = PRETRAINING_BASE_WIDTH
    """Width at which hidden matrices learn at lr."""

    def __post_init__(self) -> None:
        _check(self, positive=("lr", "eps", "base_width"))
        if self.rule not in get_args(PretrainingRule):
            raise ConfigError(
                f"unknown rule {self.rule!r}",
                where="model.optimizer.rule",
                mend=f"accepted: {', '.join(get_args(PretrainingRule))}",
            )

    def groups(self, module: nn.Module, width: int) -> list[dict[str, Any]]:
        """Parameter groups for AdamW.

        Args:
            module: Encoder with its readout, or whatever contains them.
            width: Width of the encoder, D.

        Returns:
            Groups with ``name``, ``params``, ``lr`` and ``weight_decay``; every trainable
            parameter is in exactly one.

        Raises:
            ConfigError: If a trainable parameter has no role, two, or belongs to a head, or if
                there is none.
        """
        scale = self.base_width / width
        decay = self.weight_decay
        if self.rule == "paper":
            rates = {
                "embedding": (self.lr, decay),
                "readout": (self.lr, decay),
                "vector": (self.lr * scale, decay),
                "hidden": (self.lr * scale, decay),
            }
        else:
            rates = {
                "embedding": (self.lr, 0.0),
                "readout": (self.lr, decay),
                "vector": (self.lr, 0.0),
                "hidden": (self.lr * scale, decay / scale),
            }
        settings: dict[Role, _Setting] = {
            role: _Setting(group=role, lr=rates[role][0], weight_decay=rates[role][1])
            for role in get_args(Role)
            if role in rates
        }
        return _groups(module, settings, type(self).__name__)


@dataclass(frozen=True, kw_only=True)
class FineTuningOptimizer:
    """AdamW groups of fine-tuning: head, embedding, and the rest of the encoder.

    Raises:
        ConfigError: If a value is out of range.

    Source: paper, Methods (fine-tuning).
    """

    lr_head: float = 1e-2
    """Peak learning rate of the head."""

    lr_embedding: float = 1e-3
    """Peak learning rate of the token embedding."""

    lr_body: float = 1e-4
    """Peak learning rate of blocks and norms at base_width; it is lr_body * base_width / D."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of Adam's running means of gradient and squared gradient."""

    eps: float = 1e-8
    """Added to the root of Adam's squared gradient."""

    weight_decay: float = 0.01
    """Decoupled weight decay of all weights, relative to the learning rate."""

    base_width: int = HEAD_BASE_WIDTH
    """Width at which the body learns at lr_body."""

    def __post_init__(self) -> None:
        _check(self, positive=("lr_head", "lr_embedding", "lr_body", "eps", "base_width"))

    def groups(self, module: nn.Module, width: int) -> list[dict[str, Any]]:
        """Parameter groups for AdamW.

        Args:
            module: Encoder with its head, or whatever contains them.
            width: Width of the encoder, D.

        Returns:
            Groups ``head``, ``embedding`` and ``body`` with ``name``, ``params``, ``lr`` and
            ``weight_decay``; every trainable parameter is in exactly one.

        Raises:
            ConfigError: If a trainable parameter has no role, two, or is a language-model
                readout, or if there is none.
        """
        body = _Setting(
            group="body",
            lr=self.lr_body * self.base_width / width,
            weight_decay=self.weight_decay,
        )
        settings: dict[Role, _Setting] = {
            "head": _Setting(group="head", lr=self.lr_head, weight_decay=self.weight_decay),
            "embedding": _Setting(
                group="embedding", lr=self.lr_embedding, weight_decay=self.weight_decay
            ),
            "hidden": body,
            "vector": body,
        }
        return _groups(module, settings, type(self).__name__)


def with_second_body(
    groups: list[dict[str, Any]], second: nn.Module, ratio: float
) -> list[dict[str, Any]]:
    """Give the body of a second encoder a group of its own, because its width may be another.

    Args:
        groups: Groups of fine-tuning, made for the width of the first encoder.
        second: Second encoder.
        ratio: Width of the first over width of the second: learning rates go as 1 / width.

    Returns:
        The groups with ``nucleic_body`` behind ``body``; every parameter is in exactly one.
    """
    mine = {id(parameter) for parameter in second.parameters()}
    divided: list[dict[str, Any]] = []
    for group in groups:
        if group["name"] != "body":
            divided.append(group)
            continue
        own = [p for p in group["params"] if id(p) not in mine]
        others = [p for p in group["params"] if id(p) in mine]
        divided.append(group | {"params": own})
        divided.append(
            group | {"name": "nucleic_body", "params": others, "lr": group["lr"] * ratio}
        )
    return divided


def _check(
    settings: PretrainingOptimizer | FineTuningOptimizer, *, positive: tuple[str, ...]
) -> None:
    """Refuse values no optimiser can use; written so that NaN is refused too."""
    for name in positive:
        if not getattr(settings, name) > 0:
            raise ConfigError(
                f"{getattr(settings, name)} cannot be used",
                where=f"model.optimizer.{name}",
                mend="give a positive number",
            )
    if not settings.weight_decay >= 0:
        raise ConfigError(
            f"{settings.weight_decay} cannot be used",
            where="model.optimizer.weight_decay",
            mend="give 0 or a positive number",
        )
    if not all(0 <= beta < 1 for beta in settings.betas):
        raise ConfigError(
            f"{settings.betas} cannot be used",
            where="model.optimizer.betas",
            mend="give two numbers from 0 to below 1",
        )
