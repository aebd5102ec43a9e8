-- What asyncio.testing says of a test that fails: which, where, and where in the spec.
local t = require "helper"
local asyncio, testing = t.asyncio, t.testing
local create_task, sleep = asyncio.create_task, asyncio.sleep

local function line_here(level) return debug.getinfo((level or 1) + 1, "l").currentline end

--- The error with which a test ends, and the line where its function begins.
local function failure_of(fn, opts)
  local err = t.error_of(testing.async(fn, opts))
  return err, "testing_spec.lua:" .. debug.getinfo(fn, "S").linedefined
end

TestSpinning = {} -- needs a timer of Linux's
if not io.open "/proc/self/stat" then TestSpinning = nil end

local function assert_ended(fn)
  local err, place = failure_of(fn, { timeout = 0.05 })
  t.assertStrMatches(err, ".*" .. place .. ": the test took longer than 0.05 s, and did not wait for anything:\n"
    .. "stack traceback:\n.*testing_spec.lua:%d+: in .*")
end

if TestSpinning then
  function TestSpinning:test_ends_in_a_loop_that_does_nothing()
    assert_ended(function() while true do end end)
  end

  function TestSpinning:test_ends_also_where_errors_are_caught()
    assert_ended(function() while true do pcall(error) end end)
  end

  function TestSpinning:test_ends_in_another_task_and_in_a_coroutine()
    assert_ended(function()
      create_task(function() while true do end end)
      sleep(10)
    end)
    assert_ended(function()
      local spin = asyncio.coroutine.wrap(function() while true do end end)
      spin()
    end)
  end

  function TestSpinning:test_ends_in_a_callback()
    assert_ended(function()
      asyncio.get_running_loop():call_soon(function() while true do end end)
      sleep(10)
    end)
  end

  function TestSpinning:test_the_next_tests_are_as_ever()
    for _ = 1, 3 do
      assert_ended(function() while true do end end)
      t.assertEquals(testing.async(function() return sleep(0.01, "fine") end)(), "fine")
    end
  end
end

TestLeft = {}

function TestLeft:test_a_server_is_told_with_its_address_and_where_it_was_opened()
  local line, kept
  local err, place = failure_of(function()
    line = line_here() + 1
    kept = asyncio.start_server(function() end, "127.0.0.1", 0)
  end)
  t.assertNotNil(kept)
  t.assertStrMatches(err, (".*%s: the test left 1 open handle:\n  a server at 127%%.0%%.0%%.1:%%d+, opened at "
    .. ".*testing_spec%%.lua:%d"):format(place:gsub("%.", "%%."), line))
end

function TestLeft:test_a_stream_and_a_signal_handler_too()
  local kept = {}
  local lines = {}
  local err = failure_of(function()
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    local function connect()
      lines[1] = line_here() + 1
      kept = table.pack(asyncio.open_connection("127.0.0.1", server:sockets()[1].port))
      return kept
    end
    connect()
    lines[2] = line_here() + 1
    asyncio.get_running_loop():add_signal_handler("SIGUSR2", print)
  end)
  t.assertStrContains(err, "2 open handles:\n")
  t.assertStrMatches(err, ".*\n  a stream, peer 127%.0%.0%.1:%d+, opened at [^\n]*testing_spec%.lua:"
    .. lines[1] .. ", from [^\n]*testing_spec%.lua:%d+.*")
  t.assertStrMatches(err, ".*\n  a handler of SIGUSR2, opened at [^\n]*testing_spec%.lua:" .. lines[2] .. ".*")
end

function TestLeft:test_a_task_is_told_with_its_function_and_line()
  local line = line_here() + 1
  local function idle() sleep(1000) end
  local err, place = failure_of(function()
    create_task(idle)
    sleep(0)
  end)
  t.assertStrMatches(err, (".*%s: the test left 1 task that had not ended:\n  asyncio.Task 'Task%%-%%d+': waits "
    .. "%%(sleep%%), function at .*testing_spec%%.lua:%d\n.*"):format(place:gsub("%.", "%%."), line))
end

function TestLeft:test_an_error_that_nobody_looked_at_is_told_with_its_traceback()
  local function culprit() error "lost" end
  local err, place = failure_of(function()
    create_task(function() culprit() end)
    sleep(0)
  end)
  t.assertStrContains(err, place .. ": the test left an error that nobody looked at: ")
  t.assertStrMatches(err, ".*: lost\nstack traceback:\n.*in upvalue 'culprit'.*")
end

function TestLeft:test_what_waits_in_vain_is_told_once()
  local err, place = failure_of(function() asyncio.Event():wait() end, { clock = "virtual" })
  t.assertStrContains(err, place .. ": deadlock: ")
  t.assertNotStrContains(err, "stack traceback")
end

--- Streams that are collected are reported in debug mode only.
function TestLeft:test_a_stream_that_is_collected_is_no_lost_error()
  testing.async(function()
    local server <close> = asyncio.start_server(function(_, writer) writer:close() end, "127.0.0.1", 0)
    t.assertEquals((asyncio.open_connection("127.0.0.1", server:sockets()[1].port)):read(), "")
    t.collect()
    sleep(0)
  end)()
end

t.finish()
