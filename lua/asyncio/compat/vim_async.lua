--- Neovim's `vim.async` outside of Neovim: the logic of a plugin runs, and is tested, on an event loop of
-- asyncio's, with its virtual clock too. It is `asyncio.compat.vim_async`.
--
-- A task owns those that are made in it: it ends after them, fails with the first of them that fails, and
-- closes them when it is closed or fails. One that is made elsewhere starts at once; a child starts at its
-- owner's next checkpoint (`await`, `pawait`, `checkpoint`, `sleep`, …, the end of its function). Closed,
-- or failed with a child, a task hears of that at each checkpoint. Times are milliseconds, errors the
-- strings `"closed"` and `"timeout"`, as there.
--
-- A task lives on the loop that runs when it is made, and is closed at the end of `asyncio.run`; where no
-- loop runs, on one that the module keeps, which only `Task:wait` and `Task:pwait` run. What asyncio offers
-- is awaited as a task: `vim_async.await(asyncio.create_task(fn, ...))`; asyncio's own tasks wait for those
-- here with `asyncio.await(task)`, which closes the task when it is cancelled, or with `Task:wait`, which
-- does not.
-- @module asyncio.compat.vim_async
-- @usage
-- local vim_async = asyncio.compat.vim_async
--
-- local function brew(what, ms)
--   vim_async.sleep(ms)
--   return what
-- end
--
-- local breakfast = vim_async.run(function()
--   local tea, coffee = vim_async.run(brew, "tea", 10), vim_async.run(brew, "coffee", 20)
--   return vim_async.await(tea) .. " and " .. vim_async.await(coffee)
-- end)
-- print(breakfast:wait()) --> tea and coffee
local check = require "asyncio.check"
local core = require "asyncio.core"
local loops = require "asyncio.compat.vim_loops"
local tasks = require "asyncio.compat.vim_tasks"

local vim_async = {}

--- A call that goes on by itself, and the owner of those that are made in it;
-- `asyncio.compat.vim_async.run` makes it.
-- @type VimTask
-- @usage
-- local vim_async = asyncio.compat.vim_async
-- local task = vim_async.run(function() vim_async.sleep(1000) end)
-- task:close(function() print "it has ended" end) --> it has ended
-- print(task:pwait()) --> false  closed
local VimTask = tasks.Task

-- Arguments

local function check_number(value, n, name)
  if type(value) ~= "number" or value ~= value then check.fail(n, name, "number of milliseconds", value) end
end

local function check_task(value, n, name)
  if not tasks.is_task(value) then check.fail(n, name, "task of vim_async", value) end
end

--- What `await` waits for, as a wait.
local function wait_for(name, first, fn, ...)
  if tasks.is_task(first) then return { target = first } end
  if core.isfuture(first) then return { future = first } end
  if math.type(first) == "integer" then
    if first < 1 or first > 250 then check.error(1, name, "the callback's place expected, 1 to 250") end
    check.callable(fn, 2, name)
    local args = table.pack(...)
    return { call = function(callback)
      args[first] = callback
      return fn(table.unpack(args, 1, math.max(args.n, first)))
    end }
  end
  if not check.is_callable(first) then
    check.fail(1, name, "task, future, function, or a callback's place and a function", first)
  end
  return { call = first }
end

-- Tasks

local function run(name, fn, ...)
  local task = tasks.new(name, fn, ...)
  if loops.hooks.debug and debug then
    local info = debug.getinfo(3, "Sl")
    task.made_at = info and ("%s:%d"):format(info.short_src, info.currentline)
  end
  if not task.parent then tasks.start(task) end
  return task
end

