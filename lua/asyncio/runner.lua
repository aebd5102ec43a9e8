--- Running a program on a loop: `run` and `Runner`.
-- @module asyncio.runner
local check = require "asyncio.check"
local core = require "asyncio.core"
local graph = require "asyncio.graph"
local threads = require "asyncio.threads"

local isinstance = core.isinstance

local CANCEL_ROUNDS = 3 -- how often a task that goes on all the same is cancelled at the end
local CANCEL_PAUSE = 1  -- seconds that each time it has to end
local POOL_PATIENCE = 5 -- seconds that pools have to destroy what they still have, before that is cancelled
local FLUSH_TIMEOUT = 1 -- seconds that peers have to take what was written
local FLUSH_PAUSE = 0.002 -- seconds between two looks at what has left, at first ...
local LONGEST_PAUSE = 0.05 -- ... and later, and at who is shielded
local RUNNING = "an event loop is already running in this Lua state: call main() itself, or create_task(main)"

local hosts = setmetatable({}, { __mode = "k" }) -- main tasks of scripts, and the REPL's inputs

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

local OPTIONS = check.options {
  "Runner", 1,
  { "debug", "boolean" }, { "loop_factory", "callable" }, { "executor_timeout", "seconds" },
  { "flush_timeout", "seconds" }, { "cancel_timeout", "seconds" }, { "reuse_coroutines", "boolean" },
  { "stop_signals", "list" }, { "measure_tasks", "boolean" }, { "trace", "any" },
}

local SIGNAL = 'signal expected, a name like "SIGTERM" or a number'
local UNFIT = "a signal that a program can catch expected"
local NO_LIST = 'list of signals expected, as { "SIGTERM", "SIGHUP" }, got a table with '

--- What is wrong with a list whose elements `ipairs` doesn't all find; nil: nothing.
local function flaw(list)
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 then
      local words = type(key) == "string" and '"' .. key .. '"' or type(key) == "number" and key
      return "the key " .. (words or core.kind_of(key))
    elseif key > 1 and list[key - 1] == nil then
      return ("nothing at %d"):format(key - 1)
    end
  end
end

--- The numbers of stop signals.
local function check_signals(list)
  local numbers, wrong = {}, flaw(list)
  if wrong then check.error(1, "Runner", "'stop_signals': " .. NO_LIST .. wrong) end
  for i, signal in ipairs(list) do
    local number, unfit = core.signal_number(signal)
    if not number or unfit then
      local got = type(signal) == "string" and '"' .. signal .. '"' or type(signal) == "number" and signal
      check.error(1, "Runner", ("'stop_signals': %s, got %s"):format(unfit and UNFIT or SIGNAL,
        got or core.kind_of(signal)))
    end
    numbers[i] = number
  end
  return numbers
end

--- Makes one: `local runner <close> = asyncio.Runner{debug=true}`.
-- @tparam[opt] table opts `debug`; `loop_factory`: a function that makes the loop;
-- `executor_timeout` (300): seconds that jobs of the default executor have to end at the end;
-- `flush_timeout` (1): seconds that output to peers has to leave at the end, what is thrown away then is
-- reported; standard output waits for its reader without limit, until Ctrl-C;
-- `cancel_timeout` (1): seconds that a cancelled task has to end before it is cancelled again;
-- `reuse_coroutines` (false): a task may run in the coroutine of one that has ended, so that starting one
-- takes a little more than half the time. Not for a program with a library that keeps something for each
-- coroutine (under `coroutine.running()`): a task would find there what an earlier one has left;
-- `measure_tasks` (false): `Task:stats` tells for how long tasks run, and wait;
-- `stop_signals` ({}): signals that do as Ctrl-C does, a list of names or numbers (`{ "SIGTERM" }`): they are
-- counted together, and the KeyboardInterrupt says in `signal` which it was. One that is ignored when the run
-- begins, or has a handler of the loop's, is left alone; so are all on a thread other than the main one;
-- `trace`: what `asyncio.trace` takes, a path say: the trace is on from now on until the runner is closed.
-- @treturn Runner
-- @function Runner
local function new_runner(opts)
  opts = OPTIONS(opts)
  local signals = opts.stop_signals and check_signals(opts.stop_signals)
  local trace = opts.trace ~= nil and require "asyncio.tracing".trace(opts.trace) or nil
  return setmetatable({ opts = opts, signals = signals, trace = trace, abandoned = {} }, Runner)
