-- signal_spec.lua - Loop:add_signal_handler and remove_signal_handler.
local t = require "helper"

local asyncio = t.asyncio

--- Sends a signal to this process.
local function kill(name) os.execute(("kill -%s $PPID"):format(name)) end

TestSignal = {}

function TestSignal:test_calls_the_function_in_the_loop_with_its_arguments()
  t.real(function()
    local loop, args = asyncio.get_running_loop(), nil
    loop:add_signal_handler("SIGUSR1", function(...) args = table.pack(...) end, 1, nil, "three")
    kill "USR1"
    t.assertNil(args, "not within os.execute")
    t.wait_until(function() return args end)
    t.assertEquals(args, { 1, nil, "three", n = 3 })
    t.assertTrue(loop:remove_signal_handler "SIGUSR1")
  end)
end

function TestSignal:test_takes_the_place_of_what_the_signal_does_by_default()
  t.real(function()
    local loop, calls = asyncio.get_running_loop(), 0
    loop:add_signal_handler("SIGTERM", function() calls = calls + 1 end)
    for i = 1, 3 do
      kill "TERM"
      t.wait_until(function() return calls == i end)
    end
    t.assertEquals(calls, 3)
    loop:remove_signal_handler "SIGTERM"
  end)
end

function TestSignal:test_has_a_task_do_what_waits()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local server = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    loop:add_signal_handler("SIGTERM", asyncio.create_task, server.shutdown, server, 5)
    kill "TERM"
    server:serve_forever()
    t.assertFalse(server:is_serving())
    loop:remove_signal_handler "SIGTERM"
  end)
end

function TestSignal:test_that_would_wait_itself_is_told_how()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    local reports = t.reports_of(loop)
    loop:add_signal_handler("SIGTERM", server.shutdown, server, 5)
    kill "TERM"
    t.wait_until(function() return reports[1] end)
    t.assertStrContains(tostring(reports[1].exception),
      "cannot wait outside of a task: call it from a function that asyncio.run or asyncio.create_task runs; " ..
      "a callback can be asyncio.create_task itself, with the function as its first argument")
    loop:remove_signal_handler "SIGTERM"
  end)
end

function TestSignal:test_by_its_number()
  t.real(function()
    local loop, called = asyncio.get_running_loop(), false
    loop:add_signal_handler(1, function() called = true end)
    kill "HUP"
    t.wait_until(function() return called end)
    t.assertTrue(loop:remove_signal_handler(1))
  end)
end

function TestSignal:test_wakes_a_loop_that_waits_for_nothing_else()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local got = loop:create_future()
    loop:add_signal_handler("SIGUSR1", got.set_result, got, "here")
    os.execute "(sleep 0.05; kill -USR1 $PPID) >/dev/null 2>&1 &"
    t.assertEquals(asyncio.await(got), "here")
    loop:remove_signal_handler "SIGUSR1"
  end)
end

function TestSignal:test_added_again_replaces_the_function()
  t.real(function()
    local loop, calls = asyncio.get_running_loop(), {}
    loop:add_signal_handler("SIGUSR2", function() calls[#calls + 1] = "old" end)
    loop:add_signal_handler("SIGUSR2", function() calls[#calls + 1] = "new" end)
    kill "USR2"
    t.wait_until(function() return #calls > 0 end)
    t.assertEquals(calls, { "new" })
    loop:remove_signal_handler "SIGUSR2"
  end)
end

function TestSignal:test_of_several_kinds_each_have_their_function()
  t.real(function()
    local loop, calls = asyncio.get_running_loop(), {}
    for _, name in ipairs { "USR1", "USR2", "HUP" } do
      loop:add_signal_handler("SIG" .. name, function() calls[name] = (calls[name] or 0) + 1 end)
    end
    kill "USR2"
    kill "HUP"
    t.wait_until(function() return calls.USR2 and calls.HUP end)
    t.assertEquals(calls, { USR2 = 1, HUP = 1 })
    for _, name in ipairs { "USR1", "USR2", "HUP" } do loop:remove_signal_handler("SIG" .. name) end
  end)
end

function TestSignal:test_error_in_the_function_is_reported_and_the_loop_goes_on()
  t.real(function(reports)
    local loop, calls = asyncio.get_running_loop(), 0
    loop:add_signal_handler("SIGUSR1", function()
      calls = calls + 1
      error "the callback's own fault"
    end)
    for i = 1, 2 do
      kill "USR1"
      t.wait_until(function() return calls == i end)
      asyncio.sleep(0)
      t.assertStrContains(tostring(t.take_report(reports, ".").exception), "the callback's own fault")
    end
    loop:remove_signal_handler "SIGUSR1"
  end)
end

function TestSignal:test_may_remove_itself()
  t.real(function()
    local loop, removed = asyncio.get_running_loop(), nil
    loop:add_signal_handler("SIGUSR1", function() removed = loop:remove_signal_handler "SIGUSR1" end)
    kill "USR1"
    t.wait_until(function() return removed ~= nil end)
    t.assertTrue(removed)
    t.assertFalse(loop:remove_signal_handler "SIGUSR1")
  end)
end

function TestSignal:test_removed_does_again_what_it_does_by_default()
  local out, _, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:add_signal_handler("SIGTERM", print, "never")
      print(loop:remove_signal_handler "SIGTERM")
      print(loop:remove_signal_handler "SIGTERM")
      io.stdout:flush()
      os.execute "kill -TERM $PPID"
      asyncio.sleep(1)
      print "still here"
    end)
  ]]
  t.assertEquals(out, "true\nfalse\n")
  t.assertEquals(code, 143)
end

function TestSignal:test_handler_ends_with_the_loop()
  local out, _, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function() asyncio.get_running_loop():add_signal_handler("SIGTERM", print, "never") end)
    print "over"
    io.stdout:flush()
    os.execute "kill -TERM $PPID"
    print "still here"
  ]]
  t.assertEquals(out, "over\n")
  t.assertEquals(code, 143)
end

function TestSignal:test_stops_a_server_as_a_program_would_do_it()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local main, loop = asyncio.current_task(), asyncio.get_running_loop()
      loop:add_signal_handler("SIGTERM", main.cancel, main)
      local server <close> = asyncio.start_server(function(reader) reader:read(1) end, "127.0.0.1", 0)
      local reader = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      asyncio.sleep(0.01)
      os.execute "kill -TERM $PPID"
      local ok, err = pcall(server.serve_forever, server)
      print(ok, asyncio.isinstance(err, asyncio.CancelledError), server:is_serving())
      server:abort_clients()
      server:wait_closed()
      pcall(reader.read, reader, 1)
    end)
    print "over"
  ]]
  t.assertEquals(err, "")
  t.assertEquals(out, "false\ttrue\tfalse\nover\n")
  t.assertEquals(code, 0)
end

function TestSignal:test_refuses_what_cannot_be_caught_or_is_none()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local add = loop.add_signal_handler
    for _, wrong in ipairs { "SIGNAL", "usr1", 0, -1, 65, 1.5, {}, true } do
      t.assertErrorMsgContains("signal expected", add, loop, wrong, print)
    end
    t.assertErrorMsgContains("function expected", add, loop, "SIGUSR1")
    t.assertErrorMsgContains("function expected", add, loop, "SIGUSR1", {})
    t.assertErrorMsgContains("signal expected", loop.remove_signal_handler, loop, "SIGNAL")
    t.assert_raises(asyncio.OSError, add, loop, 9, print)
    t.assertFalse(loop:remove_signal_handler(9))
  end)
end

t.finish()