--- Makes a task. In another task it is that one's child, and starts at its next checkpoint; elsewhere, also
-- in a callback that the loop calls, it is nobody's, and starts at once.
-- @tparam string|function name for `_inspect_tree`; may be left out, so that fn stands here
-- @tparam[opt] function fn
-- @param ... its arguments
-- @treturn VimTask
-- @usage
-- local task = asyncio.compat.vim_async.run(function(x) return x * 2 end, 21)
-- print(task:status(), task:wait()) --> completed  42
function vim_async.run(name, fn, ...)
  if type(name) == "string" then
    check.callable(fn, 2, "run")
    return (run(name, fn, ...))
  end
  check.callable(name, 1, "run", "run(f, x)", "run(f(x))")
  return (run(nil, name, fn, ...))
end

--- Waits, at a checkpoint, and returns what came: of a task, or a Future or Task of asyncio's, its results,
-- or raises its error; of a function, what the callback that it gets was called with. Where the function
-- returns something with a method `close` that takes a callback, that is called, and waited for, before the
-- task goes on. An error of a task that was awaited stays this task's, though caught: `pawait` is for what
-- may fail.
-- @param x a task, a Future, a function, or the callback's place among its arguments and then the function
-- @tparam ?function fn
-- @param ... its arguments, without the callback
-- @return what came
-- @usage
-- local vim_async = asyncio.compat.vim_async
-- local function ask(question, callback) -- stands for any function of that kind
--   asyncio.get_running_loop():call_later(1, callback, nil, "forty-two")
-- end
-- local task = vim_async.run(function() return vim_async.await(2, ask, "what is it?") end)
-- print(task:wait()) --> nil  forty-two
function vim_async.await(x, fn, ...)
  local task = tasks.checked()
  return tasks.park(task, wait_for("await", x, fn, ...))
end

--- As `await`, but returns true and the results, or false and the error of what was awaited. That this task
-- is closed, or has failed already, is raised all the same.
-- @param x as for `await`
-- @tparam ?function fn
-- @param ...
-- @treturn boolean
-- @return the results, or the error
function vim_async.pawait(x, fn, ...)
  local task = tasks.checked()
  local wait = wait_for("pawait", x, fn, ...)
  wait.protected = true
  return tasks.park(task, wait)
end

local AT_ONCE = function(callback) callback() end

--- A checkpoint that waits for nothing: children start, and what this task has to hear is raised.
function vim_async.checkpoint() tasks.park(tasks.checked(), { call = AT_ONCE }) end

--- Whether the task that runs was closed; false outside of tasks.
-- @treturn boolean
function vim_async.is_closing()
  local task = tasks.running()
  return task ~= nil and task.closing
end

--- Whether a task and its children have ended: `task:completed()`.
-- @tparam VimTask task
-- @treturn boolean
function vim_async.completed(task)
  check_task(task, 1, "completed")
  return tasks.done(task)
end

--- Makes a function that waits of one that takes a callback, as its argument at that place.
-- @tparam integer argc
-- @tparam function fn
-- @treturn function
function vim_async.wrap(argc, fn)
  if math.type(argc) ~= "integer" then check.fail(1, "wrap", "integer (the callback's place)", argc) end
  check.callable(fn, 2, "wrap")
  return function(...) return vim_async.await(argc, fn, ...) end
end

-- Time

local Timer = {}
Timer.__index = Timer

function Timer:close(callback)
  self.handle:cancel()
  callback()
end

--- What can be closed calls the callback after so long.
local function start_timer(task, ms, callback)
  local make = loops.hooks.new_timer
  if not make then
    local loop = task.home.loop
    return setmetatable({ handle = loop:call_later(math.max(ms, 0) / 1000, callback) }, Timer)
  end
  local timer = make()
  timer:start(ms, 0, callback)
  return timer
end

--- Suspends the task for so long.
-- @tparam number ms milliseconds
function vim_async.sleep(ms)
  check_number(ms, 1, "sleep")
  local task = tasks.checked()
  tasks.park(task, { call = function(callback) return start_timer(task, ms, callback) end })
end

local function ignore() end

