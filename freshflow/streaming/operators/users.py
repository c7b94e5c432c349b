"""The operator of the user stage."""

from collections.abc import Callable

from freshflow.config.schema import Config
from freshflow.engine.messages import EventBatch, ForwardedBatch
from freshflow.engine.stages import UserStage
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput
from freshflow.streaming.operators.base import StoreOperator


class UserOperator(StoreOperator[UserStage]):
    """Events in; steps, remote events and rejected events out (`UserStage`)."""

    def __init__(self, variants: Variants, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        super().__init__(UserStage(variants.configs[0], variants.topology()), clock, keyed_state)


def user_operator(
    config: Config | Variants, clock: Callable[[], int], state_backend: StateBackend
) -> Callable[[bytes | None], UserOperator]:
    """Return the builder that Bytewax calls for a new key, or with the stored state of a resumed one."""
    variants = config if isinstance(config, Variants) else Variants([config])
    settings = variants.split_settings()
    return lambda stored: UserOperator(
        variants, clock, state_backend.open_state(stored, EventBatch | ForwardedBatch | EndOfInput, settings)
    )
