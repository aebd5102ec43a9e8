--- Several tasks at once: `gather`, `wait`, `as_completed`, `shield`.
-- @module asyncio.tasks
local check = require "asyncio.check"
local core = require "asyncio.core"

local await, create_task, isfuture = core.await, core.create_task, core.isfuture
local get_running_loop, set_parts = core.get_running_loop, core.set_parts

local tasks = {
  FIRST_COMPLETED = "FIRST_COMPLETED",
  FIRST_EXCEPTION = "FIRST_EXCEPTION",
  ALL_COMPLETED = "ALL_COMPLETED",
}

local function awaitable(x)
  local meta = getmetatable(x)
  return isfuture(x) or type(x) == "function" or type(x) == "thread"
    or type(meta) == "table" and (meta.__await or meta.__call) ~= nil
end

--- A task or future as it is; anything else that can be run, as a new task.
local function ensure_future(x)
  if isfuture(x) then return x end
  local meta = getmetatable(x)
  if type(meta) == "table" and meta.__await then return create_task(await, x) end
  return create_task(x)
end

local function check_future(x)
  if not isfuture(x) or x:done() then return end
  if x:get_loop() ~= get_running_loop() then
    error(core.Error "a task or future of another event loop cannot be waited for", 4)
  end
  if x == core.current_task() then error(core.Error "a task cannot wait for itself", 4) end
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

--- The same for a list; nothing is started when one of them is wrong.
local function ensure_futures(list, n, name, from)
  local function fail(i, expected)
    if not from then check.fail(1, name, expected .. " at " .. i, list[i]) end
    check.fail_called(i, name, expected, list[i], HINT:format(name), name .. "(f(x))")
  end
  for i = 1, n do
    if not awaitable(list[i]) then fail(i, check.EXPECTED) end
    check_future(list[i])
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

local function plain_table(x) return type(x) == "table" and getmetatable(x) == nil end

