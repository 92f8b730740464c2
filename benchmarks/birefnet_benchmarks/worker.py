"""One case in a process of its own, so that the peak of memory is that case's.

`python -m birefnet_benchmarks.worker CASE_AS_JSON` prints the measurement as JSON.
"""

import dataclasses
import json
import sys
import time
import warnings

from .case import Case, case_from_json
from .measure import Measurement, time_calls
from .memory import peak_rss_bytes


def run(case: Case) -> Measurement:
    """Measure one case here and now. The image is noise: time doesn't depend on what it shows."""
    started = time.perf_counter()
    import numpy as np
    from birefnet_runtime import Segmenter, SizeWarning

    height, width = case.image_size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    warnings.simplefilter("ignore", SizeWarning)  # time is asked for here, not quality
    segmenter = Segmenter(case.model, size=case.size, threads=case.threads)
    segmenter(image)
    cold_start_s = time.perf_counter() - started
    return Measurement(
        case=case,
        ran_size=segmenter.model_size((height, width)),
        cold_start_s=cold_start_s,
        times_s=time_calls(lambda: segmenter(image), case.repeats),
        peak_rss_bytes=peak_rss_bytes(),
    )


def main(arguments: list[str]) -> None:
    print(json.dumps(dataclasses.asdict(run(case_from_json(json.loads(arguments[0]))))))


if __name__ == "__main__":
    main(sys.argv[1:])
