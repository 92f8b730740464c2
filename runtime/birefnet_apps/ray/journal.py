"""What is in hand, noted where it outlives the process that has it in hand.

When a process ends without a word, as a codec's crash and the system's killer for memory end it,
nobody else knows on which picture. The journal does: what was begun there and not ended.
"""

from collections import Counter
from typing import Any


class Journal:
    """Counts what was begun and has not ended, by name."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        """Note that something begins.

        Returns:
            how often it did so before, without an end.
        """
        self._begun[name] += 1
        return self._begun[name] - 1

    def end(self, name: str) -> None:
        """Note that something has ended."""
        self._begun.pop(name, None)


class JournalActor:
    """A journal in a process of Ray's. May be sent to actors.

    Args:
        handle: of a `Journal` that is an actor.
        actors: how many write into it at once.
    """

    def __init__(self, handle: Any, actors: int) -> None:
        self._handle = handle
        self.actors = actors

    def begin(self, name: str) -> int:
        """As `Journal.begin` does."""
        import ray

        count: int = ray.get(self._handle.begin.remote(name))
        return count

    def end(self, name: str) -> None:
        """As `Journal.end` does; nothing is waited for."""
        self._handle.end.remote(name)


def start_journal(actors: int) -> JournalActor:
    """Start a journal for so many actors: on this machine, which the run can't do without anyway.

    Where Ray put it on another after all, which then dies, it begins anew elsewhere, empty.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context: Any = ray.get_runtime_context()
    here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=True)
    journal: Any = ray.remote(Journal)
    options = {"num_cpus": 0, "scheduling_strategy": here}
    options |= {"max_restarts": -1, "max_task_retries": -1}
    return JournalActor(journal.options(**options).remote(), actors)
