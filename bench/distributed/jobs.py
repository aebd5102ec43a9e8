"""What Celery's workers run in ../distributed.lua, and how it is set: for as little work as it can do."""
import os
import time

import celery

URL = "redis+socket://" + os.environ["BENCH_SOCKET"]

app = celery.Celery("jobs", broker=URL, backend=URL)
app.conf.update(
    task_serializer="json", result_serializer="json", accept_content=["json"], task_ignore_result=False,
    task_acks_late=os.environ["BENCH_ACKS"] == "late", worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
    worker_disable_rate_limits=True, worker_send_task_events=False, task_send_sent_event=False,
)


@app.task
def empty():
    pass


@app.task
def busy():
    ends = time.process_time() + 0.001
    while time.process_time() < ends:
        pass
