-- Debug mode: reports that say where. `set_debug`, `Runner{debug=}` and ASYNCIO_DEBUG.
local t = require "helper"
local peers = require "peers"
local asyncio = t.asyncio

TestSlow = {}
TestSwallowed = {}
TestUnclosed = {}
TestMade = {}
TestSwitch = {}

--- As t.real, in debug mode; the list has the slow steps, too. What is left in it fails the test.
local function run(fn)
  local reports
  t.real(function()
    local loop = asyncio.get_running_loop()
    loop:set_debug(true)
    loop.slow_callback_duration = 1000
    reports = t.reports_of(loop, true)
    asyncio.sleep(0) -- a step that is watched
    fn(reports, loop)
  end)
  for _, context in ipairs(reports) do
    if not t.is_slow_step(context) then
      t.fail("unexpected report: " .. context.message .. "\n" .. tostring(context.source_traceback))
    end
  end
end

--- The lines of this file that a text names, as numbers.
local function line_here() return debug.getinfo(2, "l").currentline end
local function assert_names_line(text, line)
  t.assertStrContains(text, ("debug_spec.lua:%d:"):format(line))
end

--- Spins for so many seconds of a processor's time: to wait for one is not slow.
local function spin(loop, seconds)
  local till = os.clock() + seconds
  while os.clock() < till do loop:time() end
end

local THRESHOLD = 0.02

--- The same for slow steps: on a busy machine another step may be slow, or another place of this one, so each
-- test has several tries.
local function run_slow(fn)
  local ok, err
  for _ = 1, 5 do
    ok, err = pcall(run, fn)
    if ok then return end
  end
  error(err, 0)
end

