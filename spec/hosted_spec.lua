-- hosted_spec.lua - a loop that a host drives: run_once, backend_fd, backend_timeout.
local t = require "helper"

local asyncio, testing = t.asyncio, t.testing
local core = require "asyncio.core"

TestRunOnce = {}
TestProspects = {}
TestRunOnceWaits = {}
TestRunOnceErrors = {}
TestRunOnceOnTheVirtualClock = {}
TestBackend = {}

local REAL = "real"

--- Calls fn with a loop that doesn't run, and the list of what is reported to it.
local function with_loop(fn, clock)
  local loop <close> = asyncio.new_event_loop()
  local reports = t.reports_of(loop)
  if clock ~= REAL then core.testing.set_virtual(loop) end
  fn(loop, reports)
  t.collect()
  t.assertEquals(#reports, 0, reports[1] and reports[1].message)
end

--- Drives it to its end; the number of turns.
local function drive(loop, timeout)
  for turns = 1, 1e6 do
    if not loop:run_once(timeout or math.huge) then return turns end
  end
  t.fail "it never ends"
end

local function nothing() end

function TestRunOnce:test_runs_what_is_ready_and_no_more()
  with_loop(function(loop)
    local log = {}
    loop:call_soon(function()
      log[#log + 1] = "first"
      loop:call_soon(function() log[#log + 1] = "next turn" end)
    end)
    t.assertTrue(loop:run_once())
    t.assertEquals(log, { "first" })
    t.assertFalse(loop:run_once())
    t.assertEquals(log, { "first", "next turn" })
  end)
end

function TestRunOnce:test_steps_a_task_from_wait_to_wait()
  with_loop(function(loop)
    local steps = 0
    local task = loop:create_task(function(n)
      for _ = 1, n do
        steps = steps + 1
        asyncio.sleep(0)
      end
      return "over"
    end, 3)
    for i = 1, 3 do
      t.assertTrue(loop:run_once())
      t.assertEquals(steps, i)
    end
    t.assertFalse(loop:run_once())
    t.assertEquals(task:result(), "over")
  end)
end

function TestRunOnce:test_the_loop_runs_in_its_steps_and_not_between_them()
  with_loop(function(loop)
    local seen
    loop:create_task(function()
      seen = asyncio.get_running_loop()
      t.assertTrue(loop:is_running())
      asyncio.sleep(1)
      seen = asyncio.current_task()
    end)
    loop:run_once()
    t.assertIs(seen, loop)
    t.assertFalse(loop:is_running())
    t.error_of(asyncio.get_running_loop)
    t.assertNil(asyncio.current_task())
    drive(loop)
    t.assertNotNil(seen)
  end)
end

function TestRunOnce:test_what_the_host_settles_between_two_turns_wakes_who_waits()
  with_loop(function(loop)
    local future = loop:create_future()
    local task = loop:create_task(asyncio.await, future)
    t.assertTrue(loop:run_once())
    t.assertTrue(loop:run_once())
    future:set_result "from the host"
    t.assertEquals(loop:backend_timeout(), 0)
    t.assertFalse(loop:run_once())
    t.assertEquals(task:result(), "from the host")
  end)
end

function TestRunOnce:test_goes_on_after_a_run_and_a_run_after_it()
  with_loop(function(loop)
    local task = loop:create_task(function()
      asyncio.sleep(1)
      asyncio.sleep(1)
      return "both"
    end)
    loop:run_until_complete(asyncio.sleep, 1.5)
    loop:run_once()
    t.assertEquals(loop:run_until_complete(task), "both")
    t.assertFalse(loop:run_once())
  end)
end

function TestRunOnce:test_stop_ends_the_turn_as_the_turn_ends_anyway()
  with_loop(function(loop)
    local called = 0
    loop:stop()
    loop:call_soon(function() called = called + 1 end)
    t.assertFalse(loop:run_once(math.huge))
    t.assertEquals(called, 1)
    loop:call_soon(loop.stop, loop)
    t.assertFalse(loop:run_once())
    loop:run_until_complete(asyncio.sleep, 0)
  end)
end

function TestRunOnce:test_serves_a_connection_one_turn_after_the_other()
  with_loop(function(loop)
    local task = loop:create_task(function()
      local server <close> = asyncio.start_server(function(reader, writer)
        for line in reader:lines() do writer:send(line:upper(), "\n") end
      end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      for _ = 1, 3 do
        writer:send "hello\n"
        t.assertEquals(reader:readline(), "HELLO\n")
      end
      return asyncio.to_thread(function() return 1 + 1 end)
    end)
    drive(loop)
    t.assertEquals(task:result(), 2)
  end, REAL)
end

function TestRunOnce:test_sends_what_the_host_has_written()
  with_loop(function(loop)
    local got, writer
    local task = loop:create_task(function()
      local server <close> = asyncio.start_server(function(reader) got = reader:read(-1) end, "127.0.0.1", 0)
      local _
      _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      while not got do asyncio.sleep(0.001) end
    end)
    while not writer do loop:run_once(0.01) end
    writer:write "from outside"
    writer:close()
    drive(loop)
    task:result()
    t.assertEquals(got, "from outside")
  end, REAL)
end

function TestRunOnce:test_leaves_a_context_variable_as_the_host_has_it()
  with_loop(function(loop)
    local var = asyncio.ContextVar("var", "default")
    var:set "the host's"
    loop:create_task(function()
      t.assertEquals(var:get(), "the host's")
      var:set "the task's"
      asyncio.sleep(0)
      t.assertEquals(var:get(), "the task's")
    end)
    drive(loop)
    t.assertEquals(var:get(), "the host's")
    var:set "default"
  end)
end

-- Whether anything can still come

function TestProspects:test_of_a_new_loop_and_of_one_whose_tasks_have_ended_there_are_none()
  with_loop(function(loop)
    t.assertFalse(loop:run_once())
    t.assertFalse(loop:run_once(math.huge))
    loop:create_task(nothing)
    t.assertFalse(loop:run_once())
  end, REAL)
end

function TestProspects:test_a_task_that_waits_for_the_host_is_one()
  with_loop(function(loop)
    local task = loop:create_task(asyncio.await, loop:create_future())
    for _ = 1, 3 do t.assertTrue(loop:run_once()) end
    task:cancel()
    t.assertFalse(loop:run_once())
    t.assertTrue(task:cancelled())
  end)
end

function TestProspects:test_timers_are()
  with_loop(function(loop)
    local handle = loop:call_later(3600, nothing)
    t.assertTrue(loop:run_once())
    handle:cancel()
    t.assertFalse(loop:run_once())
  end)
end

function TestProspects:test_signal_handlers_are()
  with_loop(function(loop)
    loop:add_signal_handler("SIGUSR1", nothing)
    t.assertTrue(loop:run_once())
    loop:remove_signal_handler "SIGUSR1"
    t.assertFalse(loop:run_once())
  end, REAL)
end

function TestProspects:test_watched_descriptors_are()
  with_loop(function(loop)
    local other <close> = asyncio.new_event_loop()
    loop:add_reader(other:backend_fd(), nothing)
    for _ = 1, 3 do t.assertTrue(loop:run_once()) end
    loop:remove_reader(other:backend_fd())
    t.assertFalse(loop:run_once())
  end, REAL)
end

function TestProspects:test_servers_and_streams_are_until_they_are_closed()
  with_loop(function(loop)
    local server, writer
    loop:create_task(function()
      server = asyncio.start_server(nothing, "127.0.0.1", 0)
      local _
      _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    end)
    while not writer do loop:run_once(0.01) end
    for _ = 1, 5 do t.assertTrue(loop:run_once()) end
    server:close()
    for _ = 1, 5 do t.assertTrue(loop:run_once()) end
    writer:close()
    drive(loop)
  end, REAL)
end

function TestProspects:test_jobs_of_threads_are()
  with_loop(function(loop)
    local future = loop:run_in_executor(nil, function() return 5 end)
    drive(loop)
    t.assertEquals(future:result(), 5)
  end, REAL)
end

function TestProspects:test_calls_from_other_threads_are()
  with_loop(function(loop)
    local future = loop:run_in_executor(nil, function(remote)
      remote:call_soon_threadsafe(function() package.loaded["spec.called"] = true end)
    end, loop:remote())
    drive(loop)
    future:result()
    t.assertTrue(package.loaded["spec.called"])
    package.loaded["spec.called"] = nil
  end, REAL)
end

function TestProspects:test_a_standard_stream_is_while_it_holds_output()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    local loop <close> = asyncio.new_event_loop()
    loop:create_task(function() asyncio.stdout():write(("x"):rep(100), "\n") end)
    local turns = 0
    repeat turns = turns + 1 until not loop:run_once(math.huge)
    io.stderr:write(turns < 100 and "an end" or "many turns")
  ]]
  t.assertEquals({ out, err, code }, { ("x"):rep(100) .. "\n", "an end", 0 })
end

-- Waiting

function TestRunOnceWaits:test_not_at_all_by_default()
  with_loop(function(loop)
    loop:create_task(asyncio.sleep, 3600)
    local began = loop:time()
    for _ = 1, 100 do t.assertTrue(loop:run_once()) end
    t.assertTrue(loop:time() - began < 60)
  end, REAL)
end

function TestRunOnceWaits:test_so_long_at_most()
  with_loop(function(loop)
    loop:create_task(asyncio.await, loop:create_future())
    loop:run_once()
    for _, timeout in ipairs { 0.03, 0.0003 } do
      local began = loop:time()
      loop:run_once(timeout)
      t.assertTrue(loop:time() - began > timeout - 0.002) -- a poll takes whole milliseconds
    end
  end, REAL)
end

function TestRunOnceWaits:test_for_a_timer_that_comes_first()
  with_loop(function(loop)
    local task = loop:create_task(asyncio.sleep, 0.02, "slept")
    loop:run_once()
    while not task:done() do loop:run_once(3600) end
    t.assertEquals(task:result(), "slept")
  end, REAL)
end

function TestRunOnceWaits:test_for_a_thread_without_a_limit()
  with_loop(function(loop)
    local future = loop:run_in_executor(nil, function()
      require "asyncio".blocking_sleep(0.02)
      return "done"
    end)
    while not future:done() do loop:run_once(math.huge) end
    t.assertEquals(future:result(), "done")
  end, REAL)
end

function TestRunOnceWaits:test_not_where_something_is_ready()
  with_loop(function(loop)
    loop:create_task(function()
      while true do asyncio.sleep(0) end
    end)
    for _ = 1, 100 do t.assertTrue(loop:run_once(math.huge)) end
  end, REAL)
end

-- Errors

function TestRunOnceErrors:test_those_of_tasks_go_to_who_awaits_or_are_reported()
  with_loop(function(loop, reports)
    local failing = loop:create_task(error, "awaited", 0)
    local awaiting = loop:create_task(function() return select(2, pcall(asyncio.await, failing)) end)
    loop:create_task(error, "nobody's", 0)
    drive(loop)
    t.assertEquals(awaiting:result(), "awaited")
    loop:close()
    t.assertEquals(t.take_report(reports, "never looked at").exception, "nobody's")
  end)
end

function TestRunOnceErrors:test_a_callbacks_is_reported()
  with_loop(function(loop, reports)
    loop:call_soon(error, "boom", 0)
    loop:run_once()
    t.assertEquals(t.take_report(reports, ".").exception, "boom")
  end)
end

function TestRunOnceErrors:test_in_a_loop_that_runs_and_beside_one()
  with_loop(function(other)
    t.run(function()
      local loop = asyncio.get_running_loop()
      for _, each in ipairs { loop, other } do
        t.assertStrContains(tostring(t.assert_raises(asyncio.Error, each.run_once, each)), "already running")
      end
    end)
    other:call_soon(function() t.assert_raises(asyncio.Error, other.run_once, other) end)
    other:run_once()
    local runner <close> = asyncio.Runner {}
    other:call_soon(function() t.assert_raises(asyncio.Error, runner.run, runner, nothing) end)
    other:run_once()
    t.assert_raises(asyncio.Error, function()
      runner:run(function() other:run_once(math.huge) end)
    end)
    t.assertFalse(other:run_once())
  end)
end

function TestRunOnceErrors:test_after_the_close()
  local loop = asyncio.new_event_loop()
  loop:close()
  for _, name in ipairs { "run_once", "backend_fd", "backend_timeout" } do
    t.assert_raises(asyncio.ClosedError, loop[name], loop)
  end
end

function TestRunOnceErrors:test_of_arguments_name_them()
  with_loop(function(loop)
    for _, wrong in ipairs { "1", true, {}, 0 / 0 } do
      local function call() loop:run_once(wrong) end
      t.assertErrorMsgContains("bad argument #1 to 'run_once' (number of seconds expected, got ", call)
    end
    t.assertErrorMsgContains("bad argument #1 to 'run_once' (number of seconds, 0 or more, expected",
      function() loop:run_once(-1) end)
    t.assertErrorMsgContains("asyncio.Loop expected", loop.run_once)
    t.assertErrorMsgContains("asyncio.Loop expected", loop.backend_fd, {})
    t.assertErrorMsgContains("asyncio.Loop expected", loop.backend_timeout, 5)
  end)
end

function TestRunOnceErrors:test_what_ends_a_turn_leaves_the_loop_usable()
  with_loop(function(loop)
    local task = loop:create_task(asyncio.sleep, 1, "slept")
    testing.async(function() t.error_of(loop.run_once, loop) end)()
    drive(loop)
    t.assertEquals(task:result(), "slept")
  end)
end

function TestRunOnceErrors:test_it_may_be_closed_in_the_middle_of_everything()
  local closed
  with_loop(function(loop)
    loop:create_task(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      asyncio.sleep(3600)
    end)
    loop:call_later(3600, nothing)
    t.assertTrue(loop:run_once())
    loop:close()
    t.assertTrue(loop:is_closed())
  end)
  t.assertNil(closed) -- as at every close of a loop
end

-- The virtual clock

function TestRunOnceOnTheVirtualClock:test_time_passes_by_the_timeout_or_to_the_next_timer()
  with_loop(function(loop)
    local began = loop:time()
    local task = loop:create_task(asyncio.sleep, 10, "slept")
    loop:run_once()
    t.assertEquals(loop:time() - began, 0)
    loop:run_once(4)
    t.assertEquals(loop:time() - began, 4)
    loop:run_once(4)
    t.assertEquals(loop:time() - began, 8)
    t.assertTrue(loop:run_once()) -- no time passes
    t.assertFalse(loop:run_once(4))
    t.assertEquals(loop:time() - began, 10)
    t.assertEquals(task:result(), "slept")
  end)
end

function TestRunOnceOnTheVirtualClock:test_the_backends_timeout_is_of_that_clock()
  with_loop(function(loop)
    loop:create_task(asyncio.sleep, 10)
    loop:run_once()
    t.assertEquals(loop:backend_timeout(), 10)
    loop:run_once(4)
    t.assertEquals(loop:backend_timeout(), 6)
    loop:run_once(loop:backend_timeout())
    t.assertNil(loop:backend_timeout())
  end)
end

function TestRunOnceOnTheVirtualClock:test_who_waits_for_the_host_is_no_deadlock_unless_there_is_no_limit()
  with_loop(function(loop)
    loop:create_task(asyncio.await, loop:create_future())
    t.assertTrue(loop:run_once(1000))
    t.assertTrue(loop:run_once(1000))
    t.assert_raises(asyncio.DeadlockError, loop.run_once, loop, math.huge)
    t.assertTrue(loop:run_once())
  end)
end

function TestRunOnceOnTheVirtualClock:test_a_thread_takes_real_time()
  with_loop(function(loop)
    local began = loop:time()
    local future = loop:run_in_executor(nil, function() require "asyncio".blocking_sleep(0.01) end)
    while not future:done() do loop:run_once(0.002) end
    t.assertEquals(loop:time() - began, 0)
  end)
end

function TestRunOnceOnTheVirtualClock:test_blocked_tasks_are_seen()
  with_loop(function(loop)
    local task = loop:create_task(function()
      local slept = asyncio.create_task(asyncio.sleep, 1000)
      testing.wait_all_tasks_blocked()
      slept:cancel()
      return "blocked"
    end)
    for _ = 1, 10 do loop:run_once() end
    t.assertEquals(task:result(), "blocked")
  end)
end

-- What a host waits for

function TestBackend:test_fd_is_an_integer_that_stays()
  with_loop(function(loop)
    local fd = loop:backend_fd()
    t.assertEquals(math.type(fd), "integer")
    t.assertTrue(fd > 2)
    loop:run_until_complete(function() t.assertEquals(asyncio.get_running_loop():backend_fd(), fd) end)
    t.assertEquals(loop:backend_fd(), fd)
  end, REAL)
end

function TestBackend:test_timeout_is_nil_zero_or_until_the_next_timer()
  with_loop(function(loop)
    t.assertNil(loop:backend_timeout())
    local handle = loop:call_soon(nothing)
    t.assertEquals(loop:backend_timeout(), 0)
    loop:run_once()
    t.assertNil(loop:backend_timeout())
    handle = loop:call_later(100, nothing)
    local timeout = loop:backend_timeout()
    t.assertTrue(timeout > 50 and timeout <= 100)
    local sooner = loop:call_later(20, nothing)
    t.assertTrue(loop:backend_timeout() <= 20)
    sooner:cancel()
    t.assertTrue(loop:backend_timeout() > 20)
    handle:cancel()
    t.assertNil(loop:backend_timeout())
    loop:call_at(0, nothing)
    t.assertEquals(loop:backend_timeout(), 0)
    loop:run_once()
    loop:stop()
    t.assertEquals(loop:backend_timeout(), 0)
  end, REAL)
end

function TestBackend:test_timeout_knows_nothing_of_a_limit_that_a_turn_had()
  with_loop(function(loop)
    local future = loop:run_in_executor(nil, function() require "asyncio".blocking_sleep(0.01) end)
    while not future:done() do loop:run_once(30) end
    t.assertNil(loop:backend_timeout())
  end, REAL)
end

function TestBackend:test_timeout_is_0_while_a_stream_has_something_to_send()
  with_loop(function(loop)
    local server, writer
    loop:create_task(function()
      server = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
      local _
      _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    end)
    while not writer do loop:run_once(0.01) end
    for _ = 1, 10 do loop:run_once() end
    t.assertNil(loop:backend_timeout())
    writer:write "x"
    t.assertEquals(loop:backend_timeout(), 0)
    writer:close()
    server:close()
    drive(loop)
  end, REAL)
end

--- Waits in one loop for the descriptor of another, as a host's poll would.
local function wait_from_outside(host, loop)
  local timeout = loop:backend_timeout()
  if timeout == 0 then return end
  pcall(host.run_until_complete, host, asyncio.wait_for, function() asyncio.wait_readable(loop:backend_fd()) end,
    timeout or 30)
end

function TestBackend:test_fd_is_readable_when_a_peer_or_a_thread_has_something_for_it()
  local host <close> = asyncio.new_event_loop()
  local loop <close> = asyncio.new_event_loop()
  local task = loop:create_task(function()
    local server <close> = asyncio.start_server(function(reader, writer) writer:send(reader:readline()) end,
      "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    asyncio.to_thread(function() require "asyncio".blocking_sleep(0.01) end)
    writer:send "line\n"
    return reader:readline()
  end)
  while loop:run_once() do wait_from_outside(host, loop) end
  t.assertEquals(task:result(), "line\n")
end

TestNegative = {}

function TestNegative:test_less_than_no_time_is_an_argument_error_that_says_what_it_got()
  local loop = t.asyncio.new_event_loop()
  t.assertStrContains(tostring(t.error_of(loop.run_once, loop, -1)), "0 or more, expected, got -1")
  loop:close()
end

t.finish()
