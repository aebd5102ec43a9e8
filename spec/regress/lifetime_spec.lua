-- What is used, or goes, after that which it stood on: each in a process of its own, since it crashed.
local t = require "helper"
local asyncio = t.asyncio

TestLifetime = {}
TestCollected = {}

--- What a program prints that has a reader and a writer, closed while their loop ran. The loop is gone, and its
-- memory used again.
local function after_the_loop(use)
  local output, errors, code = t.lua(([[
    local asyncio = require "asyncio"
    local reader, writer
    asyncio.run(function()
      local function handler(_, w) w:write(("unread "):rep(200)) end
      local server <close> = asyncio.start_server(handler, "127.0.0.1", 0)
      reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      while tostring(reader):find " 0 bytes unread" do asyncio.sleep(0.001) end
      writer:close()
      writer:wait_closed()
    end)
    for _ = 1, 5 do collectgarbage() end
    local junk = {}
    for i = 1, 3000 do junk[i] = ("\255"):rep(100 + i) end
    local function use() %s end
    print(pcall(use))
    print(pcall(asyncio.run, use))
  ]]):format(use))
  t.assertEquals({ errors, code }, { "", 0 })
  return output
end

for name, case in pairs {
  read = { "return #reader:read()", "true\t1400\ntrue\t0\n" },
  readline = { "return #(reader:readline() or '')", "true\t1400\ntrue\t0\n" },
  readexactly = { "return reader:readexactly(6)", "true\tunread\ntrue\t unrea\n" },
  readuntil = { "return reader:readuntil ' '", "true\tunread \ntrue\tunread \n" },
  drain = { "return writer:drain()", "true\ntrue\n" },
  send = { "return writer:send 'x'", "false\tClosedError: the stream is closed\n" },
  close = { "return writer:close()", "true\ntrue\n" },
  abort = { "return writer:abort()", "true\ntrue\n" },
  wait_closed = { "return writer:wait_closed()", "true\ntrue\n" },
  is_closing = { "return writer:is_closing()", "true\ttrue\ntrue\ttrue\n" },
  tostring = {
    "return (tostring(reader):gsub(' %(.*', ''))",
    "true\tasyncio.StreamReader: closed, 1400 bytes unread\n",
  },
} do
  TestLifetime["test_a_stream_after_its_loop_" .. name] = function()
    t.assertStrContains(after_the_loop(case[1]), case[2])
  end
end

--- Small reads of what is left count against the task's budget: others have their turn.
function TestLifetime:test_reads_of_a_closed_stream_give_way()
  t.real(function()
    local function handler(_, w) w:write(("x"):rep(10000)) end
    local server <close> = asyncio.start_server(handler, "127.0.0.1", 0)
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    t.wait_until(function() return tostring(reader):find " 10000 bytes unread" end)
    writer:close()
    writer:wait_closed()
    local turns = 0
    local other = asyncio.create_task(function()
      while true do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    for _ = 1, 10000 do reader:read(1) end
    other:cancel()
    asyncio.wait { other }
    t.assertTrue(turns > 50, turns .. " turns")
  end)
end

function TestLifetime:test_a_server_that_is_collected_before_a_client()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local kept, client
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(function()
      local server = asyncio.start_server(function(_, writer)
        kept = writer
        writer:abort()
        asyncio.sleep(3600)
      end, "127.0.0.1", 0)
      client = { asyncio.open_connection("127.0.0.1", server:sockets()[1].port) }
      while not kept do asyncio.sleep(0.001) end
      asyncio.sleep(0.01)
    end)
    loop:close()
    loop = nil
    for _ = 1, 4 do collectgarbage() end -- the server is gone, the writer is kept
    local strings = {}
    for size = 300, 1600 do
      for _ = 1, 4 do strings[#strings + 1] = ("x"):rep(size) end
    end
    kept = nil
    for _ = 1, 4 do collectgarbage() end
    for _, s in ipairs(strings) do assert(not s:find "[^x]", "a string was overwritten") end
    print(client[2]:is_closing())
  ]]
  t.assertEquals({ output, errors, code }, { "true\n", "", 0 })
end

