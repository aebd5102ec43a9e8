--- Where tasks of vim.async live: the loop that runs when they are made, else one of the module's own.
-- @module asyncio.compat.vim_loops
local check = require "asyncio.check"
local core = require "asyncio.core"
local runner = require "asyncio.runner"

local loops = {}

--- What `vim_async.config` has put in place of the loop's: `schedule`, `wait`, `new_timer`; and `debug`.
loops.hooks = {}

local homes = setmetatable({}, { __mode = "k" }) -- loop → its record
local own -- the record of the module's own loop, which has a `runner`

local function home_of(loop)
  local home = homes[loop]
  if not home then
    home = { loop = loop, live = {}, keeper = false }
    homes[loop] = home
  end
  return home
end

local function own_home()
  if not own then
    local owner = runner.Runner {}
    own = home_of(owner:get_loop())
    own.runner = owner
  end
  return own
end

--- The record of the loop that runs, else the module's own.
function loops.current()
  local ok, loop = pcall(core.get_running_loop)
  if ok and loop then return home_of(loop) end
  return own_home()
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

-- Tasks without an owner end with the run of their loop: a task of asyncio's closes them when that is
-- cancelled at the end. The module's own loop never ends.

local function keep(home, idle)
  home.keeper:_unshield(home.shield)
  local ok, err = core.catch(idle.wait, idle)
  if ok then return end
  local live = {}
  for task in pairs(home.live) do live[#live + 1] = task end
  for _, task in ipairs(live) do task:close() end
  if next(home.live) then idle:wait() end
  error(err, 0)
end

--- A task without an owner is under way.
function loops.entered(task)
  local home = task.home
  if home.runner or home.loop:is_closed() then return end
  home.live[task] = true
  if home.keeper then return end
  home.idle = core.Event()
  home.keeper = home.loop:create_task(keep, home, home.idle)
  home.keeper:set_name "tasks of vim_async"
  home.shield = home.keeper:_shield() -- it shall begin, though it be cancelled before that
end

--- It has ended.
function loops.left(task)
  local home = task.home
  if not home.live[task] then return end
  home.live[task] = nil
  if home.keeper and not next(home.live) then
    home.keeper = false
    home.idle:set()
  end
end

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