--- Takes the report of a slow step out whose place has that in it.
local function take_slow(reports, needle)
  for i, context in ipairs(reports) do
    if (context.source_traceback or ""):find(needle, 1, true) then return table.remove(reports, i) end
  end
  t.fail(("none of %d reports has %q"):format(#reports, needle))
end

-- slow steps

function TestSlow:test_a_task_is_reported_with_the_place_where_it_was_slow()
  run_slow(function(reports, loop)
    loop.slow_callback_duration = THRESHOLD
    local line
    local function slow() line = line_here() spin(loop, 3 * THRESHOLD) end
    asyncio.await(asyncio.create_task(function()
      asyncio.sleep(0)
      slow()
      asyncio.sleep(0)
    end))
    local report = take_slow(reports, "in upvalue 'spin'")
    t.assertStrContains(report.message, "a task held the loop for")
    assert_names_line(report.source_traceback, line)
  end)
end

function TestSlow:test_a_task_whose_last_step_was_slow_is_named_with_its_function()
  run_slow(function(_, loop)
    local text
    loop:set_exception_handler(function(_, context) text = tostring(context.task) end)
    loop.slow_callback_duration = THRESHOLD
    local line = line_here() + 1
    asyncio.await(asyncio.create_task(function() spin(loop, 2 * THRESHOLD) end))
    t.assertStrContains(text, ("function at spec/debug_spec.lua:%d"):format(line))
  end)
end

function TestSlow:test_a_callback_is_too()
  run_slow(function(reports, loop)
    loop.slow_callback_duration = THRESHOLD
    loop:call_soon(spin, loop, 3 * THRESHOLD)
    asyncio.sleep(0.001)
    t.assertStrContains(take_slow(reports, "in function <spec/debug_spec.lua").message, "a callback took")
  end)
end

function TestSlow:test_a_C_function_that_blocks_is_named()
  run_slow(function(reports, loop)
    loop.slow_callback_duration = THRESHOLD
    local line
    local function blocks() line = line_here() os.execute "sleep 0.1" end
    asyncio.sleep(0)
    blocks()
    asyncio.sleep(0)
    local report = take_slow(reports, t.lua55 and "in field 'execute'" or "in function 'os.execute'")
    assert_names_line(report.source_traceback, line)
  end)
end

function TestSlow:test_the_place_may_be_in_a_coroutine_of_the_task()
  for _, library in ipairs { coroutine, asyncio.coroutine } do
    run_slow(function(reports, loop)
      loop.slow_callback_duration = THRESHOLD
      asyncio.sleep(0)
      local line
      local inner = library.wrap(function() spin(loop, 3 * THRESHOLD) end)
      local function outer() line = line_here() inner() end
      outer()
      asyncio.sleep(0)
      local report = take_slow(reports, "'spin'")
      assert_names_line(report.source_traceback, line)
    end)
  end
end

function TestSlow:test_the_place_may_be_in_a_coroutine_from_before_debug_mode()
  run_slow(function(reports, loop)
    loop:set_debug(false)
    asyncio.sleep(0)
    local inner = asyncio.coroutine.wrap(function()
      asyncio.coroutine.yield()
      spin(loop, 3 * THRESHOLD)
    end)
    inner()
    loop:set_debug(true)
    loop.slow_callback_duration = THRESHOLD
    asyncio.sleep(0)
    inner()
    asyncio.sleep(0)
    take_slow(reports, "'spin'")
  end)
end

function TestSlow:test_a_quick_step_after_a_slow_one_has_no_place()
  run_slow(function(reports, loop)
    loop.slow_callback_duration = THRESHOLD
    asyncio.sleep(0)
    spin(loop, 2 * THRESHOLD)
    asyncio.sleep(0)
    t.take_report(reports, "held the loop")
    loop:set_debug(false)
    asyncio.sleep(0)
    spin(loop, 2 * THRESHOLD)
    asyncio.sleep(0)
    t.assertNil(t.take_report(reports, "held the loop").source_traceback)
  end)
end

function TestSlow:test_a_hook_of_the_users_stays_and_works()
  run_slow(function(reports, loop)
    loop.slow_callback_duration = THRESHOLD
    local calls = 0
    local function hook() calls = calls + 1 end
    asyncio.await(asyncio.create_task(function()
      debug.sethook(hook, "c")
      asyncio.sleep(0)
      t.assertIs(debug.gethook(), hook)
      spin(loop, 2 * THRESHOLD)
      asyncio.sleep(0)
      t.assertIs(debug.gethook(), hook)
      debug.sethook()
    end))
    t.assertTrue(calls > 10)
    t.take_report(reports, "held the loop")
  end)
end

function TestSlow:test_no_hook_is_left_when_a_step_has_ended()
  run_slow(function(_, loop)
    local co = coroutine.create(function() while true do coroutine.yield(debug.gethook()) end end)
    coroutine.resume(co) -- made and begun in a watched step
    local task = asyncio.create_task(function() asyncio.sleep(1000) end)
    asyncio.sleep(0)
    t.assertNil((debug.gethook(task:get_coro())))
    loop:set_debug(false)
    asyncio.sleep(0)
    t.assertNil((debug.gethook()))
    coroutine.resume(co)
    for _ = 1, 3000 do coroutine.resume(co) end
    t.assertNil((debug.gethook(co)))
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
  t.assertNil((debug.gethook()))
end

-- swallowed cancellations

function TestSwallowed:test_is_reported_with_where_it_was_cancelled_raised_and_ended()
  run(function(reports)
    local cancelled, raised, ended
    local task = asyncio.create_task {
      function()
        pcall(function() raised = line_here() asyncio.sleep(1000) end)
        ended = line_here() do return "all the same" end
      end,
      name = "deaf",
    }
    asyncio.sleep(0)
    local function cancel() cancelled = line_here() task:cancel() end
    cancel()
    t.assertEquals(asyncio.await(task), "all the same")
    local report = t.take_report(reports, "caught its cancellation and returned")
    t.assertIs(report.task, task)
    local text = report.source_traceback
    t.assertStrMatches(text, "cancelled at:\n.*raised at:\n.*returned at:\n.*")
    local at, from, to = text:match "cancelled at:\n(.*)\n[^\n]*raised at:\n(.*)\nreturned at:\n(.*)"
    assert_names_line(at, cancelled)
    assert_names_line(from, raised)
    t.assertStrContains(to, ("debug_spec.lua:%d"):format(ended))
  end)
end

function TestSwallowed:test_is_none_that_was_taken_back_or_passed_on_or_never_delivered()
  run(function()
    local function waits() asyncio.sleep(1000) end
    local uncancelled = asyncio.create_task(function()
      pcall(waits)
      asyncio.current_task():uncancel()
      return 1
    end)
    local passed = asyncio.create_task(waits)
    local replaced = asyncio.create_task(function()
      pcall(waits)
      error "another error"
    end)
    local busy = asyncio.create_task(function()
      asyncio.sleep(0)
      return 2
    end)
    asyncio.sleep(0)
    for _, task in ipairs { uncancelled, passed, replaced } do task:cancel() end
    asyncio.sleep(0)
    busy:cancel()
    asyncio.gather { uncancelled, passed, replaced, busy, return_exceptions = true }
  end)
end

function TestSwallowed:test_is_none_that_a_scope_asked_for()
  run(function()
    local function child()
      t.assertFalse((asyncio.move_on_after(0.001, asyncio.sleep, 1000)))
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() asyncio.sleep(1000) end, 0.001)
      t.assert_raises(asyncio.ExceptionGroup, function()
        local group <close> = asyncio.TaskGroup()
        group:create_task(error, "fails")
        asyncio.sleep(1000)
      end)
      return "fine"
    end
    t.assertEquals(asyncio.await(asyncio.create_task(child)), "fine")
  end)
end

-- streams and servers

function TestUnclosed:test_a_stream_that_is_collected_is_reported_with_where_it_was_opened()
  warn "@off"
  run(function(reports)
    local server <close> = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
    local line
    local function open() line = line_here() asyncio.open_connection("127.0.0.1", peers.port(server)) end
    asyncio.await(asyncio.create_task(open))
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    local report = t.take_report(reports, "a stream was not closed before it was collected, peer 127.0.0.1:")
    assert_names_line(report.source_traceback, line)
  end)
  warn "@on"
end

--- Runs a program in debug mode; what it wrote to stderr.
local function errors_of(source)
  local _, errors, code = t.lua(([[
    local asyncio = require "asyncio"
    local function serve(handler) return asyncio.start_server(handler, "127.0.0.1", 0) end
    local runner <close> = asyncio.Runner{debug = true}
    runner:get_loop().slow_callback_duration = 1000
    runner:run(function() %s
    end)
  ]]):format(source))
  t.assertEquals(code, 0, errors)
  return errors
end

function TestUnclosed:test_streams_and_servers_that_are_open_at_the_end_are_reported()
  local errors = errors_of [[
    server = serve(function(reader) reader:read(-1) end)
    reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    asyncio.stdout():write ""
  ]]
  t.assertStrMatches(errors, "asyncio: a server was not closed\nstarted at:\nstack traceback:\n.*serving%.lua.*"
    .. "asyncio: a stream was not closed, peer 127.0.0.1:%d+\nopened at:\nstack traceback:\n.*connecting%.lua.*")
  t.assertEquals(select(2, errors:gsub("asyncio: ", "")), 2)
end

function TestUnclosed:test_closed_ones_are_not()
  t.assertEquals(errors_of [[
    local server <close> = serve(function(reader) reader:read(-1) end)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:close()
    asyncio.stdout():write ""
  ]], "")
end

-- where futures and tasks were made

function TestMade:test_a_lost_error_is_reported_with_where_its_task_was_made()
  run(function(reports)
    local line
    local function make() line = line_here() asyncio.create_task(error, "lost") end
    make()
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    local report = t.take_report(reports, "the error of a task was never looked at")
    t.assertEquals(report.exception, "lost")
    t.assertStrMatches(report.traceback, "stack traceback:\n.*in function 'error'.*")
    assert_names_line(report.source_traceback, line)
  end)
end

function TestMade:test_one_of_a_future_too()
  run(function(reports, loop)
    local line
    local function make() line = line_here() loop:create_future():set_exception "lost" end
    make()
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    local report = t.take_report(reports, "the error of a future was never looked at")
    t.assertNil(report.traceback)
    assert_names_line(report.source_traceback, line)
  end)
end

-- switching it on

function TestSwitch:test_by_the_environment_and_by_Runner()
  local source = [[
    local asyncio = require "asyncio"
    local function debugging() return asyncio.get_running_loop():get_debug() end
    local one <close> = asyncio.Runner {debug = true}
    local two <close> = asyncio.Runner {debug = false}
    print(asyncio.run(debugging), one:run(debugging), two:run(debugging))
  ]]
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local script <close> = peers.file(source)
  local function output(environment)
    local pipe <close> = io.popen(("%s %s '%s'"):format(environment, lua, script.name))
    return pipe:read "a"
  end
  t.assertEquals(output "ASYNCIO_DEBUG=1", "true\ttrue\tfalse\n")
  t.assertEquals(output "ASYNCIO_DEBUG=", "false\ttrue\tfalse\n")
end

t.finish()