end

--- What a loop_factory gave.
local function check_made(loop)
  local kind = core.kind_of(loop)
  if kind ~= "asyncio.Loop" then
    check.raise(("the runner's loop_factory gave %s in place of an event loop"):format(kind))
  end
  if loop:is_closed() then check.raise "the runner's loop_factory gave an event loop that is closed" end
end

--- Its loop, made at the first call.
-- @treturn Loop
function Runner:get_loop()
  check.self(self, Runner, "get_loop")
  if self.closed then error(core.ClosedError "the runner is closed", 2) end
  if not self.loop then
    local factory = self.opts.loop_factory
    local loop = (factory or core.new_event_loop)()
    if factory then check_made(loop) end
    if self.loop or self.closed then -- a finaliser that ran meanwhile
      loop:close()
      return self:get_loop()
    end
    self.loop = loop
    local debug = self.opts.debug
    if debug == nil then -- a host may keep `os` from us
      debug = os ~= nil and os.getenv "ASYNCIO_DEBUG" == "1"
    end
    loop:set_debug(debug)
    loop:_reuse(self.opts.reuse_coroutines)
    if self.opts.measure_tasks then loop:measure_tasks(true) end
    if core.monitor_path() or os ~= nil and os.getenv "ASYNCIO_MONITOR" == "1" then
      require "asyncio.monitoring".join(loop)
    end
  end
  return self.loop
end

local function check_main(main)
  if core.isfuture(main) or type(main) == "thread" or check.is_callable(main) then return end
  check.fail_called(1, "run", "function or coroutine", main, "run(main, x)", "run(main(x))")
end

-- Ctrl-C, and the other signals that do as it does

local function words_of(signal)
  if signal == "SIGINT" then return "interrupted by Ctrl-C" end
  return "interrupted by " .. (type(signal) == "number" and "signal " or "") .. signal
end

--- What has interrupted the run last.
local function cause(self)
  local signal = core.interrupted_by(self.loop) or "SIGINT"
  return signal, words_of(signal)
end

--- Notes where the task waits that is about to be cancelled.
local function note_wait(self, task)
  if not task.get_name then return end -- a plain future
  local words, traceback = graph.waiting(task)
  if not words then return end
  self.waited, self.waited_traceback = words, traceback
  if self.loop:get_debug() then
    self.waited_traceback = traceback .. "\nall tasks:\n" .. graph.of_loop(self.loop)
  end
end

--- The first cancels the task. The next, when that has come to nothing, breaks it.
local function interrupt(self, task)
  if not self.interrupted or task.get_name and task:cancelling() == 0 then
    self.interrupted = true
    self.signal = cause(self)
    pcall(note_wait, self, task)
    task:cancel()
  elseif task.get_name then
    task:_break()
  else
    local signal, words = cause(self)
    error(core.KeyboardInterrupt { message = words, signal = signal }, 0)
  end
end

--- Has SIGINT call a function while the loop runs. For `run` it stays so until all has been cleaned up.
local function catch(self, task, fn)
  self.interrupted, self.waited, self.waited_traceback = false, nil, nil
  self.caught, self.untold = core.catch_interrupt(self.loop, fn, task, self.signals)
end

local function release(self)
  if self.caught then core.release_interrupt(self.loop) end
  self.caught = false
end

local function keyboard_interrupt(self)
  local where = self.waited and ": main waited " .. self.waited or ""
  return core.KeyboardInterrupt {
    message = words_of(self.signal) .. where,
    traceback = self.waited_traceback,
    signal = self.signal,
  }
end

--- Plain lua shows of an object its `tostring`, which has the way from now on. The REPL shows none of Ctrl-C.
local function mark_left(self, task, err)
  local traceback = task:traceback()
  if isinstance(err, core.KeyboardInterrupt) then
    if not self.prompts then core.mark_left(err, rawget(err, "traceback") or traceback) end
  elseif isinstance(err, core.Error) or isinstance(err, core.CancelledError) then
    core.mark_left(err, traceback)
  end
end

local function finish(self, task, ok, ...)
  core.release_cancel(self.loop)
  self.warned = self.whole and self.interrupted and not (task.get_name and task:cancelling() == 0)
  if not self.whole then release(self) end
  if ok then return ... end
  local err = ...
  if self.interrupted and task:cancelled() and isinstance(err, core.CancelledError) then
    err = keyboard_interrupt(self)
  end
  self.failed = task
  mark_left(self, task, err)
  error(err, 0)
