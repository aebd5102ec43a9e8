--- Deadlines: `wait_for`, `move_on_after`; the scopes that they stand on are C's (core/timeout.c).
-- @module asyncio.timeouts
local check = require "asyncio.check"
local core = require "asyncio.core"

local await, isfuture, limit, spend = core.await, core.isfuture, core.limit, core.spend
local move_on, within = core.move_on, core.within
local check_seconds, type = check.seconds, type

local timeouts = { timeout = core.timeout, timeout_at = core.timeout_at }

local function call(fn) return fn() end

--- How the current task waits for what is no function; nil when it can't.
local function runner_of(aw)
  if isfuture(aw) or type(aw) == "thread" then return await end
  local meta = getmetatable(aw)
  if type(meta) ~= "table" then return nil end
  return meta.__await and await or meta.__call and call or nil
end

--- Waits for something for so long, then cancels it and raises TimeoutError.
-- When it is done in the same turn in which the time is up, its result wins.
-- @param aw a Task, a Future, a coroutine; or a function, which runs in the caller's own task
-- @tparam ?number timeout seconds; nil: no limit
-- @return its results
-- @usage
-- local queue = asyncio.Queue()
-- local ok, err = pcall(asyncio.wait_for, function() return queue:get() end, 0.5)
-- print(ok, (tostring(err):gsub(" at .*", ""))) --> false  TimeoutError: the time is up after 0.5 s (wait_for
function timeouts.wait_for(aw, timeout)
  local run = type(aw) == "function" and call or runner_of(aw)
  if not run then
    check.fail_called(1, "wait_for", check.EXPECTED, aw, "wait_for(function() return f(x) end, seconds)",
      "wait_for(f(x), seconds)")
  end
  check_seconds(timeout, 2, "wait_for")
  if run == call then spend() end
  local _ <close> = limit(timeout)
  return run(aw)
end

local function settle(late, in_time, ...)
  if in_time then return ... end
  local timeout, err = ..., late()
  core.replace_error(timeout, err)
  error(err, 0)
end

--- Runs a function for so long at most; when its time is up, the error that `late()` makes is raised.
function timeouts._within(seconds, late, fn, ...)
  if not core.current_task() then return fn(...) end -- it cannot wait, and says so
  return settle(late, within(seconds, fn, ...))
end

--- Runs a function for so long at most.
-- @tparam number delay seconds
-- @tparam function fn runs in the current task
-- @param ... its arguments
-- @return true and its results, or false when the time ran out
-- @usage
-- local in_time, answer = asyncio.move_on_after(1, function()
--   asyncio.sleep(0.5)
--   return 42
-- end)
-- print(in_time, answer) --> true  42
-- print(asyncio.move_on_after(1, asyncio.sleep, 3600)) --> false
function timeouts.move_on_after(delay, fn, ...) return move_on(delay, fn, ...) end

return timeouts
