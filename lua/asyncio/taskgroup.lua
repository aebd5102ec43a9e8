--- TaskGroup: tasks that end before the block does.
-- @module asyncio.taskgroup
--
-- Its tasks, and the wait for them while all goes well, are C's (core/group.c). Here is what becomes of
-- errors and cancellations.
local core = require "asyncio.core"

local isinstance = core.isinstance

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
local class = core.group_class
local TaskGroup = class.methods

--- What is known of a group that has something to tell; its owner, and the mark of its requests.
local function state_of(group)
  local state, owner, mark = group:_state()
  if not state.errors then
    state.tracebacks = {}
    state.errors = { n = 0 }
  end
  return state, owner, mark
end

local function add_error(state, err, traceback)
  local errors = state.errors
  errors.n = errors.n + 1
  errors[errors.n], state.tracebacks[errors.n] = err, traceback
end

local function why_overdue(n, shielded)
  if n == 1 then return shielded and "it is shielded" or "it catches that, or cleans up" end
  return shielded and "one catches that, is shielded, or cleans up" or "one catches that, or cleans up"
end

local function report_overdue(group)
  local tasks, shielded, list = group:_members(), false, {}
  for i, task in ipairs(tasks) do
    list[i] = ("'%s':\n%s"):format(task:get_name(), task:traceback())
    shielded = shielded or task:_is_shielded()
  end
  local _, owner = group:_state()
  owner:get_loop():call_exception_handler {
    message = ("a task group waits for %d task%s, %d s after cancelling: %s"):format(#list,
      #list == 1 and "" or "s", OVERDUE, why_overdue(#list, shielded)),
    task = owner,
    source_traceback = table.concat(list, "\n"),
  }
end

--- It is being left, and waits for those that it has cancelled.
local function watch_overdue(group, state)
  if not state.overdue then
    state.overdue = core.get_running_loop():call_later(OVERDUE, report_overdue, group)
  end
end

-- Called when some of its tasks have failed, at the next turn.
function TaskGroup:_take_failures()
  local state, owner, mark = state_of(self)
  for task in self._take_failed, self do
    local err = task:exception()
    add_error(state, err, task:_trace())
    local _, aborting, leaving = self:_stand()
    if not aborting then
      self:cancel()
      if leaving then
        watch_overdue(self, state)
      else
        state.request = core.CancelledError "a task of the group failed"
        state.request.scope = true -- what takes its place comes from where it was raised
        owner:_request(state.request, mark > 0 and mark or nil) -- it may be shielded
      end
    end
  end
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
  core.check_self(self, class, "start")
  self:_check()
  start = start or require "asyncio.starting"
  return given(start(self, fn, ...)) -- no tail call: errors of arguments tell of this function
end

-- Waits for its tasks, or gives way when there are none. What interrupts that cancels them too; the
-- interruptions, once all are gone. waited: C has waited, and knows of an interruption
local function wait_for_tasks(group, state, waited)
  local interruptions, told, first = {}, false, true
  while true do
    local n, aborting = group:_stand()
    if n == 0 and not first then return interruptions end
    if n > 0 and aborting then watch_overdue(group, state) end
    local wait = (n > 0 or waited) and group._wait or core.spend
    local ok, err = core.catch(wait, group)
    first = false
    if not ok then
      group:cancel()
      local deadlock = isinstance(err, core.DeadlockError) and not told
      told = told or deadlock
      if not deadlock and not isinstance(err, core.CancelledError) then -- where nothing can wait
        error(err, 0)
      end
      table.insert(interruptions, err)
    end
  end
end

local function group_error(state)
  local err = core.ExceptionGroup("errors in a task group", state.errors)
  err.tracebacks = state.tracebacks
  return err
end

-- Its owner has ended without closing it, and the tasks have been cancelled.
function TaskGroup:_forgotten()
  local state, owner = state_of(self)
  if state.errors.n == 0 then return end
  core.get_running_loop():call_exception_handler {
    message = "the errors of a task group that was never closed",
    exception = group_error(state),
    task = owner,
  }
end

--- Takes its own request back.
function TaskGroup:_withdraw()
  local state, owner = state_of(self)
  if state.request then owner:_withdraw(state.request) end
end

-- Its block is being left, and something has happened. err: what leaves the block; ring: one of the tasks
-- waits for the owner; waited: all have been waited for, unless that was interrupted
function TaskGroup:_end(err, ring, waited)
  local state, owner = state_of(self)
  local own = err ~= nil and rawequal(err, state.request)
  self:_withdraw()
  local _, aborting = self:_stand()
  if ring and err == nil and not aborting then add_error(state, core.Error(RING)) end
  if ring or err ~= nil and not aborting then self:cancel() end
  local ok, outside = core.catch(wait_for_tasks, self, state, waited)
  self:_left(ok)
  if not ok then error(outside, 0) end
  if state.overdue then state.overdue:cancel() end
  if isinstance(err, core.KeyboardInterrupt) then return end
  if isinstance(err, core.CancelledError) and not own then
    table.insert(outside, 1, err)
  elseif err ~= nil and not own then
    add_error(state, err)
  end
  local first
  if state.errors.n > 0 then
    first = group_error(state)
    if own then core.replace_error(err, first) end
  else
    first = table.remove(outside, 1)
  end
  for i = #outside, 1, -1 do owner:_requeue(outside[i]) end
  if first and not rawequal(first, err) then error(first, 0) end
end

return core.TaskGroup