end

--- Has Ctrl-C interrupt this task. The REPL says by `interruptible` which it is then, if any.
function Runner:_watch(task)
  catch(self, task, function()
    if self.interruptible then task = self.interruptible() end
    if task then return interrupt(self, task) end
    core.interrupt_answered(self.loop)
    self.on_interrupt()
  end)
end

--- Runs a function as a task, to its end.
-- Ctrl-C cancels it, and raises KeyboardInterrupt here. If it catches that and goes on, without a word
-- (`task:uncancel()`), the next Ctrl-C raises KeyboardInterrupt in whatever it does, until it has ended.
-- A third ends the process. The error's `signal` is "SIGINT", or which of the `stop_signals` it was.
-- Errors leave as they do from `asyncio.run`, but for strings, to which nothing is appended.
-- @param main a function, or a coroutine that has not started
-- @param ... its arguments
-- @return its results
function Runner:run(main, ...)
  check.self(self, Runner, "run")
  check_main(main)
  if core.in_run() then check.raise(RUNNING) end
  local loop = self:get_loop()
  local task = core.isfuture(main) and main or loop:create_task(main, ...)
  self:_watch(self.interruptible and self.interruptible() or task)
  if self.script then hosts[task] = true end
  core.catch_cancel(loop, function() task:cancel() end)
  if task.get_name then task:_be_traced() end
  return finish(self, task, pcall(loop.run_until_complete, loop, task))
end

-- What follows waits by callbacks and futures that nobody else has: a task would be among `all_tasks`, and a
-- program that ends by cancelling all of them would break off its own end.

--- Waits for the tasks, so long at most.
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
end

