"""Variants: users split between several configurations, each with partitions of its own, to see which one is better.

A variant is a group of partitions. Of V variants with P partitions each, variant v has those from v P to v P + P - 1. A
user's variant is a hash of the user id, salted with the names of the variants: another experiment splits users anew. It
has nothing to do with the hash that says which of its partitions a user belongs to (`freshflow.engine.routing`).

What the job does before an event is known to be of a partition, and what is counted as an event, is the same for all.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from freshflow.config.schema import MAX_PARTITIONS, Config, load_config
from freshflow.engine.routing import Topology, partition_of
from freshflow.errors import ConfigError

__all__ = ["VARIANT_SECTIONS", "Variants", "load_configs", "load_variants", "variant_of_user"]

# Sections that only partitions read, and so may be a variant's own; of the other sections all must be the same.
VARIANT_SECTIONS = (
    "items",
    "ranking",
    "ranker",
    "lists",
    "refresh",
    "rules",
    "business_value",
    "explore",
    "content",
    "variant",
)
# Of these sections, what the user stage reads.
SHARED_SETTINGS = (("ranker", "broadcast_examples"), ("rules", "hide_bought_s"))
VARIANT_HASH_BYTES = 8


def variant_of_user(user_id: str, names: Sequence[str]) -> int:
    """Which of the variants with these names a user is in, from 0: BLAKE2b-64 of names and id, modulo their number."""
    hash_input = "\n".join([*names, user_id]).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(hash_input, digest_size=VARIANT_HASH_BYTES).digest(), "big") % len(names)


class Variants(msgspec.Struct, frozen=True):
    """The configurations of a job, one or several; `job.partitions` of each is the number in the whole job."""

    configs: list[Config]

    @property
    def names(self) -> list[str]:
        """The names of the variants; of a job without, a single one, empty unless it is given a name."""
        return [config.variant.name for config in self.configs]

    @property
    def n_partitions(self) -> int:
        """How many partitions the job has."""
        return self.configs[0].job.partitions

    @property
    def n_partitions_per_variant(self) -> int:
        """How many partitions a variant has."""
        return self.n_partitions // len(self.configs)

    def variant_of_partition(self, partition: int) -> int:
        """The number of the variant that a partition belongs to."""
        return partition // self.n_partitions_per_variant

    @staticmethod
    def step_id(variant: int) -> str:
        """The id of the step of a variant's partitions."""
        return f"partitions-{variant + 1}" if variant else "partitions"

    def partitioner(self) -> Callable[[str], int]:
        """What tells the partition of a user by id."""
        if len(self.configs) == 1:
            return partial(partition_of, n_partitions=self.n_partitions)
        names, n_per_variant = self.names, self.n_partitions_per_variant
        return lambda user_id: variant_of_user(user_id, names) * n_per_variant + partition_of(user_id, n_per_variant)

    def topology(self) -> Topology:
        """Return the split of users over the partitions of the job."""
        return Topology(self.n_partitions, self.partitioner(), len(self.configs))

    def split_settings(self) -> dict[str, Any]:
        """What shapes the split; a job that is resumed must have the same."""
        return {"variants": self.names if len(self.configs) > 1 else None, "job.partitions": self.n_partitions}


def load_variants(
    files: Sequence[Path] | None,
    base_config: str | Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Variants:
    """The variants in `files` (`load_configs`), for one job; `job.partitions` in there is the number of each.

    Without files, the only configuration. Raises `ConfigError`, too, where there are too many partitions.
    """
    if files is None:
        return Variants([load_config(base_config, environment, overrides, defaults)])
    configs = load_configs(files, base_config, environment, overrides, defaults)
    job = configs[0].job
    if job.partitions * len(configs) > MAX_PARTITIONS:
        raise ConfigError(
            f"{len(configs)} variants with job.partitions = {job.partitions} each are more than {MAX_PARTITIONS} "
            "partitions; give fewer."
        )
    job = structs.replace(job, partitions=job.partitions * len(configs))
    return Variants([structs.replace(config, job=job) for config in configs])


def load_configs(
    files: Sequence[Path],
    base_config: str | Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Config]:
    """The configurations in `files`, each over the settings of `base_config`, named by `variant.name`, or after the file.

    Raises `ConfigError` where a file cannot be read, two share a name, or differ in what must be the same.
    """
    configs = []
    for file in files:
        config = load_config(base_config, environment, overrides, defaults, overlay=file)
        if not config.variant.name:
            config = load_config(
                base_config, environment, overrides, _with_variant_name(defaults, file.stem), overlay=file
            )
        configs.append(config)
    _check_names(configs, files)
    for config, file in zip(configs[1:], files[1:], strict=True):
        _check_same_settings(configs[0], config, files[0], file)
    return configs


def _with_variant_name(defaults: Mapping[str, Mapping[str, Any]] | None, name: str) -> dict[str, Mapping[str, Any]]:
    return {**(defaults or {}), "variant": {"name": name}}


def _check_names(configs: Sequence[Config], files: Sequence[Path]) -> None:
    names = [config.variant.name for config in configs]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"--variants: {' and '.join(map(str, files))} are both called {names[0]}; "
            'give one another name, with name = "..." under [variant].'
        )


def _check_same_settings(first: Config, second: Config, *files: Path) -> None:
    """Refuse a setting of the second that differs and must not; values are not shown, as some are secrets."""
    keys = [(name, key) for name in Config.__struct_fields__ for key in getattr(first, name).__struct_fields__]
    for section, key in keys:
        if section in VARIANT_SECTIONS and (section, key) not in SHARED_SETTINGS:
            continue
        if getattr(getattr(first, section), key) != getattr(getattr(second, section), key):
            shared_settings = " and ".join(map(".".join, SHARED_SETTINGS))
            free_sections = ", ".join(f"[{name}]" for name in VARIANT_SECTIONS if name != "variant")
            raise ConfigError(
                f"--variants: {section}.{key} is not the same in {files[0]} and {files[1]}, and must be: variants may "
                f"differ in {free_sections} alone, but for {shared_settings}; write it in one place, --config."
            )
