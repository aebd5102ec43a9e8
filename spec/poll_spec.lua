-- poll_spec.lua - Loop:add_reader and add_writer: descriptors of other libraries.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

--- Runs fn(loop, socket, peer) with two bare sockets that are connected.
local function with_sockets(fn)
  local socket = peers.luasocket()
  t.real(function(reports)
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

--- A descriptor that nobody has open.
local function unused_fd()
  for fd = 200, 300 do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if not file then return fd end
    file:close()
  end
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
    t.assertFalse(loop:remove_reader(one:getfd()))
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
  t.real(function()
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
  t.real(function()
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
  if err:find "module 'socket[%w.]*' not found" then t.skip "LuaSocket is not installed" end
  t.assertEquals(err, "")
  t.assertEquals(out, "over\n")
  t.assertEquals(code, 0)
end


TestFlags = {}

function TestFlags:test_of_the_descriptor_stay_as_they_are()
  if not io.open "/proc/self/fdinfo/0" then t.skip "no /proc here" end
  local command, file = peers.lua_command [[
    local asyncio = require "asyncio"
    local function nonblocking()
      local file <close> = io.open "/proc/self/fdinfo/0"
      return tonumber(file:read("a"):match "flags:%s*(%d+)", 8) & 0x800 ~= 0
    end
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      print(nonblocking())
      asyncio.wait_readable(0)
      print(nonblocking())
      local seen = loop:create_future()
      loop:add_reader(0, function() loop:remove_reader(0) seen:set_result(nonblocking()) end)
      print(asyncio.await(seen))
      print(nonblocking(), io.read "l")
    end)
  ]]
  local _ <close> = file
  local pipe = io.popen(("echo hello | timeout 60 %s 2>&1"):format(command))
  t.assertEquals(t.unhurried(pipe:read "a"), "false\nfalse\nfalse\nfalse\thello\n")
  pipe:close()
end

TestWaitReadable = {}

function TestWaitReadable:test_returns_when_there_is_something_to_read()
  with_sockets(function(loop, one, two)
    local task = asyncio.create_task(asyncio.wait_readable, one)
    asyncio.sleep(0.005)
    t.assertFalse(task:done())
    t.assertStrContains(tostring(task), "wait_readable")
    two:send "x"
    t.assertEquals(table.pack(asyncio.await(task)), { n = 0 })
    t.assertEquals(one:receive(1), "x")
    two:send "y"
    asyncio.wait_readable(one:getfd()) -- a number, too
    t.assertEquals(one:receive(1), "y")
    t.assertEquals(loop:_open_handles(), 0)
  end)
end

function TestWaitReadable:test_returns_when_the_peer_closes()
  with_sockets(function(_, one, two)
    local task = asyncio.create_task(asyncio.wait_readable, one)
    asyncio.sleep(0)
    two:close()
    asyncio.await(task)
    t.assertEquals(select(2, one:receive(1)), "closed")
  end)
end

--- The whole of an echo over LuaSocket, as its users would write it.
function TestWaitReadable:test_makes_an_echo_server_of_LuaSocket_s_sockets()
  local socket = peers.luasocket()
  t.real(function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    listener:settimeout(0)
    local _, port = listener:getsockname()
    local server = asyncio.create_task(function()
      asyncio.wait_readable(listener)
      local client = assert(listener:accept())
      client:settimeout(0)
      while true do
        asyncio.wait_readable(client)
        local data, err, partial = client:receive(8192)
        data = data or partial
        local at = 1
        while at <= #data do
          local last, why, sent = client:send(data, at)
          if why == "timeout" then asyncio.wait_writable(client) end
          at = (last or sent) + 1
        end
        if err == "closed" then break end
      end
      client:close()
    end)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", tonumber(port))
    local text = peers.text(t.count(3) * 1000000)
    local sender = asyncio.create_task(function()
      writer:send(text)
      writer:write_eof()
    end)
    t.assertTrue(reader:read(-1) == text)
    asyncio.gather(sender, server)
    listener:close()
  end)
end

function TestWaitReadable:test_can_be_cancelled_and_the_next_one_waits_in_its_place()
  with_sockets(function(loop, one, two)
    local task = asyncio.create_task(asyncio.wait_readable, one)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(loop:_open_handles(), 0)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() asyncio.wait_readable(one) end, 0.01)
    two:send "x"
    asyncio.wait_readable(one)
    t.assertEquals(one:receive(1), "x")
  end)
end

function TestWaitReadable:test_by_two_tasks_is_an_error_that_names_the_first()
  with_sockets(function(_, one, two)
    local first = asyncio.create_task { asyncio.wait_readable, one, name = "first" }
    asyncio.sleep(0)
    local err = t.assert_raises(asyncio.BusyError, asyncio.wait_readable, one)
    t.assertStrContains(tostring(err), "'first'")
    asyncio.wait_writable(one) -- that is another matter
    two:send "x"
    asyncio.await(first)
  end)
end

function TestWaitReadable:test_and_add_reader_exclude_each_other()
  with_sockets(function(loop, one)
    loop:add_reader(one, print)
    local err = t.assert_raises(asyncio.BusyError, asyncio.wait_readable, one)
    t.assertStrContains(tostring(err), "add_reader")
    loop:remove_reader(one)
    local task = asyncio.create_task { asyncio.wait_readable, one, name = "waiting" }
    asyncio.sleep(0)
    err = t.assert_raises(asyncio.BusyError, loop.add_reader, loop, one, print)
    t.assertStrContains(tostring(err), "'waiting'")
    t.assertFalse(loop:remove_reader(one))
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
end

function TestWaitReadable:test_of_what_cannot_be_watched_raises_in_words()
  t.real(function()
    local command, file = peers.lua_command [[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local ok, err = pcall(asyncio.wait_readable, 0)
        print(asyncio.isinstance(err, asyncio.PermissionError), err)
      end)
    ]]
    local _ <close> = file
    local pipe = io.popen(("timeout 60 %s <'%s' 2>&1"):format(command, file.name))
    t.assertEquals(t.unhurried(pipe:read "a"),
      "true\t[EPERM] operation not permitted: poll descriptor 0, which is always ready\n")
    pipe:close()
    local fd = unused_fd()
    local err = t.assert_raises(asyncio.OSError, asyncio.wait_readable, fd)
    t.assertEquals(tostring(err), ("[EBADF] bad file descriptor: poll descriptor %d"):format(fd))
    for _, wrong in ipairs { -1, 1.5, "x", {}, true, 1 << 40 } do
      t.assertErrorMsgContains("descriptor", asyncio.wait_readable, wrong)
    end
    t.assertErrorMsgContains("descriptor", asyncio.wait_writable)
  end)
end

function TestWaitReadable:test_outside_a_task_raises()
  t.assertErrorMsgContains("task", asyncio.wait_readable, 0)
end

function TestWaitReadable:test_many_at_once()
  local socket = peers.luasocket()
  t.real(function()
    local n, pairs_of, woken = t.count(300), {}, 0
    local listener = assert(socket.bind("127.0.0.1", 0, 512))
    local _, port = listener:getsockname()
    for i = 1, n do
      local one = assert(socket.connect("127.0.0.1", port))
      pairs_of[i] = { one, (assert(listener:accept())) }
      asyncio.create_task(function()
        asyncio.wait_readable(one)
        woken = woken + 1
      end)
    end
    listener:close()
    asyncio.sleep(0.005)
    t.assertEquals(woken, 0)
    for i = 1, n do pairs_of[i][2]:send "x" end
    t.wait_until(function() return woken == n end)
    for i = 1, n do
      pairs_of[i][1]:close()
      pairs_of[i][2]:close()
    end
  end)
end

TestWaitWritable = {}

function TestWaitWritable:test_waits_until_there_is_room()
  with_sockets(function(_, one, two)
    asyncio.wait_writable(one)
    local block, last = ("x"):rep(65536), nil
    for _ = 1, 1000 do
      last = one:send(block)
      if not last then break end
    end
    t.assertNil(last, "the kernel's buffer is full")
    local task = asyncio.create_task(asyncio.wait_writable, one)
    asyncio.sleep(0.005)
    t.assertFalse(task:done())
    t.wait_until(function()
      two:receive(1 << 20)
      return task:done()
    end)
    asyncio.await(task)
  end)
end

TestClosed = {}

--- A pair of sockets that aren't closed at the end.
local function bare_pair(socket)
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local one, two = assert(socket.connect("127.0.0.1", port)), assert(listener:accept())
  listener:close()
  return one, two
end

function TestClosed:test_while_watched_does_not_end_the_process_and_disturbs_no_stream()
  local socket = peers.luasocket()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local one, two = bare_pair(socket)
    local fd = one:getfd()
    loop:add_reader(one, error, "called for a stranger")
    one:close() -- before the loop has polled: libuv would call abort
    asyncio.sleep(0.005)
    peers.pair(function(reader, _, _, peer) -- its descriptors take the free number
      peer:send "hello\n"
      t.assertEquals(reader:readline(), "hello\n")
    end)
    t.assertTrue(loop:remove_reader(fd))
    two:close()
  end)