--- Awaits a task, which is closed when it takes longer: then raises `"timeout"`, once it has ended.
-- @tparam number ms milliseconds
-- @tparam VimTask task
-- @return its results
function vim_async.timeout(ms, task)
  check_number(ms, 1, "timeout")
  check_task(task, 2, "timeout")
  local current, timed_out = tasks.checked(), false
  local timer = start_timer(current, ms, function()
    timed_out = true
    task:close()
  end)
  local _ <close> = setmetatable({}, { __close = function() timer:close(ignore) end })
  local results = table.pack(vim_async.pawait(task))
  if timed_out then error("timeout", 0) end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

-- Several tasks

--- Ended tasks wait in `list` to be taken; `waiter` is the callback of who waits for the next.
local function tell_iterator(iteration, task)
  iteration.list[#iteration.list + 1] = task
  local waiter = iteration.waiter
  iteration.waiter = nil
  if waiter then loops.later(waiter) end
end

local function next_task(iteration)
  while true do
    local list = iteration.list
    if iteration.taken < #list then
      iteration.taken = iteration.taken + 1
      return list[iteration.taken]
    elseif iteration.taken == iteration.n then
      return nil
    end
    vim_async.await(function(callback) iteration.waiter = callback end)
  end
end

local function unsubscribe_all(iteration)
  for _, unsubscribe in ipairs(iteration.unsubscribe) do unsubscribe() end
end

local ITERATION = { __gc = unsubscribe_all, __close = unsubscribe_all }

--- Iterates over tasks in the order in which they end, waiting for the next: `for task in iter(list) do`. It
-- gives the tasks; `await` or `pawait` has their results.
-- @tparam {VimTask,...} list
-- @return an iterator
-- @usage
-- local vim_async = asyncio.compat.vim_async
-- vim_async.run(function()
--   local list = { vim_async.run("slow", vim_async.sleep, 20), vim_async.run("fast", vim_async.sleep, 10) }
--   local names = {}
--   for task in vim_async.iter(list) do names[#names + 1] = task.name end
--   print(table.concat(names, ", ")) --> fast, slow
-- end):wait()
function vim_async.iter(list)
  check.table(list, 1, "iter", "list of tasks")
  for i = 1, #list do
    if not tasks.is_task(list[i]) then
      check.error(1, "iter", ("tasks of vim_async expected, got %s at %d"):format(core.kind_of(list[i]), i))
    end
  end
  local iteration = { list = {}, taken = 0, n = #list, unsubscribe = {}, waiter = nil }
  local seen = setmetatable({ iteration }, { __mode = "v" }) -- tasks do not keep it
  for i, task in ipairs(list) do
    iteration.unsubscribe[i] = task:on_complete(function()
      if seen[1] then tell_iterator(seen[1], task) end
    end)
  end
  setmetatable(iteration, ITERATION)
  return function() return next_task(iteration) end, nil, nil, iteration
end

--- Lets so many tasks in at a time, in the order of their coming; `vim_async.semaphore` makes it.
-- @type VimSemaphore
-- @usage
-- local vim_async = asyncio.compat.vim_async
-- local one, log = vim_async.semaphore(1), {}
-- local function work(name)
--   one:with(function()
--     vim_async.sleep(10)
--     log[#log + 1] = name
--   end)
-- end
-- vim_async.run(function()
--   vim_async.run(work, "first")
--   vim_async.run(work, "second")
-- end):wait()
-- print(table.concat(log, ", ")) --> first, second
local VimSemaphore = {}
VimSemaphore.__index, VimSemaphore.__name = VimSemaphore, "asyncio.VimSemaphore"

--- Makes one.
-- @tparam[opt=1] integer permits
-- @treturn VimSemaphore
function vim_async.semaphore(permits)
  if permits == nil then permits = 1 end
  if type(permits) ~= "number" then check.fail(1, "semaphore", "integer", permits) end
  if permits < 1 or permits % 1 ~= 0 then
    check.error(1, "semaphore", "permits: expected positive integer")
  end
  return setmetatable({ permits = permits, held = 0, first = 1, last = 0, line = {} }, VimSemaphore)
end

--- The first in the line has it from now on, and goes on in the loop's next turn.
local function pass_on(semaphore)
  while semaphore.first <= semaphore.last do
    local place = semaphore.line[semaphore.first]
    semaphore.line[semaphore.first] = nil
    semaphore.first = semaphore.first + 1
    if not place.left then
      place.has_it = true
      return loops.later(function()
        if not place.left then place.callback() end
      end)
    end
  end
  semaphore.held = semaphore.held - 1
end

local function leave_line(place, callback)
  if not place.left then
    place.left = true
    if place.has_it and not place.went_on then pass_on(place.semaphore) end
  end
  callback()
end

local function enter_line(semaphore, callback)
  if semaphore.held < semaphore.permits then
    semaphore.held = semaphore.held + 1
    return callback()
  end
  local place = { semaphore = semaphore, close = leave_line, left = false }
  function place.callback()
    place.went_on = true
    callback()
  end
  semaphore.last = semaphore.last + 1
  semaphore.line[semaphore.last] = place
  return place
end

--- Takes a permit, waiting for one if need be. It is a checkpoint.
function VimSemaphore:acquire()
  check.self(self, VimSemaphore, "acquire")
  vim_async.await(function(callback) return enter_line(self, callback) end)
end

--- Gives a permit back: to the first who waits. One too many is an error.
function VimSemaphore:release()
  check.self(self, VimSemaphore, "release")
  if self.held == 0 then check.raise "Semaphore value is greater than max permits" end
  pass_on(self)
end

--- Calls a function with a permit, which it gives back however that ends.
-- @tparam function fn
-- @return its results
function VimSemaphore:with(fn)
  check.self(self, VimSemaphore, "with")
  check.callable(fn, 1, "with")
  self:acquire()
  local results = table.pack(core.catch(fn))
  self:release()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end


--- Raises where a task of vim.async runs: it would stand still.
local function check_outside(name)
  if not tasks.running() then return end
  check.raise(name .. "() cannot wait in a task of vim_async: await(task)")
end

--- Waits from outside: in a task of asyncio's that is suspended; where no loop runs, the task's own runs so
-- long. In a task of vim_async it raises: there it is `await`.
-- @tparam ?number ms milliseconds, after which it raises `"timeout"`; nil: without limit
-- @return its results; its error is raised
function VimTask:wait(ms)
  check.self(self, VimTask, "wait")
  if ms ~= nil then check_number(ms, 1, "wait") end
  check_outside "wait"
  tasks.start(self)
  loops.wait(self, ms)
  if not tasks.done(self) then error("timeout", 0) end
  local result = table.pack(tasks.outcome(self))
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

--- As `wait`, but returns true and the results, or false and the error.
-- @tparam ?number ms
-- @treturn boolean
-- @return the results, or the error
function VimTask:pwait(ms)
  check.self(self, VimTask, "pwait")
  if ms ~= nil then check_number(ms, 1, "pwait") end
  check_outside "pwait"
  return core.pcall(self.wait, self, ms)
end

--- Asks it to end: at its checkpoints it gets the error `"closed"`; what it waits for, and its children, are
-- closed first. One that has not started never does.
-- @tparam ?function callback is called when it has ended, at once if it has
function VimTask:close(callback)
  check.self(self, VimTask, "close")
  if callback ~= nil then check.callable(callback, 1, "close") end
  tasks.close(self)
  if callback then self:on_complete(function() callback() end) end
end

--- Frees it from its owner, which neither waits for it nor fails with it any more.
-- @treturn VimTask itself
function VimTask:detach()
  check.self(self, VimTask, "detach")
  if tasks.detach(self) then loops.schedule(self.home, tasks.start, self) end
  return self
end

--- Calls a function when it has ended, at once if it has: with its error, or nil and its results. It starts
-- nothing. An error in it is reported.
-- @tparam function callback
-- @treturn function takes it back
function VimTask:on_complete(callback)
  check.self(self, VimTask, "on_complete")
  check.callable(callback, 1, "on_complete")
  if not tasks.done(self) then
    return tasks.observe(self, function(...) return callback(...) end)
  end
  callback(tasks.error_first(self))
  return ignore
end

--- Whether it and its children have ended.
-- @treturn boolean
function VimTask:completed()
  check.self(self, VimTask, "completed")
  return tasks.done(self)
end

--- `"running"`, `"normal"` (it has resumed another coroutine), `"awaiting"`, or `"completed"`.
-- @treturn string
function VimTask:status()
  check.self(self, VimTask, "status")
  return tasks.status(self)
end

--- Where it is, or has failed, and where the task is that it waits for.
-- @tparam ?string message stands before it
-- @treturn string
function VimTask:traceback(message)
  check.self(self, VimTask, "traceback")
  local lines = {}
  local task = self
  while task do
    local place = ("\n\t[%s] "):format(tostring(task.thread))
    local text = task.trace or debug and debug.traceback(task.thread) or ""
    text = text:gsub("^stack traceback:", ""):gsub("\n\t", (place:gsub("%%", "%%%%")))
    table.insert(lines, 1, text)
    task = task.waiting and task.waiting.target
  end
  return (message == nil and "" or tostring(message)) .. "\nstack traceback:" .. table.concat(lines)
end

--- Has its failure reported by the loop's exception handler, with its traceback; raised here if it has
-- failed.
-- @treturn VimTask itself
function VimTask:raise_on_error()
  check.self(self, VimTask, "raise_on_error")
  self:on_complete(function(err)
    if err ~= nil then error(self:traceback(err), 0) end
  end)
  return self
end

function VimTask:__tostring()
  return ("asyncio.VimTask: %s%s"):format(self.name and self.name .. ", " or "", tasks.status(self))
end

-- asyncio.await(task)
function VimTask:__await()
  tasks.start(self)
  local ok, err = core.catch(loops.suspend, self)
  if not ok then
    if not core.isinstance(err, core.CancelledError) then error(err, 0) end
    self:close()
    loops.suspend(self)
    error(err, 0)
  end
  local result = table.pack(tasks.outcome(self))
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

-- Elsewhere

--- Replaces what drives the tasks: for programs that bring a loop of their own. `wait(ms, predicate)` runs
-- it until the predicate holds, `schedule(fn)` calls in its next turn, `new_timer()` makes libuv's timers;
-- `debug` has `_inspect_tree` say where tasks were made. What is not given stays as it is.
-- @tparam table opts
function vim_async.config(opts)
  check.table(opts, 1, "config", "table")
  for _, name in ipairs { "wait", "schedule", "new_timer" } do
    local hook = opts[name]
    if hook ~= nil and not check.is_callable(hook) then
      check.error(1, "config", ("'%s': function expected, got %s"):format(name, core.kind_of(hook)))
    end
  end
  for _, name in ipairs { "wait", "schedule", "new_timer", "debug" } do
    if opts[name] ~= nil then loops.hooks[name] = opts[name] end
  end
end

local function add_tree(lines, parent, indent)
  local children = tasks.children(parent)
  for i, task in ipairs(children) do
    local last = i == #children
    local label = (task.name or "") .. (task.made_at and "@" .. task.made_at or "")
    local branch = parent and (last and "└─ " or "├─ ") or ""
    if label ~= "" then label = label .. " " end
    lines[#lines + 1] = ("%s%s%s[%s]"):format(indent, branch, label, task:status())
    add_tree(lines, task, indent .. (parent and (last and "   " or "│  ") or ""))
  end
  return lines
end

--- All tasks, as a tree.
-- @treturn string
function vim_async._inspect_tree() return table.concat(add_tree({}, nil, ""), "\n") end

return vim_async
