--- Blocks that end in a particular way: `defer`, `shielded`.
-- @module asyncio.scopes
local check = require "asyncio.check"
local core = require "asyncio.core"

local isinstance = core.isinstance

local scopes = {}

-- Called at the end

local Deferred = {}
Deferred.__index, Deferred.__name = Deferred, "asyncio.Deferred"

--- Calls a function when the block is left, however that is: `local _ <close> = asyncio.defer(fn, …)`.
-- Several run in reverse order. It may wait, and what it returns is ignored. It is not told of an error that
-- leaves the block, so it can swallow none: that stays the error, and one of fn's own is reported; a
-- cancellation that comes while fn waits is delivered at the next suspension then. Where the block is left
-- normally, fn's error leaves it. Outside of a task it can be used, too: there fn cannot wait. (Where no loop
-- runs nobody hears of reports: there an error of fn takes the place of the former, as for any `<close>`.)
-- One without `<close>` is reported when its task ends, and fn called then, where nothing can wait.
-- @tparam function fn
-- @param ... its arguments
-- @return what is to be closed
-- @usage
-- local log = {}
-- local function job()
--   local _ <close> = asyncio.defer(table.insert, log, "last")
--   local _ <close> = asyncio.defer(function()
--     asyncio.sleep(0.1)
--     table.insert(log, "first")
--   end)
--   error("went wrong", 0)
-- end
-- print(pcall(job)) --> false  went wrong
-- print(table.concat(log, ", ")) --> first, last
function scopes.defer(fn, ...)
  check.callable(fn, 1, "defer", "defer(f, x)", "defer(f(x))")
  local task = core.current_task()
  local scope = setmetatable({ task = task, fn = fn, n = select("#", ...), done = false, ... }, Deferred)
  if task then task:_enter(scope, 2) end
  return scope
end

local function call(scope) scope.fn(table.unpack(scope, 1, scope.n)) end

--- The loop that would hear of it, or nil.
local function running_loop()
  return core.in_run() and core.get_running_loop() or nil
end

-- Calls fn where an error may be on its way, which fn's own must not hide: that goes to `report(err,
-- traceback)`. A request that fn gets is delivered again at the next suspension. Only Ctrl-C, the second, is
-- raised.
function scopes.aside(report, fn, ...)
  local task = core.current_task()
  local taken = task and task:cancelling() - task:_undelivered()
  local caught, ok, err, traceback = core.catch(core.xpcall, fn, core.traceback, ...)
  if caught then
    if not ok then report(err, traceback) end
    return
  end
  err = ok
  if not isinstance(err, core.CancelledError) then error(err, 0) end
  if task and task:cancelling() - task:_undelivered() > taken then
    task:_requeue(err)
  else -- nobody has asked this task: it awaited what was cancelled
    report(err)
  end
end

function Deferred:__close(err)
  if self.done then return end
  self.done = true
  local made_at = self.task and self.task:_leave(self)
  local loop = err ~= nil and running_loop()
  if not loop then return call(self) end
  scopes.aside(function(failure, traceback)
    loop:call_exception_handler {
      message = "a deferred function failed while its block was left by an error",
      exception = failure,
      traceback = traceback,
      task = self.task,
      source_traceback = made_at,
    }
  end, call, self)
end

-- Its task has ended without closing it. broken: by Ctrl-C, which lets no <close> run
function Deferred:_forget(broken)
  self.done = true
  if not broken then call(self) end
end

function Deferred:__tostring()
  return "asyncio.Deferred: " .. (self.done and "done" or "not called yet")
end

-- Cancellations wait

local Shielded = {}
Shielded.__index, Shielded.__name = Shielded, "asyncio.Shielded"

--- Lets the requests through that wait.
local function open_up(scope)
  local number = scope.number
  scope.number = false
  if scope.handle then scope.handle:cancel() end
  if number then scope.task:_unshield(number) end
end

local function time_is_up(scope)
  scope.handle = false
  open_up(scope)
end

local function close_in(scope, seconds)
  scope.task:_enter(scope, 4)
  scope.number = scope.task:_shield()
  if not seconds then return end
  local loop = core.get_running_loop()
  scope.handle = loop:_call_at(loop:time() + seconds, time_is_up, scope)
end

--- A block in which cancellations wait: `local _ <close> = asyncio.shielded()`.
-- `task:cancel()`, timeouts and groups around it, and the first Ctrl-C are delivered once it has been left:
-- at the next suspension, one after the other. Scopes that are made inside work as ever. What waits counts in
-- `Task:cancelling`. A second Ctrl-C breaks it. The end of `run` waits for it as for any task that cleans up,
-- three times `cancel_timeout` (1 s); then the task is abandoned, and reported.
-- @tparam ?number seconds so long at most: then what waits is delivered inside; nil: until the block is left
-- @return what is to be closed
-- @usage
-- local log = {}
-- local task = asyncio.create_task(function()
--   do
--     local _ <close> = asyncio.shielded()
--     asyncio.sleep(1) -- a file is being replaced, say
--     log[#log + 1] = "all of it"
--   end
--   asyncio.sleep(3600)
-- end)
-- asyncio.sleep(0.5)
-- task:cancel()
-- asyncio.wait { task }
-- print(log[1], task:cancelled()) --> all of it  true
function scopes.shielded(seconds)
  check.seconds(seconds, 1, "shielded")
  if seconds and seconds < 0 then
    check.error(1, "shielded", ("number of seconds, 0 or more, expected, got %g"):format(seconds))
  end
  local task = core.current_task()
  if not task then
    check.raise("a shield can only be used inside a task: make it in a function that asyncio.run or "
      .. "asyncio.create_task runs")
  end
  local scope = setmetatable({ task = task, number = false, handle = false, closed = false }, Shielded)
  local ok, err = pcall(close_in, scope, seconds)
  if ok then return scope end
  scope.closed = true -- out of memory
  task:_leave(scope)
  open_up(scope)
  error(err, 0)
end

function Shielded:__close()
  if self.closed then return end
  self.closed = true
  self.task:_leave(self)
  open_up(self)
end

-- Its task has ended without closing it.
function Shielded:_forget()
  self.closed = true
  open_up(self)
end

function Shielded:__tostring()
  return "asyncio.Shielded: " .. (self.closed and "ended" or self.number and "cancellations wait" or "open")
end

return scopes
