--- `TaskGroup:start`, which is documented there. Loaded when it is first used.
-- @module asyncio.starting
local core = require "asyncio.core"

-- What waits in `start`, as long as the task hasn't said that it has started: a future, which is ended with
-- true and what the task gave, or with false when the task has ended.

local function settle(ready, ...)
  ready:_on_cancel(nil)
  ready:set_result(...)
end

--- The task has ended before: that is told to `start`, not to the group.
local function never_started(ready, task)
  if ready:done() then return end
  if not task:cancelled() then return settle(ready, false) end
  ready:_on_cancel(nil)
  ready:cancel()
end

--- Cancelling who waits is passed on to the task; it may have ended, and only the callback not have run yet.
local function pass_on(ready, task)
  if not task:done() then return task:_ask() end
  never_started(ready, task)
  return false
end

local function started_by(task, ok, ...)
  if ok then return ... end
  task:result() -- raises its error
  if core.current_task():_undelivered() > 0 then core.sleep(0) end -- who waited was cancelled: that is raised
  error(core.Error "the task ended without a call of started", 0)
end

--- `create_task` with a function put before its arguments.
local function create_with(group, first, fn, ...)
  if type(fn) ~= "table" or getmetatable(fn) then return (group:_create_quiet(fn, first, ...)) end
  local opts = { fn[1], first, n = (fn.n or #fn) + 1 }
  table.move(fn, 2, opts.n - 1, 3, opts)
  for key, value in pairs(fn) do
    if opts[key] == nil and math.type(key) ~= "integer" then opts[key] = value end
  end
  return (group:_create_quiet(opts))
end

return function(group, fn, ...)
  if not core.can_wait() then core.sleep(0) end -- raises
  local ready, is_ready, task = nil, false, nil
  local function started(...)
    if is_ready then error(core.InvalidStateError "the task has said already that it has started", 2) end
    if task:done() then error(core.InvalidStateError "the task has ended", 2) end
    if not ready:done() then settle(ready, true, ...) end
    is_ready = true
    group:_begun(task)
  end
  task = create_with(group, started, fn, ...)
  local ok, err = pcall(function()
    ready = core.stand_in(task)
    ready:_on_cancel(function() return pass_on(ready, task) end)
    task:_on_done(function()
      if not is_ready then never_started(ready, task) end
    end)
  end)
  if not ok then
    task:cancel()
    error(err, 0)
  end
  return started_by(task, core.await(ready))
end
