/*
** stream.h - one connection: what StreamReader and StreamWriter share.
**
** The block is malloc'ed and boxed by the writer's userdata; the reader holds the writer. libuv's
** callbacks fill `in` and count; whatever needs Lua they leave to `tidy`, which the loop runs.
*/
#ifndef ASY_STREAM_H
#define ASY_STREAM_H

#include "base/buffer.h"
#include "core/handle.h"
#include "core/waitq.h"
#include "net/address.h"

ASY_HIDDEN

#define STREAM_LIMIT 65536 /* default of `limit` and of the high-water mark, as in asyncio */

/* A large string on its way out: not copied, held by the loop. */
typedef struct Ref {
  size_t at; /* how many of the small bytes go before it */
  const char *data;
  size_t length;
  uint32_t slot;
} Ref;

/* Bytes on their way out: small strings copied one after the other, large ones in between. */
typedef struct Out {
  Buffer small;
  Ref *refs;
  size_t nrefs, size; /* refs in use, room for */
  size_t bytes, sent; /* all, and how many of them are gone */
} Out;

/* What uv_write has under way; it owns its Out until libuv calls back. */
typedef struct Flight {
  uv_write_t req;
  struct Stream *stream;
  Out out;
  bool landed; /* libuv has called back: `tidy` frees it */
} Flight;

struct Server;
struct Pump;

typedef struct Stream {
  Handle handle;
  Ready send;       /* in turn_end: sends what this turn wrote */
  Ready tidy;       /* on the ready list: what a callback left to do */
  Timer linger;     /* closing: aborts when nothing moves any more */
  uint64_t linger_ns;
  size_t linger_pending;
  /* reading */
  Buffer in;
  size_t searched;  /* so many bytes of `in` hold no separator */
  size_t want;      /* the reader isn't woken before so many bytes lie there ... */
  int want_byte;    /* ... or this byte has come; -1: none in particular */
  size_t limit;
  size_t read_size; /* what the next read offers to the kernel */
  Task *reader;     /* who waits for data, or for the connection; until it has run again */
  int read_error;   /* a libuv status */
  bool eof, reading;
  bool on_demand;   /* read only while somebody waits: what lies in a terminal is whoever's that asks next */
  bool direct;      /* the reader is content with any byte: it takes them from the kernel itself, and ... */
                    /* ... hands them on while the cache has them; libuv only says that some are there */
  bool peer_ended;  /* eof came from the peer */
  char *site;       /* debug mode: where it was opened; or NULL */
  /* writing */
  bool eof_wanted, eof_sent, closing, aborted, draining;
  int write_error;
  Out out;
  Flight *flight;   /* or NULL */
  uv_shutdown_t *ending; /* what write_eof will send; NULL before it, and once libuv has it */
  size_t high, low; /* water marks of drain */
  Waitq drainers, closers;
  struct Pump *pump; /* the thread that copies for a standard stream, or NULL */
  bool one_way;     /* no socket: has one half only, or none that can be closed by itself */
  int file;         /* output that never blocks (a regular file) goes there; -1: to the handle */
  /* the server it came from */
  struct Server *server;
  ListNode link;    /* in the server's clients */
  Task *handler;    /* while it runs; the loop holds the writer in `slot` so long, for a handler ... */
  uint32_t slot;    /* ... that has no use for it is connected all the same */
  void (*on_gone)(struct Stream *s); /* tells the server; C only */
  IpAddress peer; /* family 0: none */
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } uv; /* last: only its kind's part is allocated */
} Stream;

/* The userdata of a writer and of a reader. The first field tells them from any other userdata: a look
** at the metatable costs four times as much, and each call of the busiest path needs one. */
typedef struct WriterBox {
  const char *kind; /* &stream_writer_kind */
  Stream *stream;   /* NULL once it has been finalised */
} WriterBox;

typedef struct ReaderBox {
  const char *kind;  /* &stream_reader_kind */
  WriterBox *writer; /* which user value 1 keeps alive */
} ReaderBox;

extern const char stream_writer_kind, stream_reader_kind;

/* The box at idx, if it is one of that kind, else NULL. */
static inline void *stream_test(lua_State *L, int idx, const char *kind) {
  const WriterBox *box = lua_touserdata(L, idx);
  return box && lua_rawlen(L, idx) == sizeof *box && box->kind == kind ? (void *)box : NULL;
}

/* Has `tidy` run: C callbacks leave to it what needs Lua. */
static inline void stream_tidy_later(Stream *s) {
  if (!list_linked(&s->tidy.link)) asy_ready(s->handle.loop, &s->tidy);
}

void asy_open_stream(lua_State *L);
void asy_open_reader(lua_State *L);
void asy_open_writer(lua_State *L);

ASY_HIDDEN_END

#endif
