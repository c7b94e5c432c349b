"""Variants: users split between several configurations, each with partitions of its own, to see which one is better.

A variant is a group of partitions. Of V variants with P partitions each, variant v has those from v P to v P + P - 1. A
user's variant is a hash of the user id, salted with the names of the variants: another experiment splits users anew. It
has nothing to do with the hash that says which of its partitions a user belongs to (`freshflow.streaming.partitioning`).

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
from freshflow.errors import ConfigError
from freshflow.streaming.partitioning import partition_of

__all__ = ["MAY_DIFFER", "Variants", "load_configs", "load_variants", "variant_of_user"]

# Sections that only partitions read, and so may be a variant's own; of the other sections all must be the same.
MAY_DIFFER = ("items", "ranking", "ranker", "lists", "refresh", "rules", "values", "explore", "content", "variant")
# Of these sections, what the user stage reads.
SHARED = (("ranker", "shared"), ("rules", "hide_bought_s"))
HASH_BYTES = 8


def variant_of_user(user_id: str, names: Sequence[str]) -> int:
    """Which of the variants with these names a user is in, from 0: BLAKE2b-64 of names and id, modulo their number."""
    named = "\n".join([*names, user_id]).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(named, digest_size=HASH_BYTES).digest(), "big") % len(names)


class Variants(msgspec.Struct, frozen=True):
    """The configurations of a job, one or several; `job.partitions` of each is the number in the whole job."""

    configs: list[Config]

    @property
    def names(self) -> list[str]:
        """The names of the variants; of a job without, a single one, empty unless it is given a name."""
        return [config.variant.name for config in self.configs]

    @property
    def partitions(self) -> int:
        """How many partitions the job has."""
        return self.configs[0].job.partitions

    @property
    def of_each(self) -> int:
        """How many partitions a variant has."""
        return self.partitions // len(self.configs)

    def variant_of(self, partition: int) -> int:
        """The number of the variant that a partition belongs to."""
        return partition // self.of_each

    @staticmethod
    def step(number: int) -> str:
        """The id of the step of a variant's partitions."""
        return f"partitions-{number + 1}" if number else "partitions"

    def placement(self) -> Callable[[str], int]:
        """What tells the partition of a user by id."""
        if len(self.configs) == 1:
            return partial(partition_of, partitions=self.partitions)
        names, of_each = self.names, self.of_each
        return lambda user_id: variant_of_user(user_id, names) * of_each + partition_of(user_id, of_each)

    def settings(self) -> dict[str, Any]:
        """What shapes the split; a job that is resumed must have the same."""
        return {"variants": self.names if len(self.configs) > 1 else None, "job.partitions": self.partitions}


def load_variants(
    files: Sequence[Path] | None,
    base: str | Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Variants:
    """The variants in `files` (`load_configs`), for one job; `job.partitions` in there is the number of each.

    Without files, the only configuration. Raises `ConfigError`, too, where there are too many partitions.
    """
    if files is None:
        return Variants([load_config(base, environment, overrides, defaults)])
    configs = load_configs(files, base, environment, overrides, defaults)
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
    base: str | Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Config]:
    """The configurations in `files`, each over the settings of `base`, named by `variant.name`, or after the file.

    Raises `ConfigError` where a file cannot be read, two share a name, or differ in what must be the same.
    """
    configs = []
    for file in files:
        config = load_config(base, environment, overrides, defaults, over=file)
        if not config.variant.name:
            config = load_config(base, environment, overrides, _named(defaults, file.stem), over=file)
        configs.append(config)
    _check_names(configs, files)
    for config, file in zip(configs[1:], files[1:], strict=True):
        _check_same(configs[0], config, files[0], file)
    return configs


def _named(defaults: Mapping[str, Mapping[str, Any]] | None, name: str) -> dict[str, Mapping[str, Any]]:
    return {**(defaults or {}), "variant": {"name": name}}


def _check_names(configs: Sequence[Config], files: Sequence[Path]) -> None:
    names = [config.variant.name for config in configs]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"--variants: {' and '.join(map(str, files))} are both called {names[0]}; "
            'give one another name, with name = "..." under [variant].'
        )


def _check_same(first: Config, second: Config, *files: Path) -> None:
    """Refuse a setting of the second that differs and must not; values are not shown, as some are secrets."""
    keys = [(name, key) for name in Config.__struct_fields__ for key in getattr(first, name).__struct_fields__]
    for section, key in keys:
        if section in MAY_DIFFER and (section, key) not in SHARED:
            continue
        if getattr(getattr(first, section), key) != getattr(getattr(second, section), key):
            shared = " and ".join(map(".".join, SHARED))
            free = ", ".join(f"[{name}]" for name in MAY_DIFFER if name != "variant")
            raise ConfigError(
                f"--variants: {section}.{key} is not the same in {files[0]} and {files[1]}, and must be: variants may "
                f"differ in {free} alone, but for {shared}; write it in one place, --config."
            )
