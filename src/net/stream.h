/*
** stream.h - one connection: what StreamReader and StreamWriter share. What is done with it stands in
** input.h, output.h and life.h; its addresses are peer.h's.
**
** The block is malloc'ed and boxed by the writer's userdata; the reader holds the writer. libuv's
** callbacks fill `in` and count; whatever needs Lua they leave to `life.tidy`, which the loop runs.
*/
#ifndef ASY_STREAM_H
#define ASY_STREAM_H

#include "base/buffer.h"
#include "core/handle.h"
#include "core/waitq.h"
#include "net/address.h"

#include <sys/types.h>

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
typedef struct Stream Stream;
struct Limits;
struct Filtered;

/* What a stream stands on that has no socket of its own, but a descriptor that others may share (os/fdstream.h). C
** only. It is part of a block, which is freed with the stream. */
typedef struct Backing {
  const char *name;                                  /* what errors call it */
  int fd;                                            /* that descriptor; -1: it isn't ours (any more) */
  bool standard;                                     /* the process's: who takes its output has as long as he likes */
  bool (*is_unwritten)(const struct Backing *b);     /* whether what was sent is on its way still */
  size_t (*written)(const struct Backing *b);        /* how far that is: another number whenever some has gone */
  int (*error)(const struct Backing *b, bool input); /* the libuv status that was met there, or 0 */
  void (*ending)(struct Backing *b);                 /* the end of the output is about to be sent */
  bool (*can_give)(const struct Backing *b);         /* whether `give` can be called */
  int (*give)(struct Backing *b);                    /* the descriptor, which is the caller's then */
  void (*gone)(struct Backing *b);                   /* the handle is closed; may be told twice */
} Backing;

/* What carries a stream's bytes where that isn't libuv: then the stream has no uv_handle_t. C only; what each does with
** other streams it leaves to their `tidy` and their turn's end. */
typedef struct Carrier {
  const char *name;                 /* what errors call it */
  void (*wanted)(Stream *s); /* the stream reads (again), or somebody waits for more */
  /* Takes what it can; how many bytes, none: it will call output_schedule when it can take more; or a libuv status. */
  int (*send)(Stream *s, const uv_buf_t *bufs, unsigned n);
  void (*shut)(Stream *s);   /* there is no more to send; it may read on */
  void (*closed)(Stream *s); /* there is no more of either */
  bool (*ending)(const Stream *s); /* whether its peer has ended, though not all of its bytes have come. Or NULL */
} Carrier;

/* How its end has come about, on our side; what libuv knows (made, open, closing, closed) says `handle`.
** life.c alone moves it on, and never back. */
typedef enum Life {
  LIFE_OPEN,     /* nobody has closed it */
  LIFE_BROKEN,   /* output is lost for lack of memory, its user doesn't know yet: `tidy` closes the handle */
  LIFE_CLOSING,  /* its user has closed it (or the loop closes): what is written is sent, no more is taken */
  LIFE_DRAINING, /* ... all is sent, and the sending half shut: until the peer's kernel has it too, what ... */
                 /* ... comes is thrown away */
  LIFE_ABORTED   /* what isn't sent is dropped: its user wants it so, nothing moved, or it was broken */
} Life;

