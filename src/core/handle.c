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
  if (h->uv) h->uv->data = &h->shutter;
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

void handle_gone(Handle *h) {
  asy_assert(h->closing && !h->closed && h->loop);
  h->closed = true;
  if (h->on_close) h->on_close(h);
  h->loop = NULL;
  free_if_unused(h);
}

static void on_closed(uv_handle_t *uv) { handle_gone((Handle *)uv->data); }

void handle_close(Handle *h) {
  if (!h->open) return;
  h->open = false;
  h->closing = true;
  if (h->uv) uv_close(h->uv, on_closed);
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

/* Each handle that a walk has been to goes to the end of the list: what is visited may close and free others, and an
** error may end the walk. */
// cppcheck-suppress constParameter
void handles_each(Loop *loop, void (*shut)(Shutter *), void (*visit)(Handle *h, void *arg), void *arg) {
  uint64_t walk = ++loop->walks;
  while (!list_empty(&loop->handles)) {
    Handle *h = asy_container(loop->handles.next, Handle, link);
    if (h->walk == walk) return;
    h->walk = walk;
    list_remove(&h->link);
    list_append(&loop->handles, &h->link);
    if (h->open && h->shutter.shut == shut) visit(h, arg);
  }
}

/* One that isn't libuv's and hasn't gone, or NULL. */
static Handle *find_bare(const Loop *loop) {
  list_each(node, &loop->handles) {
    Handle *h = asy_container(node, Handle, link);
    if (!h->uv && !h->closed) return h;
  }
  return NULL;
}

void handles_shut(Loop *loop) {
  list_each(node, &loop->handles) {
    Handle *h = asy_container(node, Handle, link);
    if (!h->uv && h->open) h->shutter.shut(&h->shutter);
  }
  for (Handle *h; (h = find_bare(loop));) handle_gone(h);
}

int handles_open(const Loop *loop) {
  int n = 0;
  list_each(node, &loop->handles) {
    const Handle *h = asy_container(node, Handle, link);
    if (handle_counts(h) && !h->kept) n++;
  }
  return n;
}

bool handles_outside(const Loop *loop) {
  list_each(node, &loop->handles) {
    const Handle *h = asy_container(node, Handle, link);
    if (h->uv && handle_counts(h)) return true;
  }
  return false;
}
