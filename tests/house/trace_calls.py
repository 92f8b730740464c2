"""Run `birefnet` with the arguments given and print as JSON which of our functions were called.

Bodies of modules and classes are not counted, nor comprehensions and lambdas; a change of file is a
call of a function in another file than the one before.
"""

import inspect
import json
import sys
import threading
from types import FrameType

OURS = ("birefnet_models", "birefnet_runtime", "birefnet_apps")

functions: set[tuple[str, str]] = set()
changes = 0
last = ""


def note(frame: FrameType, event: str, _: object) -> None:
    """Count a call of ours."""
    global changes, last
    code = frame.f_code
    if event != "call" or not code.co_flags & inspect.CO_OPTIMIZED or code.co_name[0] == "<":
        return
    parts = code.co_filename.split("/")
    package = next((name for name in OURS if name in parts), None)
    if package is None:
        return
    file = "/".join(parts[parts.index(package) :])
    functions.add((file, code.co_qualname))
    changes += file != last and last != ""
    last = file


threading.setprofile(note)
sys.setprofile(note)
try:
    from birefnet_apps.cli.main import main

    sys.argv[0] = "birefnet"
    main()
except SystemExit as done:
    if done.code:
        raise
finally:
    sys.setprofile(None)
found = {"files": len({file for file, _ in functions}), "functions": len(functions)}
print(json.dumps({**found, "changes": changes, "names": sorted(map(list, functions))}))