end

function TestClosed:test_by_the_callback_itself_is_reported()
  local socket = peers.luasocket()
  t.real(function(reports)
    local loop = asyncio.get_running_loop()
    local one, two = bare_pair(socket)
    local fd = one:getfd()
    loop:add_reader(one, one.close, one)
    two:send "x"
    t.wait_until(function() return #reports > 0 end)
    t.take_report(reports, ("descriptor %d was closed while it was watched"):format(fd))
    t.assertFalse(loop:remove_reader(fd))
    two:close()
  end)
end

function TestClosed:test_and_its_number_used_again_ends_the_wait_with_an_error()
  local socket = peers.luasocket()
  t.real(function()
    local one, two = bare_pair(socket)
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local fd = one:getfd()
    local task = asyncio.create_task(asyncio.wait_readable, one)
    asyncio.sleep(0)
    one:close()
    local three = assert(socket.connect("127.0.0.1", port))
    t.assertEquals(three:getfd(), fd)
    local second = asyncio.create_task(asyncio.wait_readable, three)
    t.assert_raises(asyncio.ClosedError, asyncio.await, task)
    local four = assert(listener:accept())
    four:send "x"
    asyncio.await(second)
    for _, each in ipairs { two, three, four, listener } do each:close() end
  end)
end

function TestClosed:test_loop_ends_with_a_task_that_waits()
  peers.luasocket()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    local loop = asyncio.new_event_loop()
    local one, two = require "socket".udp4(), require "socket".udp4()
    loop:create_task(asyncio.wait_readable, one)
    loop:create_task(function()
      asyncio.wait_readable(two)
    end)
    loop:run_until_complete(asyncio.sleep, 0)
    loop:close()
    print(pcall(loop.add_reader, loop, 0, print))
  ]]
  t.assertEquals(err, "")
  t.assertStrContains(out, "the event loop is closed")
end

t.finish()
