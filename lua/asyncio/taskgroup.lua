--- TaskGroup: tasks that end before the block does.
-- @module asyncio.taskgroup
local check = require "asyncio.check"
local core = require "asyncio.core"

local check_self, isinstance = check.self, core.isinstance

local OVERDUE = 5 -- seconds after which a group that waits for tasks that it has cancelled is reported
local RING = "cannot leave a task group while one of its tasks waits for the task that leaves it"

--- Tasks that end before the block does in which they were started; `asyncio.TaskGroup` makes it.
-- @type TaskGroup
-- @usage
-- local pages = {}
-- local function fetch(name)
--   asyncio.sleep(1)
--   pages[#pages + 1] = name
-- end
-- do
--   local group <close> = asyncio.TaskGroup()
--   for i = 1, 10 do group:create_task(fetch, "page " .. i) end
-- end -- here all have ended; if one failed, the others were cancelled and an ExceptionGroup leaves
-- print(#pages) --> 10
local TaskGroup = {}
TaskGroup.__index, TaskGroup.__name = TaskGroup, "asyncio.TaskGroup"

local OPTIONS = check.options { "TaskGroup", 1 }

--- Makes a group: `local g <close> = asyncio.TaskGroup()`.
-- Leaving the block waits for all its tasks. The first failure cancels the rest and the body; the
-- errors leave as one ExceptionGroup. A cancellation from outside goes to the tasks and on.
-- @function TaskGroup
-- @treturn TaskGroup
local function new(...)
  if ... ~= nil then OPTIONS(...) end
  local parent, mark = core.scope_owner()
  if not parent then check.raise "a task group can only be used inside a task" end
  local group = { parent = parent, tasks = {}, n = 0, started = 0, errors = { n = 0 }, tracebacks = {} }
  if mark > 0 then group.mark = mark end -- it may be shielded
  setmetatable(group, TaskGroup)
  parent:_enter(group, 2)
  return group
end

local function add_error(group, err, traceback)
  local errors = group.errors
  errors.n = errors.n + 1
  errors[errors.n], group.tracebacks[errors.n] = err, traceback
end

local function in_order(group)
  local tasks, list = group.tasks, {}
  for task in pairs(tasks) do list[#list + 1] = task end
  table.sort(list, function(a, b) return tasks[a] < tasks[b] end)
  return list
end

local function why_overdue(n, shielded)
  if n == 1 then return shielded and "it is shielded" or "it catches that, or cleans up" end
  return shielded and "one catches that, is shielded, or cleans up" or "one catches that, or cleans up"
end

local function report_overdue(group)
  local list, shielded = {}, false
  for i, task in ipairs(in_order(group)) do
    list[i] = ("'%s':\n%s"):format(task:get_name(), task:traceback())
    shielded = shielded or task:_is_shielded()
  end
  group.parent:get_loop():call_exception_handler {
    message = ("a task group waits for %d task%s, %d s after cancelling: %s"):format(#list,
      #list == 1 and "" or "s", OVERDUE, why_overdue(#list, shielded)),
    task = group.parent,
    source_traceback = table.concat(list, "\n"),
  }
end

--- It is being left, and waits for those that it has cancelled.
local function watch_overdue(group)
  if not group.overdue then
    group.overdue = core.get_running_loop():call_later(OVERDUE, report_overdue, group)
  end
end

-- In the order in which they were started: what happens must not depend on where tasks lie in memory. One
-- that can't be told keeps none of the others from it; one that awaits the owner doesn't pass it on to that.
local function cancel_children(group)
  local failure
  local left = group.parent:_leaving(group.tasks)
  group.aborting = true
  for _, task in ipairs(in_order(group)) do
    local ok, err = pcall(task.cancel, task)
    if not ok then failure = failure or err end
  end
  group.parent:_leaving(left)
  if failure then error(failure, 0) end
end

local function tell_if_idle(group)
  if group.n == 0 and group.idle and not group.idle:done() then group.idle:set_result() end
end

--- What it ended with is nothing to the group.
local function forget(group, task)
  group.tasks[task] = nil
  group.n = group.n - 1
  tell_if_idle(group)
end

local function on_done(group, task)
  group.tasks[task] = nil
  group.n = group.n - 1
  if group.closed then return end -- nobody will raise its error: it is left to be reported
  if not task:cancelled() then
    local err, failed = task:exception()
    if failed then
      add_error(group, err, task:_trace())
      if not group.aborting then
        cancel_children(group)
        if group.leaving then
          watch_overdue(group)
        else
          group.request = core.CancelledError "a task of the group failed"
          group.request.scope = true -- what takes its place comes from where it was raised
          group.parent:_request(group.request, group.mark)
        end
      end
    end
  end
  if group.n == 0 and group.idle then tell_if_idle(group) end
end

-- What may fail comes first: a task that is counted is told of.
local function adopt(group, task, ended)
  group.tasks[task] = group.started + 1
  task:_on_done(function() ended(group, task) end)
  group.started, group.n = group.started + 1, group.n + 1
end

local function fail_if_ended(group)
  if group.closed then error(core.InvalidStateError "the task group has ended", 3) end
  if group.aborting then error(core.InvalidStateError "the task group is being cancelled", 3) end
end

-- No task without its group: memory has run out, or a finaliser has cancelled the group meanwhile.
local function disown(task, adopted, err)
  task:cancel()
  if adopted then error(core.InvalidStateError "the task group is being cancelled", 3) end
  error(err, 0)
end

--- Starts a task in the group.
-- Raises when the group has ended or is being cancelled.
-- @param fn as for `asyncio.create_task`
-- @param ... its arguments
-- @treturn Task
function TaskGroup:create_task(fn, ...)
  check_self(self, TaskGroup, "create_task")
  if self.closed or self.aborting then fail_if_ended(self) end
  local task = core.create_task(fn, ...)
  local ok, err = pcall(adopt, self, task, on_done)
  if not ok or self.aborting then disown(task, ok, err) end
  return task
end

local start -- loaded when it is first used

local function given(...) return ... end

--- Starts a task in the group, and waits until it says that it is ready.
-- `fn` gets a function as its first argument, before the others: with what it passes to that, `start`
-- returns, and the task goes on in the group. An error that it raises before goes to the caller of `start`
-- alone, and the group goes on; one that ends without a word is an Error. Cancelling who waits here cancels
-- the task, and is raised when that has ended, unless with an error of its own. Cancelling the
-- group cancels also what hasn't started yet. A second call of the function raises
-- InvalidStateError. Also `group:start{fn, args…, name=}`.
-- @param fn as for `asyncio.create_task`
-- @param ... its further arguments
-- @return what it gives to `started`
-- @usage
-- local function serve(started, name)
--   asyncio.sleep(1) -- opens what it needs
--   started(name .. " is ready")
--   asyncio.sleep(3600)
-- end
-- local group <close> = asyncio.TaskGroup()
-- print(group:start(serve, "the tap")) --> the tap is ready
-- group:cancel()
function TaskGroup:start(fn, ...)
  check_self(self, TaskGroup, "start")
  fail_if_ended(self)
  start = start or require "asyncio.starting" {
    adopt = adopt, disown = disown, on_done = on_done, forget = forget,
  }
  return given(start(self, fn, ...)) -- no tail call: errors of arguments tell of this function
end

--- Cancels the tasks of the group; the body goes on, and may start no more.
function TaskGroup:cancel()
  check_self(self, TaskGroup, "cancel")
  if not self.closed then cancel_children(self) end
end

-- Waits for the children, or gives way when there are none. What interrupts that cancels them too; the
-- interruptions, once all are gone.
local function wait_for_children(group)
  local interruptions, first, told = {}, group.n == 0, false
  while group.n > 0 or first do
    local ok, err
    if group.n > 0 and group.aborting then watch_overdue(group) end
    if first then
      first = false
      ok, err = core.catch(core.spend)
    else
      group.idle = core.get_running_loop():create_future()
      ok, err = core.catch(core.await, group.idle)
    end
    if not ok then
      cancel_children(group)
      local deadlock = isinstance(err, core.DeadlockError) and not told
      told = told or deadlock
      if not deadlock and not isinstance(err, core.CancelledError) then -- where nothing can wait
        error(err, 0)
      end
      table.insert(interruptions, err)
    end
  end
  return interruptions
end

local function group_error(group)
  local err = core.ExceptionGroup("errors in a task group", group.errors)
  err.tracebacks = group.tracebacks
  return err
end

-- Its parent has ended without closing it.
function TaskGroup:_forget()
  self.closed = true
  cancel_children(self)
  if self.errors.n == 0 then return end
  core.get_running_loop():call_exception_handler {
    message = "the errors of a task group that was never closed",
    exception = group_error(self),
    task = self.parent,
  }
end

function TaskGroup:__close(err)
  if self.closed then return end
  self.parent:_leave(self)
  if core.current_task() ~= self.parent then
    return self:_forget()
  end
  if self.n == 0 and err == nil and not self.aborting then -- nothing to wait for, and nothing to tell
    self.closed = true
    return core.spend()
  end
  local own = err ~= nil and rawequal(err, self.request)
  self.leaving = true
  local _, ring = self.parent:_leaving(self.tasks)
  if self.request then self.parent:_withdraw(self.request) end
  if ring and err == nil and not self.aborting then add_error(self, core.Error(RING)) end
  if ring or err ~= nil and not self.aborting then cancel_children(self) end
  local ok, outside = core.catch(wait_for_children, self)
  self.parent:_leaving(nil)
  if not ok then error(outside, 0) end
  self.closed = true
  if self.overdue then self.overdue:cancel() end
  if isinstance(err, core.KeyboardInterrupt) then return end
  if isinstance(err, core.CancelledError) and not own then
    table.insert(outside, 1, err)
  elseif err ~= nil and not own then
    add_error(self, err)
  end
  local first
  if self.errors.n > 0 then
    first = group_error(self)
    if own then core.replace_error(err, first) end
  else
    first = table.remove(outside, 1)
  end
  for i = #outside, 1, -1 do self.parent:_requeue(outside[i]) end
  if first and not rawequal(first, err) then error(first, 0) end
end

function TaskGroup:__tostring()
  return ("asyncio.TaskGroup: %d task%s%s"):format(self.n, self.n == 1 and "" or "s",
    self.closed and ", ended" or self.aborting and ", cancelling" or "")
end

return new
