"""ONNX Runtime's telemetry: off, unless the user set the variable.

From 1.29 on, ONNX Runtime sends data from any process that lives a minute, and keeps an identifier
and a database under the user's cache. It reads this variable when it is imported; no function
of its own stops it later. The threads behind it also keep a forked child from ending. Everything of
ours that imports ONNX Runtime has imported this package before.
"""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"

os.environ.setdefault(VARIABLE, "1")
