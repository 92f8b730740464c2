"""Work that shows whether what it made is gone, for tests with the fixture `without_collector`."""

import weakref

import numpy as np


class Work:
    """Makes an array and fails, or doesn't."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[np.ndarray]] = []

    def __call__(self, kind: type[Exception] | None) -> np.ndarray:
        array = np.zeros((9, 9))
        self.made.append(weakref.ref(array))
        if kind is not None:
            try:
                raise ValueError("its cause, which has the array, too")
            except ValueError as cause:
                raise kind("no") from cause
        return array

    def gone(self) -> bool:
        return all(array() is None for array in self.made)
