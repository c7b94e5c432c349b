"""Variants: users are split between several configurations, each with partitions of its own, to compare them.

A variant is a group of partitions. Of V variants with P partitions each, variant v has those from v P to v P + P - 1. A
user's variant is a hash of the user id, salted with the names of the variants, so that another experiment splits users
differently. It is independent of the hash that selects the user's partition within the variant
(`freshflow.engine.routing`).

All variants share the parser and the user stage, and so count the same events.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from freshflow.config.loader import load_config
from freshflow.config.schema import MAX_PARTITIONS, Config
from freshflow.engine.routing import Topology, partition_of
from freshflow.errors import ConfigError

# Sections that only partitions read, so that variants may differ in them; all other sections must be equal.
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
# Settings of these sections that the user stage reads.
SHARED_SETTINGS = (("ranker", "broadcast_examples"), ("rules", "hide_bought_s"))
VARIANT_HASH_BYTES = 8


def variant_of_user(user_id: str, names: Sequence[str]) -> int:
    """Return a user's variant, from 0: BLAKE2b-64 of all names and the user id, modulo the number of variants."""
    hash_input = "\n".join([*names, user_id]).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(hash_input, digest_size=VARIANT_HASH_BYTES).digest(), "big") % len(names)


class Variants(msgspec.Struct, frozen=True):
    """The configurations of a job, one or several; `job.partitions` of each is the number of the whole job."""

    configs: list[Config]

    @property
    def names(self) -> list[str]:
        """Names of the variants; a job without variants has one, which may be empty."""
        return [config.variant.name for config in self.configs]

    @property
    def n_partitions(self) -> int:
        """Number of partitions of the job."""
        return self.configs[0].job.partitions

    @property
    def n_partitions_per_variant(self) -> int:
        """Number of partitions of a variant."""
        return self.n_partitions // len(self.configs)

    def variant_of_partition(self, partition: int) -> int:
        """Return the variant of a partition."""
        return partition // self.n_partitions_per_variant

    @staticmethod
    def step_id(variant: int) -> str:
        """Return the id of the step of a variant's partitions."""
        return f"partitions-{variant + 1}" if variant else "partitions"

    def partitioner(self) -> Callable[[str], int]:
        """Return the function that maps a user id to a partition."""
        if len(self.configs) == 1:
            return partial(partition_of, n_partitions=self.n_partitions)
        names, n_per_variant = self.names, self.n_partitions_per_variant
        return lambda user_id: variant_of_user(user_id, names) * n_per_variant + partition_of(user_id, n_per_variant)

    def topology(self) -> Topology:
        """Return the split of users over the partitions of the job."""
        return Topology(self.n_partitions, self.partitioner(), len(self.configs))

    def split_settings(self) -> dict[str, Any]:
        """Return the settings that define the split; a resumed job must have the same."""
        return {"variants": self.names if len(self.configs) > 1 else None, "job.partitions": self.n_partitions}


def load_variants(
    files: Sequence[Path] | None,
    base_config: str | Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Variants:
    """Load the variants of a job.

    Args:
        files: A file for each variant, or None for a job without variants; `job.partitions` is the number of each
            variant.
        base_config: The file that the variants share.
        environment: Environment variables.
        overrides: Settings of the command line, by section.
        defaults: Defaults that replace the usual ones, by section.

    Returns:
        The variants.

    Raises:
        ConfigError: A file cannot be read, or the variants do not fit together, or have too many partitions.
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
    """Load configurations, named by `variant.name` or after the file.

    Args:
        files: The files.
        base_config: The file with the settings that each of them overrides.
        environment: Environment variables.
        overrides: Settings of the command line, by section.
        defaults: Defaults that replace the usual ones, by section.

    Returns:
        A configuration for each file.

    Raises:
        ConfigError: A file cannot be read, or two files have the same name or differ in a shared setting.
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
    """Raise `ConfigError` for a shared setting that differs; values are not shown, as some are secrets."""
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
