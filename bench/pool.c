/*
** pool.c - pool IN_FLIGHT CALLS: the floor of offload.lua, libuv's own pool of two threads from C: so many calls of a
** function that does nothing, of which so many are under way. Prints microseconds of time, and of processor time, for
** each.
*/
#include <stdio.h>
#include <stdlib.h>

#include <sys/resource.h>
#include <uv.h>

#define MOST 1024

static uv_loop_t loop;
static long left; /* to be begun */

static void work(uv_work_t *req) { (void)req; }

static void begin(uv_work_t *req);

static void on_done(uv_work_t *req, int status) {
  if (status) exit(1);
  begin(req);
}

static void begin(uv_work_t *req) {
  if (left-- > 0 && uv_queue_work(&loop, req, work, on_done)) exit(1);
}

static double processor_time(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void run(uv_work_t *reqs, int in_flight, long calls) {
  left = calls;
  for (int i = 0; i < in_flight; i++) begin(&reqs[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
  static uv_work_t reqs[MOST];
  if (argc < 3) return 2;
  int in_flight = atoi(argv[1]);
  long calls = atol(argv[2]);
  if (in_flight < 1 || in_flight > MOST) return 2;
  setenv("UV_THREADPOOL_SIZE", "2", 1);
  uv_loop_init(&loop);
  run(reqs, in_flight, 1000); /* to warm up */
  uint64_t began = uv_hrtime();
  double used = processor_time();
  run(reqs, in_flight, calls);
  printf("%.3f %.3f\n", (double)(uv_hrtime() - began) / 1e3 / (double)calls, (processor_time() - used) / (double)calls);
  return 0;
}
