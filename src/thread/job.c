/*
** job.c - jobs as their loop has them: begun, come back, cancelled. The pool's side is in pool.c.
*/
#include "thread/job.h"

#include "core/error.h"
#include "core/future.h"
#include "core/observer.h"
#include "core/trace.h"
#include "thread/parcel.h"

typedef struct JobFuture {
  HookedFuture hooked; /* first */
  Job *job;            /* NULL: it has come back, or was cancelled */
} JobFuture;

/* The loop has done with it; C only. */
static void job_detach(Job *job) {
  struct JobInLoop *in = &job->in_loop;
  list_remove(&in->guest.link);
  list_remove(&in->ready.link);
  if (in->future) ((JobFuture *)in->future)->job = NULL;
  asy_assert(!in->loop || in->loop->jobs > 0);
  if (in->loop) {
    in->loop->jobs--;
    if (in->loop->watched) observers_handed(in->loop, job);
  }
  in->future = NULL;
  in->loop = NULL;
  pool_job_recycle(job);
}

/* From libuv, on the loop's thread. */
static void on_job_back(Message *msg) {
  Job *job = asy_container(msg, Job, in_loop.done);
  if (job->in_loop.loop) loop_ready(job->in_loop.loop, &job->in_loop.ready);
  pool_job_unref(job);
}

/* The loop closes: a job not begun never will. */
static void on_loop_closed(Guest *guest) {
  Job *job = asy_container(guest, Job, in_loop.guest);
  pool_cancel(job);
  job_detach(job);
}

static void on_cancelled(lua_State *L, HookedFuture *f) {
  Job *job = ((JobFuture *)f)->job;
  if (!job) return;
  pool_cancel(job);
  asy_release(L, job->in_loop.loop, job->in_loop.slot);
  job_detach(job);
}

/* Pushes the error of a job that failed, and sets the traceback of its future, at 2. */
static FutureState push_error(lua_State *L, Job *job) {
  switch (job->outcome) {
  case JOB_CANCELLED:
    asy_error_push(L, ASY_CANCELLED, "the executor was shut down before the job began");
    return FUTURE_CANCELLED;
  case JOB_BROKEN:
    asy_error_push(L, ASY_BROKEN_EXECUTOR, "%s", buffer_bytes(&job->message));
    return FUTURE_ERROR;
  case JOB_NO_MEMORY: lua_pushliteral(L, "not enough memory"); return FUTURE_ERROR;
  default: break;
  }
  asy_codec_decode(L, buffer_bytes(&job->message), buffer_length(&job->message), true);
  if (lua_isstring(L, -1))
    asy_trace_keep_foreign(L, 2);
  else
    lua_pop(L, 1);
  return asy_isinstance(L, -1, ASY_CANCELLED) ? FUTURE_CANCELLED : FUTURE_ERROR;
}

/* args: job (light), its future */
static int settle(lua_State *L) {
  Job *job = lua_touserdata(L, 1);
  FutureState state = FUTURE_RESULT;
  bool packed = false;
  if (job->outcome == JOB_RESULT)
    packed = asy_pack(L, asy_codec_decode(L, buffer_bytes(&job->message), buffer_length(&job->message), true));
  else
    state = push_error(L, job);
  asy_future_settle(L, job->in_loop.loop->rt, lua_touserdata(L, 2), 2, state, packed);
  return 0;
}

/* The same where nothing can raise: one number or so for a future without callbacks or shields. */
static bool settle_plain(lua_State *L, Loop *loop, Job *job, Future *f, int idx) {
  if (job->outcome != JOB_RESULT || f->callbacks || f->shielded) return false;
  int n = asy_codec_decode_plain(L, buffer_bytes(&job->message), buffer_length(&job->message));
  if (n == 1) asy_future_settle(L, loop->rt, f, idx, FUTURE_RESULT, false);
  else if (n > 0) lua_pop(L, n);
  return n == 1;
}

/* stack: ..., future. Should memory run out, the job stays on the list and is tried again. */
static void settle_any(lua_State *L, Loop *loop, Job *job, Future *f) {
  int future = lua_gettop(L);
  list_prepend(&loop->ready, &job->in_loop.ready.link);
  lua_pushcfunction(L, settle);
  lua_pushlightuserdata(L, job);
  lua_pushvalue(L, future);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) asy_future_settle(L, loop->rt, f, future, FUTURE_ERROR, false);
}

/* Its turn in the loop. What came can no longer be cancelled; its future can, by a finaliser that runs while
** the values are made. */
static void job_run(lua_State *L, Loop *loop, Ready *self) {
  Job *job = asy_container(self, Job, in_loop.ready);
  int top = lua_gettop(L);
  luaL_checkstack(L, CODEC_PLAIN + 4, NULL);
  lua_rawgeti(L, ASY_HELD, job->in_loop.slot);
  Future *f = lua_touserdata(L, -1);
  ((JobFuture *)f)->job = NULL;
  if (!settle_plain(L, loop, job, f, top + 1)) settle_any(L, loop, job, f);
  asy_release_in(L, loop, ASY_HELD, job->in_loop.slot);
  job_detach(job);
  lua_settop(L, top);
}

Job *asy_job_begin(lua_State *L, Loop *loop, Pool *pool) {
  JobFuture *f = (JobFuture *)asy_future_hooked(L, loop, sizeof *f, FUTURE_UV_EXTRAS, on_cancelled);
  lua_pushvalue(L, -1);
  uint32_t slot = asy_hold(L, loop);
  Job *job = f->job = pool_job_new(pool, loop->inbox, on_job_back);
  if (!job) {
    asy_release(L, loop, slot);
    asy_nomemory(L);
  }
  struct JobInLoop *in = &job->in_loop;
  in->slot = slot;
  in->loop = loop;
  loop->jobs++;
  in->future = &f->hooked;
  in->ready.run = job_run;
  in->guest.drop = on_loop_closed;
  list_append(&loop->guests, &in->guest.link);
  if (loop->watched) observers_hands(loop, job, "job");
  return job;
}

void asy_job_abandon(lua_State *L, Job *job) {
  asy_release(L, job->in_loop.loop, job->in_loop.slot);
  job_detach(job);
}

/* Looking for names allocates, so a finaliser may run, and close the loop, which lets go of the job. */
void asy_job_pack(lua_State *L, Job *job, int n, CodecWhat what) {
  atomic_fetch_add(&job->refs, 1);
  bool packed = asy_parcel_pack(L, n, what, &job->message), attached = job->in_loop.loop;
  if (attached && !packed) asy_job_abandon(L, job);
  pool_job_unref(job);
  if (!packed) lua_error(L);
  if (!attached) asy_error(L, ASY_CLOSED, "the event loop is closed");
}
