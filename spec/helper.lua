-- helper.lua - what the specs share. A spec file looks like this:
--
--     local t = require "helper"
--     TestSleep = {}
--     function TestSleep:test_gives_back_its_values() t.run(function() ... end) end
--     t.finish()
--
-- A test that asserts nothing says by its name what does not crash, hang, or leave anything: t.run looks.
local lu = require "luaunit"
local asyncio = require "asyncio"
local testing = require "asyncio.testing"

local gc = os.getenv "SPEC_GC" -- the suite again under a collector that never rests
if gc == "incremental" then
  collectgarbage("incremental", 1, 1000, 1)
elseif gc == "generational" then
  collectgarbage("generational")
end

local t = setmetatable({ lu = lu, asyncio = asyncio, testing = testing }, { __index = lu })

t.slow = os.getenv "SPEC_SLOW" ~= nil -- under valgrind and the like: smaller numbers

t.lua55 = _VERSION ~= "Lua 5.4"
t.NO_ERROR = select(2, pcall(error, nil)) -- what Lua makes of error(nil): a text, since 5.5

--- How C is compiled against the Lua that the specs run under, in a shell.
t.cflags = os.getenv "SPEC_LUA_CFLAGS" or "$(pkg-config --cflags lua5.4)"
t.libs = os.getenv "SPEC_LUA_LIBS" or "$(pkg-config --libs lua5.4)"

