"""The guard of settings: state made under other settings than the job's is refused, never resumed from wrongly."""

from collections.abc import Mapping
from typing import Any

from freshflow.errors import SnapshotError


def check_settings(stored_settings: Mapping[str, Any], current_settings: Mapping[str, Any]) -> None:
    """Raise `SnapshotError` if a setting that shapes the state had another value when the state was stored."""
    for name, value in current_settings.items():
        if stored_settings.get(name) != value:
            raise SnapshotError(
                f"The recovery folder was written with {name} = {stored_settings.get(name)!r}, and this job has "
                f"{value!r}; go back to the old value, or start anew with an empty --recovery folder."
            )
