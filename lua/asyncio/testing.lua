--- Tests that wait: for luaunit, busted, or any other that calls functions.
--
-- What `async` makes is handed to busted's `it`, or is a method of a luaunit class.
-- @module asyncio.testing
-- @usage
-- local asyncio = require "asyncio"
-- local testing = require "asyncio.testing"
--
-- TestSleep = {}
-- TestSleep.test_sleeps_for_a_day = testing.async(function()
--   local loop = asyncio.get_running_loop()
--   local began = loop:time()
--   asyncio.sleep(86400)
--   assert(loop:time() - began >= 86400)
-- end, { clock = "virtual" })
--
-- TestSleep.test_sleeps_for_a_day() -- luaunit calls it; it takes a millisecond
local check = require "asyncio.check"
local core = require "asyncio.core"
local graph = require "asyncio.graph"
local runner = require "asyncio.runner"

local testing = {}

local CLOSING_PAUSE = 0.005 -- seconds between two looks at what is being closed ...
local CLOSING_LOOKS = 200   -- ... and how many of them
-- Whether those who wait in vain are looked for wherever a test waits, not now and then only.
local seek_always = os ~= nil and os.getenv "ASYNCIO_SEEK" == "always"

local SLOW_STEPS = { "^a task held the loop", "^a callback took" } -- a busy machine's fault, not the test's

local function slow_step(context)
  for _, pattern in ipairs(SLOW_STEPS) do
    if tostring(context.message):find(pattern) then return true end
  end
  return false
end

--- Keeps what is reported in the list.
local function collect_reports(loop, reports)
  loop:set_exception_handler(function(_, context)
    if not slow_step(context) then reports[#reports + 1] = context end
  end)
end

--- Where the test is: its errors are told by whoever runs it, with a traceback that ends in here.
local function place_of(fn)
  if type(fn) ~= "function" or not debug then return "" end -- a host may keep `debug` from us
  local info = debug.getinfo(fn, "S")
  return info.what == "C" and "" or ("%s:%d: "):format(info.short_src, info.linedefined)
end

local function fail(fn, text) error(place_of(fn) .. text, 0) end

local function fail_for_reports(fn, reports)
  if #reports == 0 then return end
  local lines = {}
  for i, context in ipairs(reports) do lines[i] = core.report_text(context) end
  fail(fn, "the test left an error that nobody looked at: " .. table.concat(lines, "\n"))
end

local function fail_for_tasks(fn, loop)
  local left = core.all_tasks(loop)
  if #left == 0 then return end
  local lines = {}
  for i, task in ipairs(left) do lines[i] = "  " .. tostring(task):gsub(" %(0x%x+%)$", "") end
  fail(fn, ("the test left %d task%s that had not ended:\n%s\n%s"):format(#left, #left > 1 and "s" or "",
    table.concat(lines, "\n"), graph.of_loop(loop)))
end

--- What is being closed may need a few turns.
local function fail_for_handles(fn, loop)
  for _ = 1, CLOSING_LOOKS do
    if loop:_open_handles() == 0 then return end
    loop:run_until_complete(core.sleep, CLOSING_PAUSE)
  end
  local n, open = loop:_open_handles(), core.testing.open_handles(loop)
  fail(fn, ("the test left %d open handle%s:\n  %s"):format(n, n > 1 and "s" or "",
    table.concat(open, "\n  ")))
end

--- The error of the test, told with what helps to find its cause.
local function explained(err, task)
  if type(err) == "string" and task and task:traceback() then return err .. "\n" .. task:traceback() end
  return err
end

--- Runs the body, then looks for what it left.
local function run_body(self, loop, fn, timeout, ...)
  local timed_out
  core.testing.set_alarm(loop, timeout, function()
    timed_out = ("the test took longer than %g s; its tasks:\n%s"):format(timeout, graph.of_loop(loop))
    loop:stop()
  end)
  core.testing.note_sites(loop)
  core.seek_stuck(loop, seek_always)
  local task = loop:create_task(fn, ...)
  task:set_name "test"
  local results = table.pack(pcall(self.run, self, task))
  local err = results[2]
  if core.testing.set_alarm(loop, nil) and core.isinstance(err, core.KeyboardInterrupt) then
    timed_out = ("the test took longer than %g s, and did not wait for anything:\n%s"):format(timeout,
      err.traceback)
  end
  if timed_out then
    fail(fn, timed_out)
  elseif results[1] then
    fail_for_tasks(fn, loop)
    fail_for_handles(fn, loop)
    return table.unpack(results, 2, results.n)
  elseif core.isinstance(err, core.DeadlockError) then
    fail(fn, "deadlock: " .. core.words(err.message))
  elseif not task:done() and core.isinstance(err, core.Error) then -- it never ran
    fail(fn, core.words(err.message))
  end
  error(explained(err, task), 0)
end

local OPTIONS = check.options { "async", 2, { "timeout", "positive" }, { "clock", "choice", "real|virtual" } }

--- Makes a plain function of one that waits: it runs `fn` in a loop of its own, and fails when `fn` fails or
-- takes too long (on Linux also where it never waits), and when it leaves a task, an open handle, or an
-- error that nobody looked at: it is said which, and where that was made or opened.
-- With the virtual clock time stands still while a task can run, and jumps to the next timer when none can.
-- All tasks blocked and no timer is a deadlock: it fails at once, and says what each task waits for.
-- @tparam function fn gets the arguments of the function that is returned
-- @tparam[opt] table opts `timeout` (5): seconds of real time; `clock` ("real"): or "virtual"
-- @treturn function returns what fn returns
function testing.async(fn, opts)
  check.callable(fn, 1, "async", "async(f)", "async(f())")
  opts = OPTIONS(opts)
  local timeout, virtual = opts.timeout or 5, opts.clock == "virtual"
  return function(...)
    local reports, results = {}
    do
      local self <close> = runner.Runner {}
      local loop = self:get_loop()
      if virtual then core.testing.set_virtual(loop) end
      collect_reports(loop, reports)
      results = table.pack(run_body(self, loop, fn, timeout, ...))
    end
    fail_for_reports(fn, reports)
    return table.unpack(results, 1, results.n)
  end
end

testing.wait_all_tasks_blocked = core.testing.wait_all_tasks_blocked

return testing