--- Each of them once.
local function distinct(futures)
  local known, list = {}, {}
  for _, future in ipairs(futures) do
    if not known[future] then
      known[future] = true
      list[#list + 1] = future
    end
  end
  return list
end

--- Makes a cancellation of `outer` come too late when `complete` says that what it stands for has happened,
-- and only its callbacks have not run yet: then `settle` ends it.
local function settle_first(outer, complete, settle)
  outer:_on_cancel(function(msg)
    if complete() then
      settle()
      return false
    end
    outer:_on_cancel(nil)
    return outer:cancel(msg)
  end)
end

local function error_of(future)
  if future:cancelled() then return select(2, pcall(future.result, future)), true end
  return future:exception()
end

local function outcome(future)
  if future:cancelled() then return (error_of(future)) end
  local err, failed = future:exception()
  if failed then return err end
  return (future:result())
end

--- Waits for all; raises the first error unless `return_exceptions`.
local function await_all(futures, return_exceptions)
  local outer = get_running_loop():create_future()
  local each, asked = distinct(futures), false
  local left = #each
  local function callback(future)
    local err, failed = error_of(future) -- that is a look at it, also when nobody waits any more
    left = left - 1
    if outer:done() then return end
    if failed and not return_exceptions and not asked then
      outer:set_exception(err)
    elseif left == 0 and asked then
      outer:_on_cancel(nil)
      outer:cancel()
    elseif left == 0 then
      outer:set_result()
    end
  end
  for _, future in ipairs(each) do future:_on_done(callback) end
  outer:_on_cancel(function(msg)
    for _, future in ipairs(each) do asked = future:cancel(msg) or asked end
    return true -- when all have ended already, their callbacks are to come: the results win
  end)
  if left > 0 then await(set_parts(outer, futures)) end
end

--- Runs several at once and waits for all.
-- `gather(a, b, …)` returns one value each, in order. `gather{a, b, …, return_exceptions=true}`
-- returns a list with `n`, where an error stands in place of a result. The first error is raised at
-- once, and the others go on. Cancelling the caller cancels all that haven't ended.
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
  local list, n, as_list, return_exceptions = { ... }, select("#", ...), false, false
  if n == 1 and plain_table((...)) then
    local opts = GATHER_OPTIONS(...)
    list, as_list, return_exceptions = ..., true, opts.return_exceptions
    n = opts.n or #list
  end
  local futures = ensure_futures(list, n, "gather", not as_list)
  await_all(futures, return_exceptions)
  local results = { n = n }
  for i = 1, n do
    if return_exceptions then
      results[i] = outcome(futures[i])
    else
      results[i] = (futures[i]:result())
    end
  end
  if as_list then return results end
  return table.unpack(results, 1, n)
end

--- Waits until enough of them are done, or the time is up.
local function wait_for_enough(futures, when, timeout)
  local function decisive(future)
    return when == tasks.FIRST_COMPLETED or when == tasks.FIRST_EXCEPTION and future:_failed()
  end
  local function enough()
    local all = true
    for _, future in ipairs(futures) do
      local done = future:done()
      if done and decisive(future) then return true end
      all = all and done
    end
    return all
  end
  if enough() then return end
  local loop = get_running_loop()
  local outer, handle, left = loop:create_future(), nil, 0
  local function settle()
    if not outer:done() then outer:set_result() end
  end
  local function ended(future)
    left = left - 1
    if left == 0 or decisive(future) then settle() end
  end
  local each = distinct(futures)
  for _, future in ipairs(each) do
    if not future:done() then
      left = left + 1
      future:_on_done(ended)
    end
  end
  settle_first(outer, enough, settle)
  if timeout then handle = loop:_call_later(timeout, settle) end
  local ok, err = pcall(await, set_parts(outer, futures))
  if handle then handle:cancel() end
  for _, future in ipairs(each) do future:remove_done_callback(ended) end
  if not ok then error(err, 0) end
end

--- A list has no named options: they come after it.
local function check_list(list, name, options)
  check.table(list, 1, name, "list")
  if plain_table(list) then options(list) end
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
  check_list(list, "wait", WAIT_LIST)
  opts = WAIT_OPTIONS(opts)
  local when, timeout = opts.return_when or tasks.ALL_COMPLETED, opts.timeout
  local futures = ensure_futures(list, #list, "wait")
  if #futures == 0 then check.error(1, "wait", "the list is empty") end
  wait_for_enough(futures, when, timeout)
  local done, pending = {}, {}
  for _, future in ipairs(futures) do
    local to = future:done() and done or pending
    to[#to + 1] = future
  end
  return done, pending
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
  check_list(list, "as_completed", AS_COMPLETED_LIST)
  opts = AS_COMPLETED_OPTIONS(opts)
  local loop = get_running_loop()
  local futures = ensure_futures(list, #list, "as_completed")
  local finished, first, waiting = {}, 1, {}
  local timed_out, handle = false, nil
  local function wake()
    local woken = waiting
    waiting = {}
    for _, outer in ipairs(woken) do
      if not outer:done() then outer:set_result() end
    end
  end
  local each, ended, called = distinct(futures), 0, {}
  local left = #each
  local function on_end(future)
    ended = ended + 1
    finished[ended], called[future] = future, true
    wake()
  end
  for _, future in ipairs(each) do future:_on_done(on_end) end
  local function one_is_done()
    for _, future in ipairs(each) do
      if future:done() and not called[future] then return true end
    end
  end
  if opts.timeout then
    handle = loop:_call_later(opts.timeout, function()
      timed_out = true
      wake()
    end)
  end
  return function()
    while left > 0 and finished[first] == nil do
      if timed_out then
        error(core.TimeoutError(("%d of %d did not end within %g s"):format(left, #each, opts.timeout)), 0)
      end
      local outer = loop:create_future()
      waiting[#waiting + 1] = outer
      settle_first(outer, one_is_done, function() outer:set_result() end)
      await(set_parts(outer, futures))
    end
    if left == 0 then return nil end
    local future = finished[first]
    finished[first] = nil
    first, left = first + 1, left - 1
    if left == 0 then
      if handle then handle:cancel() end
      wake() -- those who share the iterator have nothing to wait for any more
    end
    return future
  end, nil, nil, setmetatable({}, {
    __close = function() -- the loop was left early, perhaps
      if left == 0 then return end
      for _, future in ipairs(each) do future:remove_done_callback(on_end) end
      if handle then handle:cancel() end
    end,
  })
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
  local inner = ensure_future(aw)
  if inner:done() then return inner end
  local outer = set_parts(inner:get_loop():create_future(), { inner })
  local function settle()
    if outer:done() then return end
    outer:_on_cancel(nil)
    if inner:cancelled() then
      outer:cancel()
    elseif inner:_failed() then
      outer:set_exception((inner:exception()))
    else
      outer:set_result(inner:result())
    end
  end
  inner:_on_done(settle)
  settle_first(outer, function() return inner:done() end, settle)
  return outer
end

return tasks
