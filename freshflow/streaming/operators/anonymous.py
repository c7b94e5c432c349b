"""The operator of the stage of anonymous users, which precedes that of users if anonymous users are tracked."""

from collections.abc import Callable

from freshflow.engine.messages import EventBatch
from freshflow.engine.stages import AnonymousStage
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput
from freshflow.streaming.operators.base import StoreOperator


class AnonymousOperator(StoreOperator[AnonymousStage]):
    """Events in, a batch to the user stage of every partition out (`AnonymousStage`)."""

    def __init__(self, variants: Variants, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        super().__init__(AnonymousStage(variants.configs[0], variants.topology()), clock, keyed_state)


def anonymous_operator(
    variants: Variants, clock: Callable[[], int], state_backend: StateBackend
) -> Callable[[bytes | None], AnonymousOperator]:
    """Return the builder that Bytewax calls for a new key, or with the stored state of a resumed one."""
    return lambda stored: AnonymousOperator(
        variants, clock, state_backend.open_state(stored, EventBatch | EndOfInput, variants.split_settings())
    )
