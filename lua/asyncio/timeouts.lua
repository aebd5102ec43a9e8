--- Deadlines: `timeout`, `timeout_at`, `wait_for`, `move_on_after`.
--
-- A scope asks the task for a cancellation with an error object of its own, and knows it again by
-- identity when it comes out of the block: that one, and no other, becomes a TimeoutError.
-- @module asyncio.timeouts
local check = require "asyncio.check"
local core = require "asyncio.core"

local timeouts = {}

--- A limit of time for a block; `asyncio.timeout` and `asyncio.timeout_at` make it. They nest.
-- @type Timeout
-- @usage
-- local ok, err = pcall(function()
--   local limit <close> = asyncio.timeout(2)
--   asyncio.sleep(1)
--   limit:reschedule(limit:when() + 3) -- it got interesting
--   asyncio.sleep(3600)
-- end)
-- print(ok, asyncio.isinstance(err, asyncio.TimeoutError)) --> false  true
local Timeout = {}
Timeout.__index, Timeout.__name = Timeout, "asyncio.Timeout"

local OVERDUE = 5 -- seconds after which a block that goes on is reported

local function overdue(scope)
  scope.handle = false
  local held = scope.task:_is_shielded() and scope.task:_undelivered() > 0
  local why = held and "it is shielded" or "it catches cancellations, or cleans up"
  scope.loop:call_exception_handler {
    message = ("a block goes on, %d s after its time was up: %s"):format(OVERDUE, why),
    task = scope.task,
    source_traceback = scope.task:traceback(),
  }
end

local function expire(scope)
  if scope.stillborn or scope.closed then return end
  scope.handle = false
  if scope.waiter then scope.place = scope.task:_site(scope, scope.waiter) end
  scope.handle = scope.loop:call_later(OVERDUE, overdue, scope)
  if scope.closed then return scope.handle:cancel() end -- by a finaliser
  scope.request = core.CancelledError("the time is up")
  scope.request.scope = true -- the TimeoutError comes from where this is raised
  scope.task:_request(scope.request, scope.mark)
end

-- The new handle is made first: a finaliser that runs meanwhile may reschedule the scope, with the last word.
local function arm(scope)
  local deadline = scope.deadline
  if deadline then
    local handle = scope.loop:_call_at(deadline, expire, scope)
    if scope.deadline ~= deadline then return handle:cancel() end
    if scope.handle then scope.handle:cancel() end
    scope.handle = handle
  elseif scope.handle then
    scope.handle:cancel()
    scope.handle = false
  end
end

local function open(loop, began, deadline)
  local task, mark = core.scope_owner()
  if not task then check.raise "a timeout can only be used inside a task" end
  local scope = setmetatable({ -- all that it may need, so that the table is made once
    loop = loop, task = task, began = began, deadline = deadline, handle = false, waiter = false,
    stillborn = false, closed = false,
  }, Timeout)
  if mark > 0 then scope.mark = mark end -- it may be shielded
  arm(scope)
  return scope
end

--- For scopes in users' hands: one that is never closed is reported when its task ends.
local function entered(scope)
  scope.stillborn = true -- should memory run out below
  scope.task:_enter(scope, 2)
  scope.stillborn = false
  return scope
end

--- A block that may take so long: `local _ <close> = asyncio.timeout(2)`.
-- What still waits then is cancelled, and TimeoutError leaves the block, which says after how long in all,
-- whether the limit had been rescheduled or extended, and where it was made.
-- @tparam ?number delay seconds; nil: no limit yet, see `Timeout:reschedule`
-- @treturn Timeout
-- @usage
-- local function slow_answer()
--   local _ <close> = asyncio.timeout(2)
--   asyncio.sleep(3600)
-- end
-- print(asyncio.isinstance(select(2, pcall(slow_answer)), asyncio.TimeoutError)) --> true
function timeouts.timeout(delay)
  check.seconds(delay, 1, "timeout")
  local loop = core.get_running_loop()
  local now = loop:time()
  return entered(open(loop, now, delay and now + delay))
end

--- The same, with a moment of the loop's clock.
-- @tparam ?number when seconds, as of `Loop:time`
-- @treturn Timeout
function timeouts.timeout_at(when)
  check.seconds(when, 1, "timeout_at")
  local loop = core.get_running_loop()
  return entered(open(loop, loop:time(), when))
end

--- When it will expire, in seconds of the loop's clock; nil: never.
-- @treturn ?number
function Timeout:when()
  check.self(self, Timeout, "when")
  return self.deadline
end

local function check_open(scope)
  if not scope.closed and not scope.request then return end
  local how = scope.closed and "ended" or "expired"
  error(core.InvalidStateError("cannot change a timeout that has " .. how), 3)
end

--- Changes when it will expire. Raises InvalidStateError once it has expired or ended.
-- @tparam ?number when seconds, as of `Loop:time`; nil: never
function Timeout:reschedule(when)
  check.self(self, Timeout, "reschedule")
  check.seconds(when, 1, "reschedule")
  check_open(self)
  self.changed = "rescheduled" -- few are: that the table grows is their matter
  self.deadline = when
  arm(self)
end

