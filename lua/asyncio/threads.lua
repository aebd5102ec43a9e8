--- Functions on other threads: ThreadPoolExecutor, to_thread.
-- @module asyncio.threads
local check = require "asyncio.check"
local context = require "asyncio.context"
local core = require "asyncio.core"

local threads = {}

local EXECUTOR_TIMEOUT = 300 -- seconds that the default executor's jobs have at the end of a run

local Executor = core.executor_class.methods -- what submits is in C

local OPTIONS = check.options {
  "ThreadPoolExecutor", 1, form = "constructor",
  { "max_workers", "integer", 1, 1000000 }, { "initializer", "function" },
  { "thread_name_prefix", "string" },
}

local SHUTDOWN_OPTIONS = check.options {
  "shutdown", 1, { "wait", "boolean" }, { "cancel_futures", "boolean" },
}

--- Threads that call functions, each with a Lua state of its own.
-- Also `ThreadPoolExecutor{max_workers=, initializer=, thread_name_prefix=}`. Threads start when they are
-- needed. Their states have package.path, package.cpath, arg and what can be sent of package.preload as
-- they are now; each calls the initializer first. If that fails, every job fails with
-- BrokenExecutorError. What a job sets in its state stays, but for a hook, a stopped collector, `io.input`
-- and `io.output`.
-- @function ThreadPoolExecutor
-- @tparam[opt] integer max_workers the number of cores and 4 more, 32 at most
-- @treturn ThreadPoolExecutor
function threads.ThreadPoolExecutor(max_workers)
  local opts = OPTIONS(max_workers)
  return core.new_executor(opts.max_workers, opts.thread_name_prefix, opts.initializer)
end

--- Cancels the futures that aren't done, and drops the errors of those that failed: the first was raised.
local function cancel_all(futures)
  for _, future in ipairs(futures) do
    if not future:cancel() and future:_failed() then future:exception() end
  end
end

--- Calls a function with each value of a list, as many at a time as there are threads; waits for all.
-- The first error is raised; jobs that have not begun then never will.
-- @function ThreadPoolExecutor:map
-- @tparam function fn
-- @tparam table list `n`, if it is there, is its length
-- @treturn table the first result of each call, in order, and `n`
function Executor:map(fn, list)
  check.self(self, core.executor_class, "map")
  if type(fn) ~= "function" then
    check.fail_called(1, "map", "function", fn, "map(f, list)", "map(f(x), list)")
  end
  check.table(list, 2, "map", "list")
  local futures <close> = setmetatable({}, { __close = cancel_all })
  local results = { n = list.n or #list }
  if results.n == 0 then core.spend() end
  for i = 1, results.n do futures[i] = self:submit(fn, list[i]) end
  for i = 1, results.n do results[i] = (core.await(futures[i])) end
  return results
end

--- Takes no job any more; threads end when they have done what is waiting.
-- Jobs under way whose future was cancelled are not waited for. In a task waiting suspends, elsewhere it
-- blocks.
-- @function ThreadPoolExecutor:shutdown
-- @tparam[opt] table opts `wait` (true): until the threads have ended; `cancel_futures` (false): cancel
-- what has not begun
function Executor:shutdown(opts)
  check.self(self, core.executor_class, "shutdown")
  opts = SHUTDOWN_OPTIONS(opts)
  self:_shutdown(opts.cancel_futures or false)
  if opts.wait == false then return end
  if core.current_task() then
    core.await(self:_watch(core.get_running_loop()))
  else
    self:_wait()
  end
end

--- Leaving a block waits for the jobs; not where nothing can wait: in a state that is being closed, or a
-- coroutine.
function core.executor_class.__close(self)
  local beneath = core.in_run() and not core.can_wait()
  if beneath or not core.has_caller() then return self:_shutdown(true) end
  return self:shutdown()
end

--- Calls a function in a worker of the loop's default executor, and waits for it.
-- ContextVars have the values there that they have here, if those can cross; package.path, package.cpath,
-- package.preload and arg are as they are here now.
-- @function to_thread
-- @tparam function fn
-- @param ... its arguments
-- @return its results
-- @usage
-- local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
-- print(asyncio.to_thread(fib, 20)) --> 6765
function threads.to_thread(fn, ...)
  if type(fn) ~= "function" then
    check.fail_called(1, "to_thread", "function", fn, "to_thread(f, x)", "to_thread(f(x))")
  end
  return core.await(core.get_running_loop():run_in_executor(nil, context.bound(fn), ...))
end

-- For the end of a run: no job any more, and so many seconds for those that there are.
function threads.shutdown_default(loop, timeout)
  local executor = loop:_get "executor"
  if not executor then return end
  executor:_shutdown(false)
  local ended = executor:_watch(loop)
  local handle = loop:_call_later(timeout or EXECUTOR_TIMEOUT, ended.cancel, ended)
  local ok, err = pcall(loop.run_until_complete, loop, ended)
  handle:cancel()
  if not ok and core.isinstance(err, core.KeyboardInterrupt) then error(err, 0) end
end

return threads