--- An error that says so is noted as of that handler.
function TestLifetime:test_a_client_that_its_server_closed_when_its_handler_is_gone_with_the_loop()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local loop, kept, server = asyncio.new_event_loop(), nil, nil
    loop:run_until_complete(function()
      server = asyncio.start_server(function(_, writer)
        kept = writer
        while true do pcall(asyncio.sleep, 3600) end
      end, "127.0.0.1", 0)
      local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      while not kept do asyncio.sleep(0.001) end
      server:close_clients()
      asyncio.sleep(0.01)
    end)
    loop:close()
    loop = nil
    for _ = 1, 4 do collectgarbage() end
    local junk = {}
    for i = 1, 3000 do junk[i] = ("\255"):rep(i % 700) end
    print(select(2, pcall(kept.write, kept, "late")).message, #server:sockets())
  ]]
  t.assertEquals({ output, errors, code }, { "the stream is closed\t0\n", "", 0 })
end

function TestLifetime:test_the_loop_s_close_frees_the_port_of_a_server()
  local loop, server, port = asyncio.new_event_loop(), nil, nil
  loop:run_until_complete(function()
    server = asyncio.start_server(print, "127.0.0.1", 0)
    port = server:sockets()[1].port
  end)
  loop:close()
  t.assertEquals(#server:sockets(), 0)
  t.real(function()
    local again <close> = asyncio.start_server(print, "127.0.0.1", port, { reuse_address = false })
    t.assertEquals(again:sockets()[1].port, port)
  end)
end

function TestLifetime:test_writelines_when_a_metamethod_closes_the_stream()
  t.real(function()
    local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local calls = 0
    local list = setmetatable({}, { __len = function() return 2 end, __index = function(_, i)
      calls = calls + 1
      if calls == 4 then writer:abort() end
      return "line " .. i
    end })
    t.assert_raises(asyncio.ClosedError, writer.writelines, writer, list)
    local other = setmetatable({}, { __len = function() return 1 end, __index = function()
      calls = calls + 1
      return calls % 2 == 1 and "a string at first" or {}
    end })
    local reader, second <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    t.assertStrContains(t.error_of(second.writelines, second, other), "a list of strings expected")
    t.assertFalse(reader:at_eof())
  end)
end

--- Of what is made in such a finaliser none is called any more: streams and handlers go with their loop, and what
-- belongs to none can't be made. Under ASan and valgrind a leak is found here.
function TestLifetime:test_a_finaliser_that_runs_a_loop_while_the_state_closes()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local old = asyncio.new_event_loop()
    local reader, writer, gone
    setmetatable({}, { __gc = function()
      print(pcall(asyncio.run, function()
        local server = asyncio.start_server(function(r, w) w:send(r:readline() or "") end, "127.0.0.1", 0)
        local port = server:sockets()[1].port
        reader, writer = asyncio.open_connection("127.0.0.1", port)
        gone = select(2, asyncio.open_connection("127.0.0.1", port))
        gone:close()
        gone:wait_closed()
        asyncio.get_running_loop():add_signal_handler("SIGUSR1", print)
        writer:send "ran\n"
        return (reader:readline():gsub("\n", ""))
      end))
      print(pcall(old.run_until_complete, old, function() return "ran, too" end))
      print(old:run_until_complete(function() return select(2, pcall(asyncio.as_completed, {})) end))
      old:close()
      print(pcall(writer.write, writer, "x"))
      print(pcall(reader.read, reader))
      print(pcall(gone.close, gone))
      print(select(2, pcall(asyncio.Channel)))
      print(select(2, pcall(asyncio.ThreadPoolExecutor)))
    end })
  ]]
  local closed = "false\tClosedError: the stream is closed\n"
  local dying = "ClosedError: the Lua state is being closed: this cannot be made any more\n"
  t.assertEquals({ output, errors, code },
    { "true\tran\ntrue\tran, too\n" .. dying .. closed:rep(3) .. dying:rep(2), "", 0 })
end

function TestLifetime:test_a_finaliser_can_run_a_loop_while_the_state_lives()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local result
    setmetatable({}, { __gc = function() result = asyncio.run(function() asyncio.sleep(0) return "done" end) end })
    collectgarbage()
    print(result)
  ]]
  t.assertEquals({ output, errors, code }, { "done\n", "", 0 })
end

-- It stayed there until something else woke the loop.
function TestLifetime:test_what_a_finaliser_writes_in_the_hunt_for_lost_errors_leaves_with_the_turn()
  local unsent
  t.real(function(reports)
    local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local loop = asyncio.get_running_loop()
    collectgarbage("incremental", 1000)
    collectgarbage() -- from here on only the hunt collects
    setmetatable({}, { __gc = function()
      writer:write "some bytes"
      loop:call_soon(function() unsent = writer:_buffer() end) -- in the next turn
    end })
    asyncio.create_task { function() error("nobody hears", 0) end, name = "lost" }
    asyncio.sleep(0)
    t.wait_until(function() return unsent end)
    t.take_report(reports, "never looked at")
  end)
  collectgarbage("incremental", 200)
  t.assertEquals(unsent, 0)
