/*
** asyncio.c - luaopen_asyncio_core, nothing else.
*/
#include "base/asy.h"

#include "net/address.h"
#include "core/await.h"
#include "core/callback.h"
#include "thread/codec.h"
#include "net/connect.h"
#include "core/context.h"
#include "core/coro.h"
#include "core/watch.h"
#include "dev/graph.h"
#include "core/error.h"
#include "core/future.h"
#include "sync/lock.h"
#include "core/loop.h"
#include "core/process.h"
#include "os/poll.h"
#include "core/report.h"
#include "net/resolve.h"
#include "net/server.h"
#include "os/signal.h"
#include "os/standard.h"
#include "net/stream.h"
#include "sync/sync.h"
#include "core/task.h"
#include "dev/testing.h"
#include "thread/thread.h"

static const char module_key = 0; /* registry: the module, so that it is opened once a state */

int luaopen_asyncio_core(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) return 1;
  asy_pin(&module_key);
  asy_keep_heap();
  lua_newtable(L);
  asy_open_error(L);
  asy_open_pcall(L);
  asy_open_codec(L);
  asy_open_loop(L);
  asy_runtime(L)->open = luaopen_asyncio_core;
  asy_open_report(L);
  asy_open_context(L);
  asy_open_callback(L);
  asy_open_future(L);
  asy_open_park(L);
  asy_open_task(L);
  asy_open_task_class(L);
  asy_open_coro(L);
  asy_open_await(L);
  asy_open_lock(L);
  asy_open_event(L);
  asy_open_condition(L);
  asy_open_semaphore(L);
  asy_open_barrier(L);
  asy_open_queue(L);
  asy_open_address(L);
  asy_open_resolve(L);
  asy_open_stream(L);
  asy_open_reader(L);
  asy_open_writer(L);
  asy_open_connect(L);
  asy_open_standard(L);
  asy_open_server(L);
  asy_open_poll(L);
  asy_open_signal(L);
  asy_open_testing(L);
  asy_open_executor(L);
  asy_open_inside(L);
  asy_open_channel(L);
  asy_open_remote(L);
  asy_open_watch(L);
  asy_open_graph(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
