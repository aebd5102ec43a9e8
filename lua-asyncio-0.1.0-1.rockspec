rockspec_format = "3.0"
package = "lua-asyncio"
version = "0.1.0-1"
source = { url = "file://lua-asyncio-0.1.0.tar.gz" }
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
    ["asyncio"] = "lua/asyncio/init.lua",
    ["asyncio.check"] = "lua/asyncio/check.lua",
    ["asyncio.completion"] = "lua/asyncio/completion.lua",
    ["asyncio.console"] = "lua/asyncio/console.lua",
    ["asyncio.context"] = "lua/asyncio/context.lua",
    ["asyncio.coroutine"] = "lua/asyncio/coroutine.lua",
    ["asyncio.errors"] = "lua/asyncio/errors.lua",
    ["asyncio.graph"] = "lua/asyncio/graph.lua",
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
        "src/address.c", "src/asyncio.c", "src/await.c", "src/barrier.c", "src/buffer.c",
        "src/callback.c", "src/channel.c", "src/codec.c", "src/condition.c", "src/connect.c",
        "src/context.c", "src/coro.c", "src/debug.c", "src/editor.c", "src/error.c", "src/event.c",
        "src/executor.c", "src/future.c", "src/handle.c", "src/impasse.c", "src/inbox.c",
        "src/lock.c", "src/loop.c", "src/names.c", "src/options.c", "src/parcel.c", "src/poll.c",
        "src/pollset.c", "src/pool.c", "src/queue.c", "src/reader.c", "src/remote.c",
        "src/report.c", "src/resolve.c", "src/search.c", "src/semaphore.c", "src/server.c",
        "src/signal.c", "src/standard.c", "src/stream.c", "src/task.c", "src/taskclass.c",
        "src/testing.c", "src/timer.c", "src/waitq.c", "src/worker.c", "src/writer.c",
      },
      libraries = { "uv" },
      incdirs = { "$(LIBUV_INCDIR)" },
      libdirs = { "$(LIBUV_LIBDIR)" },
    },
  },
  platforms = {
    linux = { modules = { ["asyncio.core"] = { libraries = { "uv", "pthread", "dl" } } } },
  },
}
build.copy_directories = { "types", "doc", "examples" }
test = { type = "command", script = "spec/run.lua" }
