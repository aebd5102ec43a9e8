--- Several tasks at once: `gather`, `wait`, `as_completed`, `shield`.
-- @module asyncio.tasks
local check = require "asyncio.check"
local core = require "asyncio.core"

local await, create_task, isfuture = core.await, core.create_task, core.isfuture
local get_running_loop, start_each, start_list = core.get_running_loop, core.start_each, core.start_list
local core_gather, core_wait, core_completed = core.gather, core.wait, core.completed

local tasks = {
  FIRST_COMPLETED = "FIRST_COMPLETED",
  FIRST_EXCEPTION = "FIRST_EXCEPTION",
  ALL_COMPLETED = "ALL_COMPLETED",
}

local function awaitable(x)
  if isfuture(x) or type(x) == "function" or type(x) == "thread" then return true end
  local meta = getmetatable(x)
  return type(meta) == "table" and (meta.__await or meta.__call) ~= nil
end

--- A task or future as it is; anything else that can be run, as a new task.
local function ensure_future(x)
  if isfuture(x) then return x end
  local meta = getmetatable(x)
  if type(meta) == "table" and meta.__await then return create_task(await, x) end
  return create_task(x)
end

--- Refuses what cannot be waited for, with `all` also what would have to wait for this task itself.
local function check_future(x, all)
  if not isfuture(x) or x:done() then return end
  if x:get_loop() ~= get_running_loop() then
    check.raise "a task or future of another event loop cannot be waited for"
  end
  if x == core.current_task() then check.raise "a task cannot wait for itself" end
  if all and core.closes_ring(x) then check.raise "cannot await a task that waits for this one" end
end

local HINT = "%s(function() return f(x) end)" -- how to pass what has arguments

local GATHER_OPTIONS = check.options {
  "gather", 1, form = "list", { "return_exceptions", "boolean" }, { "n", "integer", 0 },
}
local WAIT_LIST = check.options { "wait", 1, form = "list", { "n", "integer", 0 } }
local AS_COMPLETED_LIST = check.options { "as_completed", 1, form = "list", { "n", "integer", 0 } }
local WAIT_OPTIONS = check.options {
  "wait", 2, { "timeout", "timeout" },
  { "return_when", "choice", "FIRST_COMPLETED|FIRST_EXCEPTION|ALL_COMPLETED" },
}
local AS_COMPLETED_OPTIONS = check.options { "as_completed", 2, { "timeout", "timeout" } }

local OPTIONS_APART = "option '%s' in the list: write %s({t}, {%s})"

--- gather(a, b, {return_exceptions=true}), or gather({a, b}, {...}), as Python has it.
local function check_options_within(name, list, n)
  local last = list[n]
  if type(last) == "table" and not awaitable(last) and rawget(last, "return_exceptions") ~= nil then
    check.error(n, name, "options stand in the list: write gather{a, b, return_exceptions=true}")
  end
end

-- The same for a list; nothing is started when one of them is wrong. all: all of them must end.
function tasks.ensure_futures(list, n, name, from, all)
  local plain = core.start_all(list, n, all)
  if plain then return plain end
  local function fail(i, expected)
    if not from then
      check.fail_called(1, name, expected .. " at " .. i, list[i], "function() return f(x) end", "f(x)")
    end
    check_options_within(name, list, n)
    check.fail_called(i, name, expected, list[i], HINT:format(name), name .. "(f(x))")
  end
  for i = 1, n do
    if not awaitable(list[i]) then fail(i, check.EXPECTED) end
    check_future(list[i], all)
  end
  local futures, of_coroutine = {}, {}
  for i = 1, n do
    local ok, future = true, of_coroutine[list[i]]
    if not future then ok, future = pcall(ensure_future, list[i]) end
    if not ok then -- it has not begun: what was made for those before it never runs
      for j = 1, i - 1 do
        if not isfuture(list[j]) then futures[j]:cancel() end
      end
      fail(i, "coroutine that has not started")
    end
    if type(list[i]) == "thread" then of_coroutine[list[i]] = future end
    futures[i] = future
  end
  return futures
end

local ensure_futures = tasks.ensure_futures

local function plain_table(x) return type(x) == "table" and getmetatable(x) == nil end

