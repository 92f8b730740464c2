"""Backends whose behavior is known, for the instrument to be tried on. Run by worker processes."""

import ctypes
import os
import sys
import time

import numpy as np


class Known:
    """Answers one half everywhere: logits 0.5. `source` holds a number where one is needed."""

    def __init__(self, configuration):
        self.configuration = configuration
        self.number = float(configuration.source or 0)
        print("noise on standard output, as libraries make it")

    def logits(self, image):
        return np.full((self.configuration.batch, 1, *self.configuration.size), 0.5, np.float32)

    def alpha(self, image):
        return np.full((40, 60), 0.25, np.float32)

    def facts(self):
        return {"answers": "one half"}


class Sleeping(Known):
    def logits(self, image):
        time.sleep(self.number)
        return super().logits(image)


class Allocating(Known):
    def logits(self, image):
        np.ones(int(self.number), np.uint8)  # touched, and given back at once
        return super().logits(image)


class Off(Known):
    """Off by a known epsilon, in logits and in alpha."""

    def logits(self, image):
        return super().logits(image) + np.float32(self.number)

    def alpha(self, image):
        return super().alpha(image) + np.float32(self.number)


class NotANumber(Known):
    def logits(self, image):
        return super().logits(image) * np.nan


class Misshapen(Known):
    def logits(self, image):
        return super().logits(image)[..., :-1]


class Raising(Known):
    def logits(self, image):
        raise ValueError("no such luck\nand a second line")


class Crashing(Known):
    """Crashes in its third run: the first turn."""

    runs = 0

    def logits(self, image):
        self.runs += 1
        if self.runs == 3:
            print("about to fall", file=sys.stderr, flush=True)
            ctypes.string_at(0)
        return super().logits(image)


class Exiting(Known):
    def logits(self, image):
        print("leaving", file=sys.stderr, flush=True)
        os._exit(7)


class Hanging(Known):
    def logits(self, image):
        time.sleep(3600)


class Eating(Known):
    """Takes more and more."""

    def logits(self, image):
        held = []
        while True:
            held.append(np.ones(20_000_000, np.uint8))
            time.sleep(0.01)