--- n, or fewer where everything is slow.
function t.count(n)
  local part = t.slow and 20 or gc == "incremental" and 4 or 1
  return math.max(1, n // part)
end

--- Sets a parameter of the collector ("pause", "stepmul"); what it was.
function t.gc_parameter(name, value)
  if t.lua55 then return collectgarbage("param", name, value) end
  return collectgarbage("set" .. name, value)
end

--- Collects garbage until nothing more goes.
function t.collect()
  for _ = 1, 4 do collectgarbage "collect" end
end

function t.is_slow_step(context)
  return context.message:find "held the loop" or context.message:find "a callback took"
end

--- Lists what is reported to the loop from now on; slow steps only if wanted: a busy machine is no failure.
function t.reports_of(loop, slow_steps_too)
  local reports = {}
  loop:set_exception_handler(function(_, context)
    if slow_steps_too or not t.is_slow_step(context) then reports[#reports + 1] = context end
  end)
  return reports
end

local function run_on(clock, fn, ...)
  local reports
  local run = testing.async(function(...)
    reports = t.reports_of(asyncio.get_running_loop())
    return fn(reports, ...)
  end, { clock = clock, timeout = t.slow and 600 or 60 })
  local results = table.pack(run(...))
  t.collect()
  if #reports > 0 then
    lu.fail("unexpected report: " .. reports[1].message .. ": " .. tostring(reports[1].exception))
  end
  return table.unpack(results, 1, results.n)
end

--- Runs fn as asyncio.testing does, and sees that it leaves no task, no open handle and no unexpected
-- report. fn gets the list of reports; what it has seen to it takes out.
-- The clock is virtual: time passes at once, and only while every task waits. So a test of times may be exact,
-- and one whose tasks wait for nothing that could come fails.
function t.run(fn, ...) return run_on("virtual", fn, ...) end

--- The same with the real clock, for tests in which the operating system takes part: sockets, threads,
-- processes, signals. What they wait for is an event; the clock is only to end what hangs.
function t.real(fn, ...) return run_on("real", fn, ...) end

--- Takes the report out whose message holds `pattern`; fails when there is none.
function t.take_report(reports, pattern)
  for i, context in ipairs(reports) do
    if context.message:find(pattern) then return table.remove(reports, i) end
  end
  lu.fail(("no report with %q among %d"):format(pattern, #reports))
end

--- The error that fn raises; fails when it raises none.
function t.error_of(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if results[1] then lu.fail "an error was expected" end
  return results[2]
end

function t.assert_isinstance(err, class)
  if not asyncio.isinstance(err, class) then
    lu.fail(("%s expected, got %s"):format(tostring(class), tostring(err)))
  end
  return err
end

--- fn raises an error of that class; returns it.
function t.assert_raises(class, fn, ...) return t.assert_isinstance(t.error_of(fn, ...), class) end

--- Waits until no other task can go on: what has been sent to a socket of ours has been read, too.
t.until_blocked = testing.wait_all_tasks_blocked

--- Gives way until `condition()` holds.
function t.wait_until(condition)
  local loop = asyncio.get_running_loop()
  local deadline = loop:time() + 30
  while not condition() do
    if loop:time() > deadline then lu.fail "the condition never came true" end
    asyncio.sleep(0.001)
  end
end

--- What a program wrote to stderr, less the reports of slow steps: a busy machine is no failure; and less what
-- valgrind says of system calls that it doesn't know, and LeakSanitizer of a thread that goes on.
function t.unhurried(errors)
  for _, report in ipairs { "asyncio: a task held the loop for ", "asyncio: a callback took " } do
    local from, to = errors:find(report .. "[^\n]*\n[^\n]*\n")
    while from do
      local rest = errors:sub(to + 1):gsub("^stack traceback:\n", "")
      while rest:find "^\t" do rest = rest:gsub("^\t[^\n]*\n", "") end
      errors = errors:sub(1, from - 1) .. rest
      from, to = errors:find(report .. "[^\n]*\n[^\n]*\n")
    end
  end
  return (errors:gsub("%-%-%d+%-%- [^\n]*\n", "")
    :gsub("==%d+==Running thread %d+ was not suspended[^\n]*\n", ""))
end

--- Runs a Lua program in a process of its own: stdout, stderr, exit code or signal number, how it ended,
-- and stderr with the reports of slow steps.
function t.lua(source, args)
  local script, out, err = os.tmpname(), os.tmpname(), os.tmpname()
  local file <close> = assert(io.open(script, "w"))
  file:write(source)
  file:close()
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local _, how, code = os.execute(("timeout -k 5 60 %s '%s' %s >'%s' 2>'%s' </dev/null"):format(
    lua, script, args or "", out, err))
  local function content(name)
    local f <close> = assert(io.open(name))
    return f:read "a", os.remove(name)
  end
  os.remove(script)
  local errors = content(err)
  return (content(out)), t.unhurried(errors), code, how, errors
end

--- The number of a file's descriptor.
function t.fd_of(file) return require "asyncio.core".file_descriptor(file) end

--- How many children of this process have ended and were not waited for.
function t.zombies()
  local pipe <close> = assert(io.popen "ps -o stat= --ppid $PPID")
  return select(2, ("\n" .. pipe:read "a"):gsub("\nZ", ""))
end

--- Takes tests out of a class where the specs run under a tool that they could not work with. Not skipped:
-- it is no lack of this machine's. Without names all of them.
function t.leave_out(class, tool, ...)
  if not (os.getenv "SPEC_TOOL" or os.getenv "SPEC_LUA" or os.getenv "SPEC_GC" or ""):find(tool) then return end
  local names = { ... }
  if #names == 0 then
    for name in pairs(class) do names[#names + 1] = name end
  end
  for _, name in ipairs(names) do class[name] = nil end
end

--- Skips the test, and says so.
function t.skip(why)
  print("# skip: " .. why)
  lu.skip(why)
end

--- The names of every nth test of this file, others for each CHECK_SEED, or each day: for files that start programs, or
-- do much, where each test takes seconds under a tool. Of a few tests one: LuaUnit takes an empty list for all.
local function sample(n)
  local all, part = {}, {}
  for _, class in ipairs(lu.LuaUnit.collectTests()) do
    for name in pairs(_G[class]) do
      if lu.LuaUnit.isMethodTestName(name) then all[#all + 1] = class .. "." .. name end
    end
  end
  table.sort(all)
  local seed = math.tointeger(os.getenv "CHECK_SEED") or os.date "*t".yday
  for i = 1 + seed % math.max(1, math.min(n, #all)), #all, n do part[#part + 1] = all[i] end
  return part
end

--- Runs the file's tests and ends the process. opts: `sampled`: under a tool a part of them will do.
function t.finish(opts)
  local part = tonumber(os.getenv(opts and opts.sampled and "SPEC_SAMPLE" or "SPEC_SAMPLE_ALL"))
  local runner = lu.LuaUnit.new()
  runner:setOutputType "text"
  runner:runSuite(table.unpack(part and sample(part) or {}))
  local r = runner.result
  print(("spec: %d passed, %d failed, %d skipped"):format(r.successCount, r.failureCount + r.errorCount,
    r.skippedCount))
  io.stdout:flush()
  os.exit(r.failureCount + r.errorCount == 0, true)
end

return t
