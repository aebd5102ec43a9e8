/*
** handle.c - closing and freeing what stands on a uv_handle_t.
*/
#include "core/handle.h"

void handle_init(Handle *h, Loop *loop, uv_handle_t *uv, void (*destroy)(Handle *),
                 void (*shut)(Shutter *)) {
  h->shutter.shut = shut;
  h->loop = loop;
  h->uv = uv;
  h->destroy = destroy;
  h->closed = true;
  h->boxed = true;
  list_init(&h->link);
  list_append(&loop->handles, &h->link);
}

void handle_opened(Handle *h) {
  asy_assert(h->closed && !h->open && h->loop);
  h->uv->data = &h->shutter;
  h->open = true;
  h->closed = false;
}

void handle_free(Handle *h) {
  asy_assert(h->closed && !h->open && !h->boxed);
  list_remove(&h->link);
  h->destroy(h);
}

static void free_if_unused(Handle *h) {
  if (h->closed && !h->boxed) handle_free(h);
}

static void on_closed(uv_handle_t *uv) {
  Handle *h = uv->data;
  asy_assert(h->closing && !h->closed && h->loop);
  h->closed = true;
  if (h->on_close) h->on_close(h);
  h->loop = NULL;
  free_if_unused(h);
}

void handle_close(Handle *h) {
  if (!h->open) return;
  h->open = false;
  h->closing = true;
  uv_close(h->uv, on_closed);
}

void handle_unbox(Handle *h) {
  h->boxed = false;
  h->box = NULL;
  free_if_unused(h);
}

void handles_forget(Loop *loop) {
  for (ListNode *node; (node = list_take(&loop->handles));) {
    Handle *h = asy_container(node, Handle, link);
    h->loop = NULL;
    if (!h->box) continue;
    *h->box = NULL;
    handle_unbox(h);
  }
}

/* What a walk over all handles looks for, and does. */
typedef struct Walk {
  void (*shut)(Shutter *);
  void (*visit)(Handle *h, void *arg);
  void *arg;
} Walk;

static void on_walk(uv_handle_t *uv, void *arg) {
  const Walk *walk = arg;
  Shutter *shutter = uv->data;
  if (shutter && shutter->shut == walk->shut && !uv_is_closing(uv))
    walk->visit(asy_container(shutter, Handle, shutter), walk->arg);
}

void handles_each(Loop *loop, void (*shut)(Shutter *), void (*visit)(Handle *h, void *arg), void *arg) {
  Walk walk = {shut, visit, arg};
  uv_walk(&loop->uv, on_walk, &walk);
}