end

-- The task called what was left on its stack: "attempt to call a nil value".
function TestLifetime:test_a_finaliser_that_resumes_the_coroutine_a_task_is_made_of()
  local refused, ended = 0, 0
  collectgarbage("incremental", 1, 1000, 1) -- the last test: it stays so
  t.run(function()
    for _ = 1, t.count(2000) do
      local co = coroutine.create(function(n) return n end)
      setmetatable({}, { __gc = function() coroutine.resume(co, 1) end })
      local ok, task = pcall(asyncio.create_task, co, 7)
      if ok then
        t.assertEquals(asyncio.await(task), 7)
        ended = ended + 1
      else
        t.assertStrContains(task, "a coroutine that has not started expected")
        refused = refused + 1
      end
    end
  end)
  t.assertEquals(refused + ended, t.count(2000))
end

function TestCollected:test_a_loop_takes_no_task_from_a_finaliser_that_runs_before_its_own()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    do
      local loop = asyncio.new_event_loop()
      loop:create_task(function() end)
      setmetatable({}, { __gc = function()
        print(pcall(loop.create_task, loop, print))
        print(#asyncio.all_tasks(loop))
        loop:close()
      end })
    end
    collectgarbage()
    print "survived"
  ]]
  t.assertEquals({ output, code }, { "false\tClosedError: the event loop is closed\n1\nsurvived\n", 0 }, errors)
end

function TestCollected:test_errors_and_streams_that_go_with_their_loop_are_told_of()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"
    warn "@on"
    do
      local loop = asyncio.new_event_loop()
      loop:create_future():set_exception "of a future"
      loop:create_task(function() error("of a task", 0) end)
      loop:create_task(function()
        local _ = asyncio.stream_pair()
        asyncio.sleep(100)
      end)
      for _ = 1, 5 do loop:run_once(0) end
    end
    collectgarbage()
  ]]
  t.assertEquals({ output, code }, { "", 0 })
  t.assertStrContains(errors, "the error of a future was never looked at")
  t.assertStrContains(errors, "the error of a task was never looked at")
  t.assertStrContains(errors, "was not closed")
  t.assertNotStrContains(errors, "error in __gc")
end

-- A task that waits for another was cancelled there, and the other was not found any more.
function TestCollected:test_finalisers_that_run_before_its_own_may_call_whatever_there_is()
  local output, errors, code = t.lua [[
    local asyncio = require "asyncio"

    --- A loop with tasks that wait for each other, and more, which are collected together; before, fn has them.
    local function world(fn)
      local loop, all = asyncio.new_event_loop(), nil
      loop:create_task(function()
        local queue, event = asyncio.Queue(), asyncio.Event()
        local waits = asyncio.create_task(function() queue:get() end)
        local follows = asyncio.create_task(function() asyncio.await(waits) end)
        local shields = asyncio.create_task(function() asyncio.shield(follows) end)
        all = { queue, event, waits, follows, shields, asyncio.create_task(event.wait, event) }
        asyncio.sleep(0)
      end)
      for _ = 1, 10 do loop:run_once(0) end
      for _, more in ipairs { loop, loop:create_future(), loop:call_later(10, print) } do all[#all + 1] = more end
      setmetatable({}, { __gc = function() fn(all) end })
    end

    local function methods(object)
      local index = debug.getmetatable(object).__index
      return type(index) == "table" and index or debug.getmetatable(object).methods
    end

    local cases = {}
    world(function(all)
      for i, object in ipairs(all) do
        cases[#cases + 1] = { i, tostring }
        for _, method in pairs(methods(object)) do cases[#cases + 1] = { i, method } end
      end
    end)
    collectgarbage()
    warn "@off"
    local called = 0
    for _, case in ipairs(cases) do
      world(function(all)
        pcall(case[2], all[case[1] ])
        pcall(case[2], all[case[1] ], print)
        pcall(case[2], all[case[1] ], 1, print)
        called = called + 1
      end)
      collectgarbage()
    end
    print(called == #cases, called > 100)
  ]]
  t.assertEquals({ output, code }, { "true\ttrue\n", 0 }, errors)
end

t.finish { sampled = true }