--- Gives it more time: it expires so much later than it would have.
-- Raises InvalidStateError once it has expired or ended, and when it has no deadline.
-- @tparam number seconds 0 or more; `reschedule` makes it earlier
-- @usage
-- local limit <close> = asyncio.timeout(2)
-- asyncio.sleep(1)
-- limit:extend(3) -- it got interesting
-- asyncio.sleep(3)
-- print(limit:expired()) --> false
function Timeout:extend(seconds)
  check.self(self, Timeout, "extend")
  local is_number = type(seconds) == "number" and seconds == seconds
  if not is_number then check.fail(1, "extend", "number of seconds, 0 or more,", seconds) end
  if seconds < 0 then
    check.error(1, "extend", ("number of seconds, 0 or more, expected, got %g"):format(seconds))
  end
  check_open(self)
  if not self.deadline then
    error(core.InvalidStateError "the timeout has no deadline: reschedule(when) sets one", 2)
  end
  self.changed = "extended"
  self.deadline = self.deadline + seconds
  arm(self)
end

--- Whether its time ran out before the block was left.
-- @treturn boolean
function Timeout:expired()
  check.self(self, Timeout, "expired")
  return self.request ~= nil
end

--- The block was left as if nothing had been, after its request was raised in it.
local function report_swallowed(scope, place)
  scope.loop:call_exception_handler {
    message = "the time of a block was up, and it caught the CancelledError: it should let that pass"
      .. " (asyncio.pcall does)",
    task = scope.task,
    source_traceback = place and "caught at:\n" .. place or nil,
  }
end

--- Seconds for people: what was computed from clock readings has digits that nobody chose.
local function rounded(seconds)
  if seconds < 0.001 then return "0" end
  if seconds < 1 then return ("%.3g"):format(seconds) end
  return (("%.3f"):format(seconds):gsub("%.?0+$", ""))
end

--- Which limit it was.
local function time_is_up(scope, made_at)
  local after = math.max(scope.deadline - scope.began, 0)
  local place = made_at and "timeout at " .. made_at or scope.place and "wait_for at " .. scope.place
  place = place and " (" .. place .. ")" or ""
  local changed = scope.changed and ", as " .. scope.changed or ""
  return core.TimeoutError(("the time is up after %s s%s%s"):format(rounded(after), changed, place))
end

function Timeout:__close(err)
  if self.closed then return end
  self.closed = true
  local made_at = self.task:_leave(self)
  if self.handle then self.handle:cancel() end
  if not self.request then return end
  local undelivered, told, place = self.task:_withdraw(self.request)
  local swallowed = err == nil and not undelivered and not told
  if swallowed and self.loop:get_debug() then report_swallowed(self, place) end
  if err ~= nil and rawequal(err, self.request) then
    self.timed_out = time_is_up(self, made_at)
    core.replace_error(err, self.timed_out)
    error(self.timed_out, 0)
  end
end

-- Its task has ended without closing it.
function Timeout:_forget()
  self.closed = true
  if self.handle then self.handle:cancel() end
end

function Timeout:__tostring()
  return "asyncio.Timeout: " .. (self.request and "expired" or self.closed and "ended"
    or self.deadline and ("%.3f s left"):format(self.deadline - self.loop:time()) or "no limit")
end

local function call(fn) return fn() end

--- How the current task waits for it; nil when it can't.
local function runner_of(aw)
  local meta = getmetatable(aw)
  local has = type(meta) == "table" and meta or {}
  if core.isfuture(aw) or type(aw) == "thread" or has.__await then return core.await end
  return (type(aw) == "function" or has.__call) and call or nil
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
  local run = runner_of(aw)
  if not run then
    check.fail_called(1, "wait_for", check.EXPECTED, aw, "wait_for(function() return f(x) end, seconds)",
      "wait_for(f(x), seconds)")
  end
  check.seconds(timeout, 2, "wait_for")
  if run == call then core.spend() end
  local loop = core.get_running_loop()
  local now = loop:time()
  local scope <close> = open(loop, now, timeout and now + timeout)
  scope.waiter = timeouts.wait_for
  return run(aw)
end

--- Runs a function for so long at most; when its time is up, the error that `late()` makes is raised.
function timeouts._within(seconds, late, fn, ...)
  if not core.current_task() then return fn(...) end -- it cannot wait, and says so
  local scope
  local function body(...)
    local limit <close> = timeouts.timeout(seconds)
    scope = limit
    return fn(...)
  end
  local results = table.pack(xpcall(body, core.note_traceback, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local err = results[2]
  if scope and scope.timed_out ~= nil and rawequal(err, scope.timed_out) then
    local failure = late()
    core.replace_error(err, failure)
    error(failure, 0)
  end
  error(err, 0)
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
function timeouts.move_on_after(delay, fn, ...)
  check.seconds(delay, 1, "move_on_after")
  check.callable(fn, 2, "move_on_after", "move_on_after(delay, f, x)", "move_on_after(delay, f(x))")
  core.spend()
  local loop = core.get_running_loop()
  local now = loop:time()
  local scope = open(loop, now, delay and now + delay)
  local function body(...)
    local _ <close> = scope
    return fn(...)
  end
  local function handler(err)
    if rawequal(err, scope.timed_out) then return err end
    return core.note_traceback(err)
  end
  local results = table.pack(xpcall(body, handler, ...))
  if results[1] then return table.unpack(results, 1, results.n) end
  if scope.timed_out ~= nil and rawequal(results[2], scope.timed_out) then return false end
  error(results[2], 0)
end

return timeouts
