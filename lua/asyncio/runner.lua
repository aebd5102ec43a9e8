--- Running a program on a loop: `run` and `Runner`.
-- @module asyncio.runner
local check = require "asyncio.check"
local core = require "asyncio.core"
local threads = require "asyncio.threads"

local isinstance = core.isinstance

local CANCEL_ROUNDS = 3 -- how often a task that goes on all the same is cancelled at the end
local CANCEL_PAUSE = 1  -- seconds that each time it has to end
local FLUSH_PAUSE = 0.002 -- seconds between two looks at what has left

--- Runs functions on one loop, several times if need be; `asyncio.Runner` makes it.
-- @type Runner
-- @usage
-- local asyncio = require "asyncio"
--
-- local runner <close> = asyncio.Runner { debug = true }
-- local queue = asyncio.Queue()
-- runner:run(function() queue:put "left for later" end)
-- print(runner:run(function() return queue:get() end)) --> left for later
local Runner = {}
Runner.__index, Runner.__name = Runner, "asyncio.Runner"

--- Makes one: `local runner <close> = asyncio.Runner{debug=true}`.
-- @tparam[opt] table opts `debug`; `loop_factory`: a function that makes the loop;
-- `executor_timeout` (300): seconds that jobs of the default executor have to end at the end;
-- `flush_timeout` (1): seconds that output has to leave at the end;
-- `cancel_timeout` (1): seconds that a cancelled task has to end before it is cancelled again
-- @treturn Runner
-- @function Runner
local function new_runner(opts)
  return setmetatable({ opts = check.options(opts, 1, "Runner") }, Runner)
end

--- Its loop, made at the first call.
-- @treturn Loop
function Runner:get_loop()
  if self.closed then error(core.ClosedError "the runner is closed", 2) end
  if not self.loop then
    local loop = (self.opts.loop_factory or core.new_event_loop)()
    if self.loop or self.closed then -- a finaliser that ran meanwhile
      loop:close()
      return self:get_loop()
    end
    self.loop = loop
    local debug = self.opts.debug
    if debug == nil then debug = os ~= nil and os.getenv "ASYNCIO_DEBUG" == "1" end -- a host may keep `os` from us
    loop:set_debug(debug)
  end
  return self.loop
end

local function check_main(main)
  if not core.isfuture(main) and type(main) ~= "thread" then
    local meta = getmetatable(main)
    if type(main) ~= "function" and not (type(meta) == "table" and meta.__call) then
      check.fail(1, "run", "function or coroutine", main, 3)
    end
  end
end

local function finish(self, task, caught, ok, ...)
  if caught then core.release_interrupt(self.loop) end
  core.release_cancel(self.loop)
  if ok then return ... end
  local err = ...
  if self.interrupted and task:cancelled() and isinstance(err, core.CancelledError) then
    err = core.KeyboardInterrupt "interrupted by Ctrl-C"
  end
  self.failed = task
  error(err, 0)
end

--- Runs a function as a task, to its end.
-- Ctrl-C cancels it, and raises KeyboardInterrupt here.
-- @param main a function, or a coroutine that has not started
-- @param ... its arguments
-- @return its results
function Runner:run(main, ...)
  check_main(main)
  if core.in_run() then error(core.Error "an event loop is already running in this Lua state", 2) end
  local loop = self:get_loop()
  local task = core.isfuture(main) and main or loop:create_task(main, ...)
  self.interrupted = false
  local caught = core.catch_interrupt(loop, function()
    self.interrupted = true
    task:cancel()
  end)
  core.catch_cancel(loop, function() task:cancel() end)
  return finish(self, task, caught, pcall(loop.run_until_complete, loop, task))
end

-- What follows waits by callbacks and futures that nobody else has: a task would be among `all_tasks`, and a
-- program that ends by cancelling all of them would break off its own end.

--- Waits for the tasks, so long at most; those that are left.
local function wait_for_end(loop, tasks, seconds)
  local left, all_done = 0, loop:create_future()
  local function settle()
    if not all_done:done() then all_done:set_result() end
  end
  for _, task in ipairs(tasks) do
    left = left + 1
    task:_on_done(function()
      left = left - 1
      if left == 0 then settle() end
    end)
  end
  local handle = loop:_call_later(seconds, settle)
  loop:run_until_complete(all_done)
  handle:cancel()
  return core.all_tasks(loop)
end

local function cancel_all(self, loop)
  local tasks = core.all_tasks(loop)
  for _ = 1, CANCEL_ROUNDS do
    if #tasks == 0 then return end
    for _, task in ipairs(tasks) do task:cancel() end
    tasks = wait_for_end(loop, tasks, self.opts.cancel_timeout or CANCEL_PAUSE)
  end
  for _, task in ipairs(tasks) do
    loop:call_exception_handler {
      message = "a task went on after it had been cancelled again and again, and is abandoned",
      task = task,
      source_traceback = task:traceback(),
    }
  end
end

--- Lets what was written leave.
local function flush(self, loop)
  local deadline = loop:time() + (self.opts.flush_timeout or 1)
  local flushed = loop:create_future()
  local function look()
    if loop:_unsent() + loop:_unpumped() > 0 and loop:time() < deadline then
      loop:_call_later(FLUSH_PAUSE, look)
    else
      flushed:set_result()
    end
  end
  look()
  loop:run_until_complete(flushed)
end

--- Cancels what is left and waits for it, shuts the default executor down and waits for its jobs, sends
-- what was written, closes the loop.
function Runner:close()
  if self.closed then return end
  if core.in_run() then error(core.Error "cannot close a runner while a loop runs", 2) end
  self.closed = true
  local loop = self.loop
  if not loop or loop:is_closed() then return end
  local ok, err = pcall(function()
    cancel_all(self, loop)
    threads.shutdown_default(loop, self.opts.executor_timeout)
    flush(self, loop)
  end)
  loop:close()
  if not ok then error(err, 0) end
end

function Runner:__tostring()
  local state = self.closed and "closed" or self.loop and tostring(self.loop) or "not used yet"
  return "asyncio.Runner: " .. state
end

function Runner:__close()
  if core.in_run() then -- the state is being closed beneath a task: the loop's finaliser does the rest
    self.closed = true
    return
  end
  return self:close()
end

--- Runs a function as the main task of a new loop, and everything it starts.
-- At the end, however it comes, all other tasks are cancelled and waited for, what was written is
-- sent, and the loop is closed. An error leaves as it is; to one that is a string the task's
-- traceback is appended.
-- @param main a function, or a coroutine that has not started
-- @param ... its arguments
-- @return its results
-- @usage
-- local asyncio = require "asyncio"
--
-- local function main(name)
--   asyncio.sleep(0.1)
--   return "hello, " .. name
-- end
--
-- print(asyncio.run(main, "world")) --> hello, world
-- @function run
local function run(main, ...)
  if core.in_run() then error(core.Error "an event loop is already running in this Lua state", 2) end
  check_main(main)
  local runner = new_runner()
  local results = table.pack(pcall(runner.run, runner, main, ...))
  runner:close()
  if results[1] then return table.unpack(results, 2, results.n) end
  local err, traceback = results[2], runner.failed and runner.failed:traceback()
  if type(err) == "string" and traceback then err = err .. "\n" .. traceback end
  error(err, 0)
end

return { Runner = new_runner, run = run }