struct Stream {
  Handle handle;
  struct { /* the reader's half */
    Buffer buffer;    /* what has come and nobody has taken */
    size_t searched;  /* so many bytes of it hold no separator */
    size_t want;      /* the reader isn't woken before so many bytes lie there ... */
    int want_byte;    /* ... or this byte has come; -1: none in particular */
    int error;        /* the libuv status that ended it, or 0 */
    size_t limit;     /* of a line; above twice so much unread nothing is read */
    size_t read_size; /* what the next read offers to the kernel */
    Task *reader;     /* who waits for data, or for the connection; until it has run again */
    bool reading;     /* libuv reads */
    bool begun;       /* something has come */
    bool eof;         /* no more comes: the peer has ended, or this side was closed */
    bool peer_ended;  /* ... it was the peer */
    bool left;        /* its loop has closed before the end came, and `error` is set: that there is more nobody knows */
    bool taken;       /* ... or not its loop but somebody else than its user has closed it */
    bool cut;         /* ... or it was made to end, and the peer goes on */
    int file;         /* a regular file, which never makes one wait, is read there; -1: the handle */
    off_t file_at;    /* its offset after the last read */
    bool on_demand;   /* read only while somebody waits: what lies in a terminal is whoever's that asks next */
    bool raises;      /* `error` is a Lua value that was fed (feed.h) */
    bool direct;      /* the reader is content with any byte: it takes them from the kernel itself, and ... */
                      /* ... hands them on while the cache has them; libuv only says that some are there */
    ListNode enders;  /* Waiters: for its end, whether it is read or not (eof.h) */
    int end_fd;       /* the descriptor whose end the kernel is to tell of; -1: none */
  } in;
  struct {                 /* the writer's half */
    Out waiting;           /* what is written and neither with the kernel nor with libuv */
    Flight *flight;        /* what libuv has; or NULL */
    Ready send;            /* in turn_end: sends what this turn wrote */
    uv_shutdown_t *ending; /* what write_eof will send; NULL before it, and once libuv has it */
    Waitq drainers;        /* who waits in drain */
    size_t high, low;      /* water marks of drain */
    int error;             /* the libuv status of a write that failed, or 0 */
    int file;              /* output that never blocks (a regular file) goes there; -1: to the handle */
    bool lost;             /* some of what was written will never be sent, and the peer is to see it: a reset */
    bool eof_wanted;       /* write_eof was called: no more is taken */
    bool one_way;          /* no socket: has one half only, or none that can be closed by itself */
    bool endless;          /* ... and write_eof has nothing to close */
    bool none;             /* what it stands on can only be read */
    bool held;             /* what goes before it, by another stream, hasn't left yet */
    bool told;             /* somebody knows of `error` */
  } out;
  struct { /* its end */
    Life state;
    Ready tidy;         /* on the ready list: what a callback left to do */
    Timer timer;        /* closing: aborts when nothing moves any more; draining: looks how far it is */
    uint64_t linger_ns; /* closing: how long nothing may move */
    uint64_t moved_at;  /* draining: when something moved last */
    size_t left;        /* what was still to go when `timer` was set: moving is that it gets less */
    Waitq closers;      /* who waits for the end */
    void (*on_gone)(Stream *s); /* told that the handle is closed: who opened it; C only. Or NULL */
    char *site;         /* debug mode: where it was opened; or NULL */
    bool part;          /* it is part of something that is reported itself, a Process; nobody has to close it */
  } life;
  struct { /* what it is of a server */
    struct Server *server; /* NULL: it came from none, or has left it */
    ListNode link;         /* in the server's clients */
    Task *handler;         /* while it runs; the loop holds the writer in `slot` so long, for a handler ... */
    uint32_t slot;         /* ... that has no use for it is connected all the same */
    uint32_t since;        /* when it was accepted, or its handshake had ended, in ms on the loop's clock */
    bool aborted;          /* it has been counted among those that were ended by force */
    bool closed;           /* the server has closed it, before its handler did */
    bool talks;            /* requests and answers take turns (talk.h) ... */
    bool between;          /* ... and its handler waits, or has waited, for the next request ... */
    bool last;             /* ... of which there is none: a shutdown has passed */
  } client;
  Backing *backing;  /* NULL: it is a socket, or carried */
  const Carrier *carrier; /* NULL: libuv carries its bytes */
  struct Limits *limits; /* read_timeout, write_timeout; NULL: none (limit.h) */
  struct Filtered *filtered; /* what makes other bytes of those that pass; NULL: nothing does (filtered.h) */
  IpAddress peer;    /* family 0: none */
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
    uv_tty_t tty;
    struct {
      uv_handle_t none; /* of no type: what asks libuv for a descriptor gets an error */
      Stream *other;    /* of a pair in memory: the other end; NULL: it has closed (pair.c) */
      bool left;        /* the loop closes it, and its user has not: that is no end of what the other reads */
    } carried;
  } uv; /* last: only its kind's part is allocated */
};

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

_Static_assert(sizeof(WriterBox) == sizeof(ReaderBox), "asy_stream_test knows one size only");

extern const char stream_writer_kind, stream_reader_kind;

/* The box at idx, if it is one of that kind, else NULL. */
static inline void *asy_stream_test(lua_State *L, int idx, const char *kind) {
  const WriterBox *box = lua_touserdata(L, idx);
  return box && lua_rawlen(L, idx) == sizeof *box && box->kind == kind ? (void *)box : NULL;
}

/* Milliseconds on a loop's clock, modulo 2^32. */
static inline uint32_t stream_clock(const Loop *loop) { return (uint32_t)(loop_now(loop) / (NS_PER_S / 1000)); }

/* Whether its user has closed it. */
static inline bool stream_closing(const Stream *s) { return s->life.state >= LIFE_CLOSING; }

/* Whether output is, or will be, dropped. */
static inline bool stream_aborted(const Stream *s) {
  return s->life.state == LIFE_BROKEN || s->life.state == LIFE_ABORTED;
}

/* Whether the server has closed it: what its handler does with it then is no failure of the program. */
static inline bool stream_ended_by_server(const Stream *s) { return s->client.closed || s->client.aborted; }

/* Has `tidy` run: C callbacks leave to it what needs Lua. */
static inline void stream_tidy_later(Stream *s) {
  if (!list_linked(&s->life.tidy.link)) loop_ready(s->handle.loop, &s->life.tidy);
}

ASY_HIDDEN_END

#endif
