--- Where tasks of vim.async live: the loop that runs when they are made, else one of the module's own.
-- @module asyncio.compat.vim_loops
local check = require "asyncio.check"
local core = require "asyncio.core"
local kept = require "asyncio.compat.home"
local runner = require "asyncio.runner"

local loops = {}

--- What `vim_async.config` has put in place of the loop's: `schedule`, `wait`, `new_timer`; and `debug`.
loops.hooks = {}

local homes = setmetatable({}, { __mode = "k" }) -- loop → its record; the kept loop's has a `runner`

--- The record of the loop that runs, else of the one that is kept.
function loops.current()
  local loop, runs = kept.loop()
  local home = homes[loop]
  if not home then
    home = { loop = loop, live = {}, runner = runs }
    homes[loop] = home
  end
  return home
end

--- Calls fn in the loop's next turn. home: nil: the current one
local function schedule(home, fn, ...)
  local hook = loops.hooks.schedule
  if not hook then return (home or loops.current()).loop:call_soon(fn, ...) end
  local args = table.pack(...)
  hook(function() fn(table.unpack(args, 1, args.n)) end)
end

loops.schedule = schedule

function loops.later(fn, ...) schedule(nil, fn, ...) end

--- Reports what a callback raised.
local function report(task, err, traceback)
  task.home.loop:call_exception_handler {
    message = "a callback of Task:on_complete failed",
    exception = err,
    traceback = traceback,
  }
end

--- Calls a callback, a stranger.
function loops.call(task, fn, ...)
  local caught, ok, err, traceback = core.catch(core.xpcall, fn, core.traceback, ...)
  if not caught then
    report(task, ok)
  elseif not ok then
    report(task, err, traceback)
  end
end

-- Tasks without an owner are closed when the run of their loop ends. The module's own loop never does.

--- A task without an owner is under way.
function loops.entered(task)
  local home = task.home
  if not home.runner then home.live[task] = true end
end

--- It has ended.
function loops.left(task) task.home.live[task] = nil end

local function close_all(live)
  local list = {}
  for task in pairs(live) do list[#list + 1] = task end
  for _, task in ipairs(list) do task:close() end
  for _, task in ipairs(list) do loops.suspend(task) end
end

--- At the end of a run: adds the task that does it.
local function end_tasks(loop, enders)
  local home = homes[loop]
  if home and next(home.live) then enders[#enders + 1] = loop:create_task(close_all, home.live) end
end

table.insert(runner.enders, end_tasks)

-- Waiting from outside of them

--- Suspends a task of asyncio's until that of vim.async has ended, or for so many milliseconds.
local function suspend(task, ms)
  if task:completed() then return end
  local loop, over = core.get_running_loop(), core.Event()
  if loop ~= task.home.loop then
    check.raise "the task lives on another event loop, which does not run meanwhile"
  end
  local function wake() over:set() end
  local unsubscribe = task:on_complete(wake)
  local timer = ms and loop:call_later(math.max(ms, 0) / 1000, wake)
  local ok, err = core.catch(over.wait, over)
  unsubscribe()
  if timer then timer:cancel() end
  if not ok then error(err, 0) end
end

loops.suspend = suspend

--- Runs the loop where the task lives.
local function run(task, ms)
  local home = task.home
  if home.runner then return home.runner:run(suspend, task, ms) end
  if home.loop:is_closed() then
    error(core.ClosedError(core.place() .. "the event loop of the task is closed: it will never be done"), 0)
  end
  home.loop:run_until_complete(suspend, task, ms)
end

--- Waits until the task has ended, or so long. ms: nil: without limit
function loops.wait(task, ms)
  local hook = loops.hooks.wait
  if hook then
    hook(ms or 2 ^ 32 - 1, function() return task:completed() end)
  elseif not core.in_run() then
    run(task, ms)
  else
    core.spend_in_task()
    suspend(task, ms)
  end
end

return loops
