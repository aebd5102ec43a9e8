/*
** filter.c - an engine as what stands between a stream and its handle: net/filter.h's contract.
*/
#include "tls/filter.h"

#include "base/alloc.h"
#include "tls/ask.h"
#include "tls/engine.h"
#include "tls/info.h"

typedef struct TlsFilter {
  Filter filter; /* the first field */
  Engine engine;
} TlsFilter;

static Engine *engine_of(const Filter *f) { return &asy_container(f, TlsFilter, filter)->engine; }

/* Steps */

static EngineIo to_engine(const FilterIo *io) {
  return (EngineIo){.bytes = io->bytes, .n = io->n, .ended = io->ended, .put = io->put, .to = io->to};
}

static FilterStep from_engine(FilterIo *io, const EngineIo *done, EngineStep step) {
  static const FilterStep STEPS[] = {[ENGINE_DONE] = FILTER_DONE, [ENGINE_WANT_READ] = FILTER_MORE,
                                     [ENGINE_WANT_SNI] = FILTER_ASK, [ENGINE_END] = FILTER_END,
                                     [ENGINE_FAILED] = FILTER_FAILED};
  io->bytes = done->bytes;
  io->n = done->n;
  return STEPS[step];
}

static FilterStep shake(Filter *f, FilterIo *io) {
  EngineIo mine = to_engine(io);
  return from_engine(io, &mine, engine_shake(engine_of(f), &mine));
}

static FilterStep pull(Filter *f, FilterIo *io, char *to, size_t room, size_t *got) {
  EngineIo mine = to_engine(io);
  return from_engine(io, &mine, engine_read(engine_of(f), &mine, to, room, got));
}

static FilterStep push(Filter *f, FilterIo *io, const char *bytes, size_t n) {
  EngineIo mine = to_engine(io);
  return from_engine(io, &mine, engine_write(engine_of(f), &mine, bytes, n));
}

static FilterStep finish(Filter *f, FilterIo *io) {
  EngineIo mine = to_engine(io);
  return from_engine(io, &mine, engine_finish(engine_of(f), &mine));
}

/* What is known of it */

static size_t held(const Filter *f) {
  const Engine *e = engine_of(f);
  return e->failed ? 0 : (size_t)SSL_pending(e->ssl);
}

static bool can_half(const Filter *f) {
  const Engine *e = engine_of(f);
  return e->ssl ? facts_look(e->ssl).can_half : e->past.can_half;
}

static void failure(const Filter *f, FilterFailure *to) {
  static const FilterFault FAULTS[] = {[FAILURE_NO_MEMORY] = FILTER_NO_MEMORY,
                                       [FAILURE_ERROR] = FILTER_ERROR,
                                       [FAILURE_UNVERIFIED] = FILTER_UNVERIFIED,
                                       [FAILURE_TRUNCATED] = FILTER_TRUNCATED};
  const Failure *why = engine_of(f)->failure;
  *to = (FilterFailure){.fault = FILTER_NO_MEMORY, .text = "not enough memory"};
  if (!why) return;
  *to = (FilterFailure){.fault = FAULTS[why->kind], .library = why->library, .reason = why->reason,
                        .verify_code = why->verify_code, .verify_message = why->verify_message, .text = why->text};
}

static int ask(lua_State *L, Filter *f, int handler) { return asy_tls_ask(L, engine_of(f), handler); }

static int info(lua_State *L, Filter *f, const char *name) { return asy_tls_info(L, engine_of(f), name); }

static void retire(Filter *f) { engine_retire(engine_of(f)); }

static void free_filter(Filter *f) {
  TlsFilter *tls = asy_container(f, TlsFilter, filter);
  engine_free(&tls->engine);
  mem_free(tls);
}

static const FilterOps OPS = {.abi = FILTER_ABI, .name = "TLS", .shake = shake, .pull = pull, .push = push,
                              .finish = finish, .held = held, .can_half = can_half, .failure = failure,
                              .ask = ask, .info = info, .retire = retire, .free = free_filter};

Filter *filter_make(FilterSource *source, const FilterOrder *order) {
  Context *context = asy_container(source, Context, source);
  TlsFilter *tls = mem_alloc(sizeof *tls);
  if (!tls) return NULL;
  tls->filter.ops = &OPS;
  if (engine_init(&tls->engine, context, order->server, order->name, order->key)) return &tls->filter;
  free_filter(&tls->filter);
  return NULL;
}
