"""The user's own recent items: people come back to what they were at."""

from freshflow.events.model import Behaviour
from freshflow.users.profile import Context, UserState

__all__ = ["Recent"]


class Recent:
    """The last items of the user's history, at most `most`. Learns nothing: the history comes with the question."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def recommend(self, user_id: str, user: UserState, context: Context, k: int) -> list[str]:
        """The user's last distinct items, the latest first."""
        return list(user.items[::-1][: k if self.most is None else min(k, self.most)])

    def learn(self, event: Behaviour, context: Context) -> None:
        """Nothing to learn."""
