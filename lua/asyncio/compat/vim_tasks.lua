--- The tasks of vim.async: coroutines with an owner, which go on where their callbacks are called.
-- Only `drive` resumes them. What follows from a step (a child starts, its parent goes on) lies on a stack
-- until the task has given way: so a chain of tasks, however long, is no chain of C calls.
-- @module asyncio.compat.vim_tasks
local check = require "asyncio.check"
local core = require "asyncio.core"
local loops = require "asyncio.compat.vim_loops"
local standard = require("asyncio.compat.standard").coroutine

local tasks = {}

-- A task is `new`, then `running` and `parked` by turns, then `ending` while its children run.
local NEW, RUNNING, PARKED, ENDING, DONE = "new", "running", "parked", "ending", "done"

local YIELD, RESUME = {}, {} -- the first of what the scheduler and a task give each other
local STRANGE_YIELD, STRANGE_RESUME = "Unexpected coroutine.yield()", "Unexpected coroutine.resume()"
local CLOSED = "closed"
local MOST_DEPTH = 15 -- of callbacks that let a task go on within another's step: Lua allows 200 C calls

local running_thread, status = standard.running, standard.status

local threads = setmetatable({}, { __mode = "k" }) -- coroutine → its task

local Task = {}
Task.__index, Task.__name = Task, "asyncio.VimTask"
tasks.Task = Task

local function is_task(x) return getmetatable(x) == Task end

--- The task whose code runs, or nil.
local function running()
  local task = threads[running_thread()]
  return task and task.state ~= DONE and task or nil
end

--- An error where nil would mean success.
local function normal(err)
  if err == nil then return "error(nil)" end
  return err
end

-- What is still to be done, the last first

local stack, top = {}, 0
local drivers, depth = {}, 0
local acting -- what the last action was for, a task or a wait
local abandon -- ends a task in which the scheduler itself has failed, as it does without memory
local guest -- the wait for which a stranger is being called
local resume_task -- an action: the task gets what its wait has

local function push(action, object)
  stack[top + 1], stack[top + 2] = action, object
  top = top + 2
end

local function drain(base)
  while top > base do
    local action, object = stack[top - 1], stack[top]
    stack[top - 1], stack[top] = nil, nil
    top = top - 2
    acting = object
    action(object)
  end
end

local function driver(base)
  while true do
    drain(base)
    base = standard.yield(YIELD)
  end
end

local function failure(err) return { n = 2, false, err } end

--- A stranger has yielded, in our coroutine: its wait fails. Whether there was one
local function dismiss_guest()
  local wait = guest
  if not wait then return false end
  guest = wait.outer
  wait.arming, wait.settled, wait.given = false, true, failure(STRANGE_YIELD)
  push(resume_task, wait)
  return true
end

--- Calls a stranger: pcall, and somebody to blame.
local function call_for(wait, fn, ...)
  wait.outer, guest = guest, wait
  local ok, err = pcall(fn, ...)
  guest = wait.outer
  return ok, err
end

--- Drains the stack in a coroutine of ours, one for each depth: what begins a wait is a stranger, and must
-- not wait itself, which would leave the stack to others. false and an error if it ended early.
local function drain_apart(base)
  local level = depth
  local co = drivers[level]
  if not co then
    co = standard.create(driver)
    drivers[level] = co
  end
  local ok, mark = standard.resume(co, base)
  if ok and mark == YIELD then return true end
  drivers[level] = nil
  if not ok then return false, mark end
  standard.close(co)
  if dismiss_guest() then return drain_apart(base) end
  return false, STRANGE_YIELD
end

local function drain_from(base, action, object)
  push(action, object)
  depth, acting = depth + 1, object
  return drain_apart(base)
end

--- Does one thing, and all that follows from it. Without memory any call may fail, the first ones too.
local function drive(action, object)
  if depth >= MOST_DEPTH then return loops.later(drive, action, object) end
  local base, level = top, depth
  local called, ok, err = pcall(drain_from, base, action, object)
  if not called then ok, err = false, ok end
  if depth == level then error(err, 0) end -- nothing has begun
  if not ok then abandon(acting.task or acting, err) end
  while top > base do drain_apart(base) end -- the rest, all the same
  depth = level
  if not ok then error(err, 0) end