--- Runs several at once and waits for all.
-- `gather(a, b, …)` returns one value each, in order. `gather{a, b, …, return_exceptions=true}`
-- returns a list with `n`, where an error stands in place of a result. The first error is raised at
-- once, and the others go on. Cancelling the caller cancels all that haven't ended. One that waits for the
-- caller itself is refused.
-- @param ... tasks, futures, coroutines, or functions, which are started as tasks
-- @return the results
-- @usage
-- local function double(x)
--   asyncio.sleep(1)
--   return 2 * x
-- end
-- print(asyncio.gather(function() return double(1) end, function() return double(2) end)) --> 2  4
--
-- local list = asyncio.gather { double, function() return "fine" end, return_exceptions = true }
-- print(type(list[1]), list[2]) --> string  fine
function tasks.gather(...)
  local futures = start_each(...)
  if futures then return core_gather(futures) end
  local n = select("#", ...)
  if n ~= 1 or not plain_table((...)) then
    return core_gather(ensure_futures({ ... }, n, "gather", true, true))
  end
  local list = ...
  futures = start_list(list, true)
  if futures then return core_gather(futures, false, true) end
  local opts = GATHER_OPTIONS(list)
  futures = ensure_futures(list, opts.n or #list, "gather", false, true)
  return core_gather(futures, opts.return_exceptions, true)
end

--- A list has no named options: they come after it.
local function check_list(list, name, options)
  check.table(list, 1, name, "list")
  if not plain_table(list) then return end
  if list.timeout ~= nil then check.error(1, name, OPTIONS_APART:format("timeout", name, "timeout=1")) end
  if list.return_when ~= nil and name == "wait" then
    check.error(1, name, OPTIONS_APART:format("return_when", name, "return_when=\"FIRST_COMPLETED\""))
  end
  options(list)
end

--- Waits until some or all are done; cancels nothing, and raises none of their errors.
-- @tparam table list tasks, futures; functions and coroutines are started as tasks
-- @tparam[opt] table opts `timeout` in seconds; `return_when`: `asyncio.FIRST_COMPLETED`,
-- `FIRST_EXCEPTION` or `ALL_COMPLETED` (the default)
-- @treturn table those that are done, in the order of the list
-- @treturn table the others
-- @usage
-- local function sleeper(seconds) return asyncio.create_task(asyncio.sleep, seconds, seconds) end
-- local done, pending = asyncio.wait({ sleeper(5), sleeper(1) }, { return_when = asyncio.FIRST_COMPLETED })
-- print(#done, #pending, done[1]:result()) --> 1  1  1
-- pending[1]:cancel()
-- asyncio.wait(pending)
function tasks.wait(list, opts)
  local started = opts == nil and start_list(list, true)
  if started then return core_wait(started) end
  check_list(list, "wait", WAIT_LIST)
  opts = WAIT_OPTIONS(opts)
  local when, timeout = opts.return_when or tasks.ALL_COMPLETED, opts.timeout
  local all = when == tasks.ALL_COMPLETED and not timeout
  local futures = ensure_futures(list, #list, "wait", false, all)
  if #futures == 0 then check.error(1, "wait", "the list is empty") end
  return core_wait(futures, when, timeout)
end

--- Iterates over several in the order in which they end: `for task in asyncio.as_completed(list) do`.
-- Raises TimeoutError when the time is up before all are done.
-- @tparam table list tasks, futures; functions and coroutines are started as tasks
-- @tparam[opt] table opts `timeout` in seconds, for all together
-- @treturn function gives the finished tasks themselves
-- @usage
-- local tasks, order = {}, {}
-- for i = 1, 3 do tasks[i] = asyncio.create_task(asyncio.sleep, 4 - i, i) end
-- for task in asyncio.as_completed(tasks) do order[#order + 1] = task:result() end
-- print(table.concat(order, " ")) --> 3 2 1
function tasks.as_completed(list, opts)
  local started = opts == nil and start_list(list)
  if started then return core_completed(started) end
  check_list(list, "as_completed", AS_COMPLETED_LIST)
  opts = AS_COMPLETED_OPTIONS(opts)
  return core_completed(ensure_futures(list, #list, "as_completed"), opts.timeout)
end

--- Protects something from the cancellation of who waits for it.
-- Cancelling the future that is returned leaves `aw` running.
-- @param aw a Task, a Future, a coroutine or a function, which are started as tasks
-- @treturn Future
-- @usage
-- local saving = asyncio.create_task(asyncio.sleep, 2, "saved")
-- local ok = pcall(asyncio.wait_for, asyncio.shield(saving), 1) -- gives up waiting; the saving goes on
-- print(ok, asyncio.await(saving)) --> false  saved
function tasks.shield(aw)
  if not awaitable(aw) then
    check.fail_called(1, "shield", check.EXPECTED, aw, HINT:format "shield", "shield(f(x))")
  end
  return core.shield(ensure_future(aw))
end

return tasks
