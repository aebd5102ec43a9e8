/*
** asyncio.c - luaopen_asyncio_core, nothing else.
*/
#include "core/loop.h"
#include "core/process.h"
#include "open.h"

static const char module_key = 0; /* registry: the module, so that it is opened once a state */

typedef void Opener(lua_State *L); /* stack: module */

/* In this order: errors before all else, the loop before what it knows, a class before who adds to it. */
static Opener *const OPENERS[] = {
    asy_open_error, asy_open_argument, asy_open_options, asy_open_trace, asy_open_words, asy_open_kind,
    asy_open_codec, asy_open_loop, asy_open_hosted, asy_open_stats, asy_open_pcall, asy_open_report,
    asy_open_context, asy_open_callback, asy_open_future, asy_open_extras, asy_open_park, asy_open_task,
    asy_open_task_class, asy_open_shield, asy_open_shield_class, asy_open_timeout, asy_open_coro, asy_open_await,
    asy_open_ring,
    asy_open_several, asy_open_group, asy_open_stop, asy_open_completed, asy_open_answer, asy_open_hope,
    asy_open_lock, asy_open_event,
    asy_open_condition, asy_open_semaphore, asy_open_barrier, asy_open_queue, asy_open_pool, asy_open_address,
    asy_open_resolve, asy_open_stream, asy_open_peer, asy_open_socket, asy_open_reader, asy_open_writer,
    asy_open_talk, asy_open_messages, asy_open_copy, asy_open_detach, asy_open_connect, asy_open_feed, asy_open_pair,
    asy_open_shake, asy_open_endpoint, asy_open_endpoint_send,
    asy_open_standard, asy_open_openfd, asy_open_subprocess, asy_open_file, asy_open_fs, asy_open_fswatch,
    asy_open_handler, asy_open_shutdown, asy_open_server,
    asy_open_poll, asy_open_signal, asy_open_testing,
    asy_open_executor, asy_open_inside, asy_open_channel, asy_open_remote, asy_open_watch,
    asy_open_graph, asy_open_tracer, asy_open_monitor, asy_open_stuck, asy_open_face,
};

int luaopen_asyncio_core(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) return 1;
  process_pin(&module_key);
  process_keep_heap();
  lua_newtable(L);
  for (size_t i = 0; i < sizeof OPENERS / sizeof *OPENERS; i++) OPENERS[i](L);
  asy_runtime(L)->open = luaopen_asyncio_core;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
