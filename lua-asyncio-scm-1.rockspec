rockspec_format = "3.0"
package = "lua-asyncio"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "asyncio for Lua: event loop, tasks, futures, cancellation, TCP streams",
  detailed = [[
An event loop in C on libuv that gives Lua 5.4 what asyncio, uvloop and Trio give Python: tasks on
coroutines, futures, cancellation that loses nothing, structured concurrency, TCP streams.]],
  license = "MIT",
  labels = { "async", "coroutine", "networking", "libuv" },
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.4, < 5.6" }
external_dependencies = { LIBUV = { header = "uv.h", library = "uv" } }
build = {
  type = "builtin",
  install = { bin = { "bin/asyncio" } },
  modules = {
    ["asyncio.check"] = "lua/asyncio/check.lua",
    ["asyncio.completion"] = "lua/asyncio/completion.lua",
    ["asyncio.console"] = "lua/asyncio/console.lua",
    ["asyncio.context"] = "lua/asyncio/context.lua",
    ["asyncio.coroutine"] = "lua/asyncio/coroutine.lua",
    ["asyncio.errors"] = "lua/asyncio/errors.lua",
    ["asyncio.graph"] = "lua/asyncio/graph.lua",
    ["asyncio"] = "lua/asyncio/init.lua",
    ["asyncio.repl"] = "lua/asyncio/repl.lua",
    ["asyncio.runner"] = "lua/asyncio/runner.lua",
    ["asyncio.streams"] = "lua/asyncio/streams.lua",
    ["asyncio.taskgroup"] = "lua/asyncio/taskgroup.lua",
    ["asyncio.tasks"] = "lua/asyncio/tasks.lua",
    ["asyncio.terminal"] = "lua/asyncio/terminal.lua",
    ["asyncio.testing"] = "lua/asyncio/testing.lua",
    ["asyncio.threads"] = "lua/asyncio/threads.lua",
    ["asyncio.timeouts"] = "lua/asyncio/timeouts.lua",
    ["asyncio.core"] = {
      sources = {
        "src/asyncio.c",
        "src/base/buffer.c",
        "src/base/inbox.c",
        "src/base/timer.c",
        "src/core/await.c",
        "src/core/callback.c",
        "src/core/clock.c",
        "src/core/context.c",
        "src/core/coro.c",
        "src/core/error.c",
        "src/core/future.c",
        "src/core/handle.c",
        "src/core/hold.c",
        "src/core/hunt.c",
        "src/core/impasse.c",
        "src/core/interrupt.c",
        "src/core/lifetime.c",
        "src/core/loopclass.c",
        "src/core/options.c",
        "src/core/polling.c",
        "src/core/process.c",
        "src/core/report.c",
        "src/core/runtime.c",
        "src/core/task.c",
        "src/core/taskclass.c",
        "src/core/turn.c",
        "src/core/waitq.c",
        "src/core/watch.c",
        "src/dev/graph.c",
        "src/dev/testing.c",
        "src/net/address.c",
        "src/net/connect.c",
        "src/net/reader.c",
        "src/net/resolve.c",
        "src/net/search.c",
        "src/net/server.c",
        "src/net/stream.c",
        "src/net/writer.c",
        "src/os/poll.c",
        "src/os/pollset.c",
        "src/os/signal.c",
        "src/os/standard.c",
        "src/sync/barrier.c",
        "src/sync/condition.c",
        "src/sync/event.c",
        "src/sync/lock.c",
        "src/sync/queue.c",
        "src/sync/semaphore.c",
        "src/thread/channel.c",
        "src/thread/codec.c",
        "src/thread/executor.c",
        "src/thread/names.c",
        "src/thread/parcel.c",
        "src/thread/pool.c",
        "src/thread/remote.c",
        "src/thread/worker.c",
      },
      libraries = { "uv" },
      incdirs = { "src", "$(LIBUV_INCDIR)" },
      libdirs = { "$(LIBUV_LIBDIR)" },
    },
    ["asyncio.editor"] = {
      sources = {
        "src/editor/editor.c",
      },
      incdirs = { "src" },
    },
  },
  platforms = {
    linux = {
      modules = {
        ["asyncio.core"] = { libraries = { "uv", "pthread", "dl" } },
        ["asyncio.editor"] = { libraries = { "dl" } },
      },
    },
  },
}
build.copy_directories = { "types", "doc", "examples" }
test = { type = "command", script = "spec/run.lua" }