end

-- Parents and children: a list, in the order of their making; `fresh` are those that have not started

local function attach(task, parent)
  local fresh = parent.fresh or {}
  fresh[#fresh + 1], parent.fresh = task, fresh
  task.parent, task.before = parent, parent.last -- these fields are there: from here on nothing needs memory
  if parent.last then parent.last.after = task else parent.first = task end
  parent.last = task
end

--- Its owner forgets it; that owner, or nil.
local function leave(task)
  local parent, before, after = task.parent, task.before, task.after
  if not parent then return nil end
  if before then before.after = after else parent.first = after end
  if after then after.before = before else parent.last = before end
  task.parent, task.before, task.after = nil, nil, nil
  return parent
end

-- Being asked to end

local interrupt, finish, start -- actions

local function set_error(task, err)
  if not task.failed then task.failed, task.error = true, err end
end

local close_children

--- At its next checkpoint, or where it waits now.
local function ask_to_close(task)
  if task.closing or task.state == DONE then return end
  task.closing = true
  if task.state == NEW then
    task.state, task.result, task.call = ENDING, failure(CLOSED), nil
    push(finish, task)
  elseif task.state == PARKED then
    push(interrupt, task.waiting)
  elseif task.state == ENDING then
    close_children(task)
  end
end

function close_children(task)
  local child = task.last
  while child do
    ask_to_close(child)
    child = child.before
  end
end

local function child_failed(parent, child, err, awaited)
  if child.closing or awaited or parent.closing and err == CLOSED then return end
  set_error(parent, "child error: " .. (type(err) == "string" and err or core.words(err)))
  if parent.state == ENDING then
    close_children(parent)
  elseif parent.state == PARKED then
    push(interrupt, parent.waiting)
  end
end

-- Waits: of a task (`task`) for a callback, a task (`target`) or a future of asyncio's (`future`).
-- Once `settled` it has what the task will get, in `given`; `handle` is what is to be closed before that.

--- It has ended; not pushed yet. ok: whether what was awaited succeeded
local function settle(wait, ok, ...)
  wait.settled = true
  if wait.protected then
    wait.given = table.pack(true, ok, ...)
  else
    if not ok and wait.target then set_error(wait.task, (...)) end
    wait.given = table.pack(ok, ...)
  end
end

local function close_of(handle) return handle.close end

--- What has a `close` that takes a callback.
local function closable(handle)
  local kind = type(handle)
  if kind ~= "table" and kind ~= "userdata" then return nil end
  local ok, close = pcall(close_of, handle)
  return ok and check.is_callable(close) and handle or nil
end

local function is_closing(handle)
  if is_task(handle) then return handle.closing or handle.state == DONE end
  return type(handle.is_closing) == "function" and handle:is_closing()
end

local function close_handle(handle, callback)
  if is_closing(handle) then return callback() end
  handle:close(callback)
end

--- Lets the task go on, when what it waited for has been closed.
local function go_on(wait)
  local handle = wait.handle
  if not handle or is_task(handle) and handle.parent ~= wait.task then return resume_task(wait) end
  wait.handle = nil
  local inside, closed = true, false
  local ok, err = call_for(wait, close_handle, handle, function()
    if closed then return end
    closed = true
    if not inside then drive(resume_task, wait) end
  end)
  inside = false
  if not ok then
    if not closed then wait.given = failure(normal(err)) end
    closed = true
  end
  if closed then push(resume_task, wait) end
end

--- The task gets an error in place of what it waits for.
local function break_off(wait, err)
  local task, target = wait.task, wait.target
  if wait.settled or wait.arming or task.waiting ~= wait then return end -- `arm` looks again
  wait.settled, wait.given = true, failure(err)
  if target and target.parent == task then
    wait.closing = true -- its end lets the task go on
    return ask_to_close(target)
  elseif target then
    wait.unsubscribe()
  elseif wait.future then
    wait.closing = true
    return wait.future:cancel()
  end
  go_on(wait)
end

--- The task is to end, or has failed.
function interrupt(wait)
  local task = wait.task
  break_off(wait, task.closing and CLOSED or task.error)
end

--- A future of asyncio's has ended.
local function future_done(wait, future)
  local ended = wait.closing
  if wait.settled and not ended then return end
  if not ended then settle(wait, core.catch(core.await, future)) end
  drive(go_on, wait)
end

local function callback_of(wait)
  return function(...)
    if wait.settled then return end
    settle(wait, true, ...)
    if not wait.arming then drive(go_on, wait) end
  end
end

local function begin(wait)
  if wait.target then
    local target = wait.target
    if target.state == DONE then return settle(wait, tasks.outcome(target)) end
    wait.unsubscribe = tasks.observe(target, wait)
  elseif wait.future then
    if wait.future:done() then return settle(wait, core.catch(core.await, wait.future)) end
    wait.future:add_done_callback(function(future) future_done(wait, future) end)
  else
    wait.handle = closable(wait.call(callback_of(wait)))
  end
end

local function push_fresh(task)
  local fresh = task.fresh
  if not fresh then return end
  task.fresh = nil
  for i = #fresh, 1, -1 do
    if fresh[i].parent == task then push(start, fresh[i]) end
  end
end

--- The task has come to a checkpoint: what it waits for begins, then its children start, and it goes on when
-- it need not wait.
local function arm(task, wait)
  task.state, task.waiting, wait.arming = PARKED, wait, true
  local ok, err = call_for(wait, begin, wait)
  wait.arming = false
  if not ok then
    wait.settled = false
    settle(wait, false, normal(err))
  end
  if not wait.settled and (task.closing or task.failed) then
    push(interrupt, wait)
  elseif wait.settled then
    push(go_on, wait)
  end
  push_fresh(task)
  local awaited = wait.target or is_task(wait.handle) and wait.handle
  if awaited then push(start, awaited) end
end

-- Ending

--- Those that wait for the task, and callbacks, in the order in which they came.
local function tell(task)
  local observers = task.observers
  if not observers then return end
  task.observers = nil
  for i = observers.n, 1, -1 do
    local wait = observers[i]
    if type(wait) == "table" then
      if not wait.settled then settle(wait, tasks.outcome(task)) end
      push(go_on, wait)
    end
  end
  for i = 1, observers.n do
    local callback = observers[i]
    if type(callback) == "function" then loops.call(task, callback, tasks.error_first(task)) end
  end
end

--- Its function and its children have ended, perhaps.
function finish(task)
  if task.state ~= ENDING or task.first then return end
  if task.result[1] and task.failed then
    task.result = failure(task.error)
  elseif task.result[1] and task.closing then
    task.result = failure(CLOSED)
  end
  task.state = DONE
  threads[task.thread] = nil
  loops.left(task)
  local parent = leave(task)
  local awaited = parent and parent.waiting and parent.waiting.target == task
  if parent and parent.state == ENDING and not parent.first then push(finish, parent) end
  tell(task)
  if parent and not task.result[1] then child_failed(parent, task, task.result[2], awaited) end
end

--- Its function has ended.
local function over(task, ok, ...)
  if task.state == ENDING or task.state == DONE then return end
  local result = table.pack(ok, ...)
  if not ok then
    result = failure(normal((...)))
  elseif task.failed then
    result = failure(task.error)
  elseif task.closing then
    result = failure(CLOSED)
  end
  task.result, task.state, task.waiting = result, ENDING, nil
  push(finish, task)
  if result[1] then push_fresh(task) else close_children(task) end
end

function abandon(task, err)
  if task.state == DONE then return end
  task.result = task.state == ENDING and task.result or failure(err)
  task.state, task.waiting = ENDING, nil
  close_children(task)
  push(finish, task)
end

-- Steps

--- After a step. first: the mark of a wait, or whether the function succeeded
local function after_step(task, resumed, first, ...)
  local state = status(task.thread)
  if not resumed then
    over(task, false, state == "dead" and first or STRANGE_RESUME)
  elseif state == "dead" then
    over(task, first, ...)
  elseif first == YIELD then
    arm(task, (...))
  else
    standard.close(task.thread)
    over(task, false, STRANGE_YIELD)
  end
end

function resume_task(wait)
  local task, given = wait.task, wait.given
  if task.waiting ~= wait or task.state ~= PARKED then return end
  if status(task.thread) ~= "suspended" then -- a stranger has resumed it
    return over(task, false, given[1] and STRANGE_RESUME or given[2])
  end
  task.state, task.waiting = RUNNING, nil
  after_step(task, standard.resume(task.thread, RESUME, table.unpack(given, 1, given.n)))
end

--- A message handler: where the task fails.
local function note_trace(err)
  local task = threads[running_thread()]
  if task and debug and err ~= CLOSED then task.trace = debug.traceback(nil, 2) end
  return err
end

--- Tail calls, so that no frame keeps arguments that the function has dropped.
local function call_function(task)
  local call = task.call
  task.call = nil
  return call[1](table.unpack(call, 2, call.n))
end

--- Who has resumed the coroutine in our place is told.
local function told(ok, ...)
  if not ok and (...) == STRANGE_RESUME then error(STRANGE_RESUME, 0) end
  return ok, ...
end

local function body(task) return told(xpcall(call_function, note_trace, task)) end

function start(task)
  if task.state ~= NEW then return end
  task.state = RUNNING
  after_step(task, standard.resume(task.thread, task))
  if not task.parent and task.state ~= DONE then loops.entered(task) end
end

--- Somebody else has resumed a task's coroutine: nobody will see how it ends.
local function strange(task)
  loops.later(drive, function(wait) break_off(wait, STRANGE_RESUME) end, task.waiting)
  error(STRANGE_RESUME, 0)
end

local function resumed(task, mark, ok, ...)
  if mark ~= RESUME then strange(task) end
  if ok then return ... end
  error((...), 0)
end

-- What the others call

tasks.running, tasks.is_task = running, is_task

--- A task that has not started.
function tasks.new(name, fn, ...)
  local parent = running()
  local thread = standard.create(body)
  local task = setmetatable({
    name = name,
    state = NEW,
    thread = thread,
    closing = false,
    failed = false,
    parent = false, before = false, after = false, first = false, last = false, fresh = false,
    home = parent and parent.home or loops.current(),
    call = table.pack(fn, ...),
  }, Task)
  threads[thread] = task
  if parent then attach(task, parent) end
  return task
end

--- The task that runs, at a checkpoint: raises where it must not go on.
function tasks.checked()
  local task = running()
  if not task then error("Not in async context", 0) end
  if task.closing then error(CLOSED, 0) end
  if task.failed then error(task.error, 0) end
  return task
end

--- Waits; `wait` has one of `call`, `target`, `future`.
function tasks.park(task, wait)
  wait.task = task
  return resumed(task, standard.yield(YIELD, wait))
end

function tasks.start(task)
  if task.state == NEW then drive(start, task) end
end

function tasks.close(task) drive(ask_to_close, task) end

--- It has no owner any more; whether it had one.
function tasks.detach(task)
  local parent = leave(task)
  if not parent then return false end
  if task.state ~= NEW then loops.entered(task) end
  if parent.state == ENDING then drive(finish, parent) end
  return true
end

function tasks.done(task) return task.state == DONE end

--- true and its results, or false and its error.
function tasks.outcome(task) return table.unpack(task.result, 1, task.result.n) end

--- nil and its results, or its error.
function tasks.error_first(task)
  local result = task.result
  if result[1] then return nil, table.unpack(result, 2, result.n) end
  return result[2]
end

--- Its end is told to a wait, or a function; gives back the function that takes that back.
function tasks.observe(task, observer)
  local observers = task.observers or { n = 0 }
  task.observers = observers
  local i = observers.n + 1
  observers[i], observers.n = observer, i
  return function() observers[i] = nil end
end

function tasks.status(task)
  if task.state == DONE then return "completed" end
  local state = status(task.thread)
  if state == "running" or state == "normal" then return state end
  return "awaiting"
end

--- The tasks that have no owner, or a task's own.
function tasks.children(parent)
  local list = {}
  if parent then
    local child = parent.first
    while child do
      list[#list + 1], child = child, child.after
    end
  else
    for _, task in pairs(threads) do
      if not task.parent then list[#list + 1] = task end
    end
  end
  return list
end

return tasks
