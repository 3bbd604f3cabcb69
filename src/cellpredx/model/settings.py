"""What all samples share, checked before anything runs: files that are parameters, bundles, hyper-parameters."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cellpredx.core.annotation import read_annotation
from cellpredx.core.bed import read_regions
from cellpredx.core.bundle_info import read_info
from cellpredx.core.errors import UNREADABLE, UserError, mistake_of
from cellpredx.core.genome import read_sizes, some_chromosomes
from cellpredx.core.labels import read_map
from cellpredx.core.species import SPECIES_OF_GENOME, species_of
from cellpredx.model import presets


@dataclass(frozen=True)
class Settings:
    """The parameters that are files or numbers of a training; `scenarios` are those that the transfers may have."""

    genome: str | None = None
    chrom_sizes: Path | None = None
    annotation: Path | None = None
    blacklist: Path | None = None
    label_map: Path | None = None
    bundles: tuple[Path, ...] = ()
    preset: str = "paper"
    hyperparameters: str = ""
    scenarios: tuple[str, ...] = ()


@dataclass
class SettingsCheck:
    """What is known of the settings, and what is wrong with them."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    chromosomes: dict[str, list[str]] = field(default_factory=dict)
    species: dict[str, str] = field(default_factory=dict)

    def catch(self, parameter: str, read: Callable[[], Any], **more: Any) -> Any:
        """Return what `read` gives; keep its error, with the parameter before its place, and return None then."""
        try:
            return read()
        except UNREADABLE as error:
            mistake = mistake_of(error, None)
        place = f"parameter {parameter}"
        told = f"{place}: {mistake.where}" if mistake.where and mistake.where != parameter else place
        self.problems.append({"what": mistake.what, "where": told, "remedy": mistake.remedy, **more})
        return None

    def names(self, source: str, chromosomes: Iterable[str]) -> None:
        """Keep some of the names that a source gives to chromosomes."""
        self.chromosomes[source] = some_chromosomes(chromosomes)

    def result(self) -> dict[str, Any]:
        """Return settings.json."""
        return {"problems": self.problems, "chromosomes": self.chromosomes, "species": self.species}


def _hyperparameters(settings: Settings) -> None:
    """Raise UserError where the hyper-parameters do not fit every scenario: all trainings of a run get the same."""
    errors = {}
    for scenario in settings.scenarios:
        try:
            presets.override(presets.load(settings.preset, scenario), settings.hyperparameters)
        except UserError as error:
            errors[scenario] = error
    if not errors:
        return
    first = next(iter(errors.values()))
    if len(errors) == len(settings.scenarios):
        raise first
    raise UserError(
        first.what,
        f"scenario {', '.join(errors)}",
        f"{first.remedy}, or run the groups of each scenario by themselves",
    )


def check_settings(settings: Settings) -> dict[str, Any]:
    """Read every file that is a parameter, every bundle and the hyper-parameters.

    Return {problems (what, where, remedy; of a bundle, its place in `bundles` too), chromosomes (some, by source:
    annotation, genome, blacklist), species (by source: annotation, genome)}.
    """
    check = SettingsCheck()
    option = "--chrom_sizes" if settings.chrom_sizes else "--genome"
    sizes = check.catch(option, lambda: read_sizes(settings.genome, settings.chrom_sizes)) or {}
    if sizes:
        check.names("genome", sizes)
    if settings.genome in SPECIES_OF_GENOME:
        check.species["genome"] = SPECIES_OF_GENOME[settings.genome]
    if (path := settings.annotation) is not None:
        annotation = check.catch("--annotation", lambda: read_annotation(path))
        if annotation is not None:
            check.names("annotation", annotation.genes["chrom"])
            species = species_of(annotation.genes["gene_id"]) or species_of(annotation.genes["gene_name"])
            if species:
                check.species["annotation"] = species
    if (regions := settings.blacklist) is not None:
        blacklist = check.catch("--blacklist", lambda: read_regions(regions, sizes))
        if blacklist is not None:
            check.names("blacklist", (chrom for chrom, _, _ in blacklist))
    if (names := settings.label_map) is not None:
        check.catch("--label_map", lambda: read_map(names))
    for number, folder in enumerate(settings.bundles):
        check.catch("--model", partial(read_info, folder), bundle=number)
    if settings.hyperparameters:
        check.catch("--hyperparameters", lambda: _hyperparameters(settings))
    return check.result()