--- All that have not been given up.
local function tasks_left(self, loop)
  local left = {}
  for _, task in ipairs(core.all_tasks(loop)) do
    if not self.abandoned[task] then left[#left + 1] = task end
  end
  return left
end

--- Ctrl-C has come once: what is shielded may end, but nothing else is waited for then.
local function raise_held(self)
  if self.held then error(self.held, 0) end
end

local function is_shielded(loop)
  for _, task in ipairs(core.all_tasks(loop)) do
    if task:_is_shielded() then return true end
  end
  return false
end

--- The request that waited for the end of a shield is delivered first.
local function hold(self, loop, err)
  self.held = err
  local function look()
    if is_shielded(loop) then return loop:_call_later(LONGEST_PAUSE, look) end
    loop:call_soon(raise_held, self)
  end
  look()
end

local function cancel_all(self, loop)
  local tasks = tasks_left(self, loop)
  for _ = 1, CANCEL_ROUNDS do
    if #tasks == 0 then return end
    -- One whose request is still on its way needs no other, which would cut its cleaning up. One that can't
    -- be told stops no other.
    for _, task in ipairs(tasks) do pcall(task._ask, task) end
    wait_for_end(loop, tasks, self.opts.cancel_timeout or CANCEL_PAUSE)
    tasks = tasks_left(self, loop)
  end
  for _, task in ipairs(tasks) do
    self.abandoned[task] = true
    loop:call_exception_handler {
      message = "a task went on after it had been cancelled again and again, and is abandoned",
      task = task,
      source_traceback = task:traceback(),
    }
  end
end

-- Called at the end of a run with its loop and a list, to which they add tasks that end what they have.
local enders = {}

--- What pools still have is destroyed.
local function end_pools(self, loop)
  local tasks = core.end_pools(loop)
  for _, ender in ipairs(enders) do ender(loop, tasks) end
  if #tasks == 0 then return end
  wait_for_end(loop, tasks, POOL_PATIENCE)
  cancel_all(self, loop)
end

--- Lets what was written leave. Peers have so long; who reads standard output, a pager say, is waited for.
local function flush(self, loop)
  local timeout = self.opts.flush_timeout or FLUSH_TIMEOUT
  local deadline = loop:time() + timeout
  local flushed, pause = loop:create_future(), FLUSH_PAUSE
  local function look()
    local peers, standard = loop:_unsent()
    if standard > 0 or peers > 0 and loop:time() < deadline then
      pause = math.min(1.1 * pause, LONGEST_PAUSE)
      loop:_call_later(pause, look)
    else
      flushed:set_result()
    end
  end
  look()
  loop:run_until_complete(flushed)
  loop:_report_unsent(("not sent within %g s (flush_timeout)"):format(timeout))
end

local function clean_up(self, loop)
  self.cancels = true
  cancel_all(self, loop)
  end_pools(self, loop)
  self.cancels = false
  raise_held(self)
  threads.shutdown_default(loop, self.opts.executor_timeout)
  flush(self, loop)
end

--- Cleans up; Ctrl-C ends what is waited for meanwhile. The first of all waits for shielded blocks.
local function clean_up_interruptibly(self, loop)
  local warned = self.warned
  catch(self, nil, function()
    local signal, words = cause(self)
    local err = core.KeyboardInterrupt { message = words .. " as the run cleaned up", signal = signal }
    local may_wait = self.cancels and not (warned or self.untold) and is_shielded(loop)
    warned = true
    if not may_wait then error(err, 0) end
    hold(self, loop, err)
  end)
  local untold = self.untold and self.failed == nil -- Ctrl-C came as main ended
  local ok, err = pcall(clean_up, self, loop)
  if ok and untold then
    ok, err = false, core.KeyboardInterrupt { message = words_of(untold), signal = untold }
  end
  return ok, err
end

--- Cancels what is left and waits for it, shuts the default executor down and waits for its jobs, sends
-- what was written, closes the loop. Ctrl-C ends the waiting, the first once no task is shielded any more,
-- and is raised as KeyboardInterrupt.
function Runner:close()
  check.self(self, Runner, "close")
  if self.closed then return end
  if self.loop and core.in_run() then check.raise "cannot close a runner while a loop runs" end
  self.closed = true
  local _ <close> = self.trace
  local loop = self.loop
  if not loop or loop:is_closed() then return end
  local ok, err = clean_up_interruptibly(self, loop)
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

--- Cleaning up has failed, or was broken off.
local function raise_instead(err, results)
  if not results[1] and isinstance(err, core.KeyboardInterrupt) then
    if isinstance(results[2], core.KeyboardInterrupt) then error(results[2], 0) end
    err.message = ("%s; main had failed: %s"):format(err.message, core.words(results[2]))
    err.context = results[2]
  end
  error(err, 0)
end

local function run_whole(runner, main, ...)
  runner.whole = true
  local results = table.pack(pcall(runner.run, runner, main, ...))
  local closed, why = pcall(runner.close, runner)
  if not closed then raise_instead(why, results) end
  if results[1] then return table.unpack(results, 2, results.n) end
  local err, traceback = results[2], runner.failed and runner.failed:traceback()
  if type(err) == "string" and traceback then err = err .. "\n" .. traceback end
  error(err, 0)
end

--- In the main task of a script: there is a loop, and it goes on.
local function run_here(main, ...)
  if core.isfuture(main) or type(main) == "thread" then return core.await(main) end
  return main(...)
end

--- Runs a function as the main task of a new loop, and everything it starts.
-- At the end, however it comes, all other tasks are cancelled and waited for, what was written is
-- sent, and the loop is closed. An error leaves as it is; to one that is a string the task's
-- traceback is appended, and the `tostring` of an `Error` has it from then on. Ctrl-C is as for
-- `Runner:run`; while the rest is waited for it ends the waiting (the first of all waits for shielded
-- blocks), and leaves as KeyboardInterrupt. When every task waits for another and nothing can come, it raises
-- DeadlockError where main waits.
-- In the main task of a script (`asyncio script.lua`) or of the REPL there is a loop already: main runs
-- there, as if called, and nothing ends.
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
  check_main(main)
  if not core.in_run() then return run_whole(new_runner(), main, ...) end
  if not (hosts[core.current_task()] and core.can_wait()) then check.raise(RUNNING) end
  return run_here(main, ...)
end

--- Runs a script as `run` would, but in its task `run` itself may be called. Whether it ended well, else
-- its error and the traceback.
local function run_script(main, ...)
  local runner = new_runner { stop_signals = { "SIGTERM" } }
  runner.script = true
  local ok, err = pcall(run_whole, runner, main, ...)
  if ok then return true end
  local traceback = isinstance(err, core.KeyboardInterrupt) and err.traceback
  return false, err, traceback or runner.failed and runner.failed:traceback()
end

return {
  Runner = new_runner,
  run = run,
  run_script = run_script,
  host = function(task) hosts[task] = true end,
  enders = enders,
}
