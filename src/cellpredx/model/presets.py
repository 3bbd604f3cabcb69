"""Hyper-parameters: a preset's numbers for a scenario, with a run's own on top."""

import math
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cellpredx.core.errors import UserError

SCENARIOS = ("matched", "unmatched", "rna", "atac")
SHARES = (
    *("aligned_share", "confident_share", "momentum", "centre_rate", "unknown_below"),
    *("network_share", "network_share_sure", "embedded_share", "smoothing"),
)


@dataclass(frozen=True)
class Hyperparameters:
    """The numbers of a training; each is explained in presets.toml."""

    dimensions: int
    attention_width: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    projection_weight: float
    l1_weight: float
    aligned_share: float
    confident_share: float
    centre_rate: float
    neighbours: int
    pca_components: int
    lsi_components: int
    scale: float
    binarize: bool
    evaluate_every: int
    patience: int
    flat: float
    unknown_below: float
    alpha: float
    beta: float
    gamma: float
    tau: float
    iterations: int
    # Of the members that `tuned` has beside the network; a preset without members leaves them.
    network_share: float = 1.0
    network_share_sure: float = 1.0
    class_balance: float = 0.0
    smoothing: float = 0.0
    smoothing_steps: int = 0
    smoothed_penalty: float = 0.0
    graph_components: tuple[int, ...] = ()
    graph_neighbours: tuple[int, ...] = ()
    features_c: float = 0.0
    components_c: float = 0.0
    joint_components: int = 0
    spectral_components: tuple[int, ...] = ()
    embedded_c: float = 0.0
    embedded_share: float = 0.0
    joint_neighbours: int = 0


# What a preset without members leaves as it is.
MEMBERS = tuple(f.name for f in fields(Hyperparameters) if f.default is not MISSING)


def _scalars(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if not isinstance(value, dict)}


def load(preset: str, scenario: str) -> Hyperparameters:
    """Return a preset's numbers for a scenario; a preset other than `paper` starts from `paper`."""
    table = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
    if preset not in table:
        raise UserError(f"there is no preset {preset!r}", None, f"give one of {', '.join(table)}")
    values: dict[str, Any] = {}
    for source in (table["paper"], table[preset]):
        values |= _scalars(source) | source.get(scenario, {})
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Hyperparameters(**values)


def override(base: Hyperparameters, text: str | None) -> Hyperparameters:
    """Return `base` with the numbers of `name=value,name=value` in place of its own.

    Raises UserError for a name that is none, and for a value of another type or out of range.
    """
    changes: dict[str, Any] = {}
    kinds = {f.name: f.type for f in fields(Hyperparameters)}
    for part in filter(None, (p.strip() for p in (text or "").split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in kinds:
            raise UserError(f"{name!r} is no hyper-parameter", "--hyperparameters", f"names: {', '.join(kinds)}")
        try:
            if kinds[name] is bool:
                changes[name] = {"true": True, "false": False}[value.lower()]
            elif kinds[name] == tuple[int, ...]:
                changes[name] = tuple(int(number) for number in value.split("+"))
            else:
                changes[name] = kinds[name](value)  # type: ignore[operator]
        except (ValueError, KeyError) as error:
            raise UserError(f"{value!r} is no value for {name}", "--hyperparameters", "write name=number") from error
    for name, number in changes.items():
        if isinstance(number, tuple):
            if not number or min(number) < 1:
                raise UserError(
                    f"{name} must be whole numbers from 1", "--hyperparameters", f"leave it at {getattr(base, name)}"
                )
        elif not math.isfinite(number) or number < 0:
            raise UserError(
                f"{name} must be a number from 0", "--hyperparameters", f"leave it at {getattr(base, name)}"
            )
        if name in SHARES and number > 1:
            raise UserError(f"{name} must be at most 1", "--hyperparameters", f"leave it at {getattr(base, name)}")
    for name, number in changes.items():
        own = getattr(base, name)
        if name in MEMBERS and number != own and own == getattr(Hyperparameters, name):
            raise UserError(f"{name} has no part in this preset and scenario", "--hyperparameters", "leave it out")
        if name in MEMBERS and name not in SHARES and name != "class_balance" and not number:
            raise UserError(f"{name} must be above 0", "--hyperparameters", f"leave it at {own}")
    result = replace(base, **changes)
    sizes = ("dimensions", "attention_width", "batch_size", "neighbours", "pca_components", "lsi_components")
    if result.tau < 0.025:
        raise UserError("tau must be at least 0.025", "--hyperparameters", f"leave it at {base.tau}")
    for name in (*sizes, "learning_rate", "scale", "iterations", "evaluate_every", "patience"):
        if getattr(result, name) <= 0:
            raise UserError(f"{name} must be above 0", "--hyperparameters", f"leave it at {getattr(base, name)}")
    if len(result.graph_components) != len(result.graph_neighbours):
        raise UserError("graph_components and graph_neighbours must be as many", "--hyperparameters", "change both")
    return result
