"""What submits to Celery in ../distributed.lua: for each line `FUNCTION N` runs N jobs, and says in how many seconds."""
import sys
import time

import jobs
from celery.result import ResultSet

with jobs.app.producer_pool.acquire(block=True) as producer:
    for line in sys.stdin:
        name, n = line.split()
        begin = time.perf_counter()
        if name == "one":
            for _ in range(int(n)):
                jobs.empty.apply_async(producer=producer).get(timeout=300)
        else:
            task = getattr(jobs, name)
            ResultSet([task.apply_async(producer=producer) for _ in range(int(n))]).join_native(timeout=300)
        print(time.perf_counter() - begin, flush=True)
