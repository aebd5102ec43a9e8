-- poll_spec.lua - Loop:add_reader and add_writer: descriptors of other libraries.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

--- Runs fn(loop, socket, peer) with two bare sockets that are connected.
local function with_sockets(fn)
  local socket = peers.luasocket()
  t.run(function(reports)
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local one = assert(socket.connect("127.0.0.1", port))
    local two = assert(listener:accept())
    listener:close()
    one:settimeout(0)
    two:settimeout(0)
    fn(asyncio.get_running_loop(), one, two, reports)
    one:close()
    two:close()
  end)
end

TestAddReader = {}

function TestAddReader:test_calls_when_there_is_something_to_read()
  with_sockets(function(loop, one, two)
    local got = {}
    loop:add_reader(one, function() got[#got + 1] = (one:receive(1)) end)
    asyncio.sleep(0.005)
    t.assertEquals(got, {})
    for i, byte in ipairs { "a", "b", "c" } do
      two:send(byte)
      t.wait_until(function() return #got == i end)
    end
    t.assertEquals(got, { "a", "b", "c" })
    t.assertTrue(loop:remove_reader(one))
  end)
end

function TestAddReader:test_calls_again_and_again_while_nobody_has_read()
  with_sockets(function(loop, one, two)
    local calls = 0
    loop:add_reader(one, function() calls = calls + 1 end)
    two:send "x"
    t.wait_until(function() return calls >= 3 end)
    t.assertEquals(one:receive(1), "x")
    asyncio.sleep(0.001) -- what was under way
    local before = calls
    asyncio.sleep(0.01)
    t.assertEquals(calls, before)
    loop:remove_reader(one)
  end)
end

function TestAddReader:test_hands_the_arguments_on()
  with_sockets(function(loop, one, two)
    local args
    loop:add_reader(one, function(...)
      args = table.pack(...)
      loop:remove_reader(one)
    end, 1, nil, "three", nil)
    two:send "x"
    t.wait_until(function() return args end)
    t.assertEquals(args, { 1, nil, "three", nil, n = 4 })
  end)
end

function TestAddReader:test_takes_a_number_too()
  with_sockets(function(loop, one, two)
    local called = false
    loop:add_reader(one:getfd(), function()
      called = true
      loop:remove_reader(one:getfd())
    end)
    two:send "x"
    t.wait_until(function() return called end)
  end)
end

function TestAddReader:test_calls_when_the_peer_closes()
  with_sockets(function(loop, one, two)
    local message
    loop:add_reader(one, function()
      message = select(2, one:receive(1))
      loop:remove_reader(one)
    end)
    two:close()
    t.wait_until(function() return message end)
    t.assertEquals(message, "closed")
  end)
end

function TestAddReader:test_replaces_the_function_that_was_there()
  with_sockets(function(loop, one, two)
    local calls = {}
    loop:add_reader(one, function() calls[#calls + 1] = "old" end)
    loop:add_reader(one, function()
      calls[#calls + 1] = "new"
      one:receive(1)
    end)
    two:send "x"
    t.wait_until(function() return #calls > 0 end)
    t.assertEquals(calls, { "new" })
    loop:remove_reader(one)
  end)
end

function TestAddReader:test_reports_an_error_and_goes_on()
  with_sockets(function(loop, one, two, reports)
    local calls = 0
    loop:add_reader(one, function()
      calls = calls + 1
      one:receive(1)
      if calls == 1 then error "the callback's own fault" end
    end)
    for i = 1, 2 do
      two:send "x"
      t.wait_until(function() return calls == i end)
    end
    loop:remove_reader(one)
    t.assertStrContains(tostring(t.take_report(reports, ".").exception), "the callback's own fault")
  end)
end

function TestAddReader:test_lets_a_task_wait_for_a_socket_of_another_library()
  with_sockets(function(loop, one, two)
    local function receive(sock)
      while true do
        local line, err, partial = sock:receive "*l"
        if line then return line end
        t.assertEquals({ err, partial }, { "timeout", "" })
        local readable = loop:create_future()
        loop:add_reader(sock, function()
          loop:remove_reader(sock)
          readable:set_result()
        end)
        asyncio.await(readable)
      end
    end
    local task = asyncio.create_task(receive, one)
    asyncio.sleep(0.005)
    two:send "hello\n"
    t.assertEquals(asyncio.await(task), "hello")
  end)
end

function TestAddReader:test_on_a_file_raises_as_files_cannot_be_watched()
  t.run(function()
    local script = io.open(arg[0])
    local loop, fd = asyncio.get_running_loop(), nil
    for n = 3, 64 do -- the descriptor that is this file
      local pipe = io.popen(("readlink /proc/%s/fd/%d 2>/dev/null"):format("$PPID", n))
      local name = pipe:read "l"
      pipe:close()
      if name and name:find "poll_spec%.lua$" then fd = n end
    end
    if not fd then t.skip "no /proc here" end
    local err = t.assert_raises(asyncio.OSError, loop.add_reader, loop, fd, print)
    t.assertEquals(err.code, "EPERM")
    t.assertFalse(loop:remove_reader(fd))
    script:close()
  end)
end

function TestAddReader:test_refuses_wrong_arguments()
  with_sockets(function(loop, one)
    t.assertErrorMsgContains("function expected", loop.add_reader, loop, one)
    t.assertErrorMsgContains("function expected", loop.add_reader, loop, one, 5)
    for _, wrong in ipairs { -1, 1.5, "x", {}, true, 1 << 40 } do
      t.assertErrorMsgContains("descriptor", loop.add_reader, loop, wrong, print)
    end
    t.assert_raises(asyncio.OSError, loop.add_reader, loop, 9999, print)
  end)
end

TestRemoveReader = {}

function TestRemoveReader:test_tells_whether_there_was_one_and_no_call_follows()
  with_sockets(function(loop, one, two)
    local calls = 0
    t.assertFalse(loop:remove_reader(one))
    loop:add_reader(one, function() calls = calls + 1 end)
    two:send "x"
    t.assertTrue(loop:remove_reader(one))
    t.assertFalse(loop:remove_reader(one))
    asyncio.sleep(0.01)
    t.assertEquals(calls, 0)
    loop:add_reader(one, function()
      calls = calls + 1
      loop:remove_reader(one)
    end)
    t.wait_until(function() return calls > 0 end)
    asyncio.sleep(0.01)
    t.assertEquals(calls, 1)
  end)
end

function TestRemoveReader:test_lets_the_descriptor_be_used_again_at_once()
  local socket = peers.luasocket()
  t.run(function()
    local loop = asyncio.get_running_loop()
    for _ = 1, 50 do
      local one = assert(socket.udp4())
      one:settimeout(0)
      one:setsockname("127.0.0.1", 0)
      local called = false
      loop:add_reader(one, function()
        called = one:receive()
        loop:remove_reader(one)
      end)
      local other = assert(socket.udp4())
      local _, port = one:getsockname()
      other:sendto("hi", "127.0.0.1", port)
      t.wait_until(function() return called end)
      t.assertEquals(called, "hi")
      one:close()
      other:close()
    end
  end)
end

TestAddWriter = {}

function TestAddWriter:test_calls_when_there_is_room_to_write()
  with_sockets(function(loop, one, two)
    local text, at = ("x"):rep(8000000), 1
    loop:add_writer(one, function()
      local last, _, partial = one:send(text, at)
      at = (last or partial) + 1
      if at > #text then loop:remove_writer(one) end
    end)
    local length = 0
    t.wait_until(function()
      length = length + #peers.take(two, 1000000)
      return length == #text
    end)
    t.assertFalse(loop:remove_writer(one))
  end)
end

function TestAddWriter:test_and_add_reader_on_one_descriptor_work_side_by_side()
  with_sockets(function(loop, one, two)
    local reads, writes = 0, 0
    loop:add_reader(one, function()
      reads = reads + 1
      one:receive(1)
    end)
    loop:add_writer(one, function()
      writes = writes + 1
      if writes == 3 then loop:remove_writer(one) end
    end)
    t.wait_until(function() return writes == 3 end)
    t.assertEquals(reads, 0)
    two:send "x"
    t.wait_until(function() return reads == 1 end)
    t.assertEquals(writes, 3)
    t.assertTrue(loop:remove_reader(one))
  end)
end

function TestAddWriter:test_that_is_forgotten_ends_with_the_loop()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    local socket = require "socket"
    asyncio.run(function()
      local one = socket.udp4()
      asyncio.get_running_loop():add_writer(one, function() end)
      asyncio.get_running_loop():add_reader(one, function() end)
      asyncio.sleep(0.01)
    end)
    print "over"
  ]]
  if err:find("module 'socket' not found", 1, true) then t.skip "LuaSocket is not installed" end
  t.assertEquals(err, "")
  t.assertEquals(out, "over\n")
  t.assertEquals(code, 0)
end

t.finish()
