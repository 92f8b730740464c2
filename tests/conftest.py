"""What holds for every test."""

import os
import tempfile

from hypothesis import HealthCheck, settings

# No test reaches a real hub, whatever name it looks up: nothing listens there.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")

# The user's cache is left alone; workers and programs that tests start share this one.
if "BIREFNET_CACHE" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="birefnet-tests-")
    os.environ["BIREFNET_CACHE"] = CACHE.name

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
