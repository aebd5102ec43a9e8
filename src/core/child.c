/*
** child.c - a loop in a forked child: it stays with the parent.
**
** What the child has is a copy that nothing runs. It is as if closed, but for what libuv and the kernel know of it,
** which goes when it is closed there. The state may make loops of its own, also in the task that has forked.
*/
#include "core/observer.h"

/* A handle's signals do what they do by default; and what another thread, or the pipe, had begun to tell it will
** never come, for which libuv would wait when it is closed. */
static void calm(uv_handle_t *h, void *arg) {
  (void)arg;
  if (h->type == UV_SIGNAL) {
    uv_signal_t *signal = (uv_signal_t *)h;
    uv_signal_stop(signal);
    signal->dispatched_signals = signal->caught_signals;
  } else if (h->type == UV_ASYNC)
    ((uv_async_t *)h)->pending = 0;
}

static void leave(Loop *loop) {
  Runtime *rt = loop->rt;
  loop->open = false;
  loop->copied = true;
  list_remove(&loop->link);
  if (rt->running == loop) {
    loop->beneath = true;
    rt->forked = rt->current;
    rt->forked_co = rt->current ? rt->current->co : NULL;
    rt->running = NULL;
    rt->current = NULL;
  }
}

static void in_child(ForkWatch *w, bool ours) {
  Loop *loop = asy_container(w, Loop, fork);
  const Runtime *rt = loop->rt;
  bool live = ours && loop->open;
  observers_in_child(loop);
  for (int i = rt->nhooks; i-- > 0;)
    if (rt->hooks[i]->in_child) rt->hooks[i]->in_child(loop, live);
  if (!live) return;
  leave(loop);
  inbox_in_child(loop->inbox);
  loop_crews_in_child(loop);
  uv_loop_fork(&loop->uv); /* an epoll of its own: to close handles now touches nobody's but ours */
  uv_walk(&loop->uv, calm, NULL);
}

void loop_watch_forks(Loop *loop) { fork_watch(&loop->fork, in_child); }
