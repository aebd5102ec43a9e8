-- fault_spec.lua - what goes wrong with connections: resets in each state, peers that never read, crowds.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function is_broken(err)
  return asyncio.isinstance(err, asyncio.ConnectionResetError) or asyncio.isinstance(err, asyncio.BrokenPipeError)
end

local function assert_broken(err) t.assertTrue(is_broken(err), tostring(err)) end

--- Writes until the kernel takes no more.
local function fill(writer)
  local block = ("x"):rep(65536)
  for _ = 1, 1000 do
    writer:write(block)
    asyncio.sleep(0)
    if writer:_buffer() > 0 then return end
  end
  t.fail "the kernel took everything"
end

TestReset = {}

function TestReset:test_while_nobody_reads_or_writes_shows_at_the_next_read_and_write()
  t.real(function()
    peers.bare(function(reader, writer, peer)
      peers.reset(peer)
      asyncio.sleep(0.01)
      assert_broken(t.error_of(reader.read, reader, 1))
      assert_broken(t.error_of(reader.read, reader, 1)) -- and again
      assert_broken(t.error_of(writer.write, writer, "x"))
      t.assertFalse(writer:is_closing())
    end)
  end)
end

function TestReset:test_wakes_each_kind_of_read()
  for _, read in ipairs {
    function(reader) return reader:read(1) end,
    function(reader) return reader:read(-1) end,
    function(reader) return reader:readexactly(100) end,
    function(reader) return reader:readline() end,
    function(reader) return reader:readuntil "xx" end,
    function(reader) return reader:readuntil { "xx", "y" } end,
    function(reader) return reader:lines()(reader) end,
    function(reader) return reader:blocks()() end,
    function(reader) return reader:peek() end,
  } do
    t.real(function()
      peers.bare(function(reader, _, peer)
        local task = asyncio.create_task(read, reader)
        asyncio.sleep(0)
        peers.reset(peer)
        assert_broken(t.error_of(asyncio.await, task))
      end)
    end)
  end
end

function TestReset:test_wakes_a_drain_and_a_send()
  for _, wait in ipairs {
    function(writer) writer:drain() end,
    function(writer) writer:send "more" end,
  } do
    t.real(function()
      peers.bare(function(_, writer, peer)
        writer:set_write_buffer_limits { high = 0 }
        fill(writer)
        local task = asyncio.create_task(wait, writer)
        asyncio.sleep(0)
        t.assertFalse(task:done())
        peers.reset(peer)
        assert_broken(t.error_of(asyncio.await, task))
        assert_broken(t.error_of(writer.drain, writer))
      end)
    end)
  end
end

function TestReset:test_after_our_half_close_shows_at_the_read()
  t.real(function()
    peers.bare(function(reader, writer, peer)
      writer:send "all"
      writer:write_eof()
      asyncio.sleep(0.005)
      t.assertEquals(peer:receive(3), "all")
      peers.reset(peer)
      assert_broken(t.error_of(reader.read, reader, 1))
    end)
  end)
end

function TestReset:test_after_the_peer_s_half_close_ends_the_output()
  t.real(function()
    peers.bare(function(reader, writer, peer)
      peer:shutdown "send"
      t.assertNil(reader:read(1))
      fill(writer)
      peers.reset(peer)
      assert_broken(t.error_of(function()
        writer:set_write_buffer_limits { high = 0 }
        writer:drain()
      end))
      t.assertNil(reader:read(1)) -- the end came first
    end)
  end)
end

function TestReset:test_while_we_close_ends_the_close()
  t.real(function()
    peers.bare(function(reader, writer, peer)
      fill(writer)
      writer:close()
      local task = asyncio.create_task(writer.wait_closed, writer)
      t.until_blocked()
      t.assertFalse(task:done())
      peers.reset(peer)
      asyncio.await(task) -- without an error
      t.assertNil(reader:read(1))
      t.assert_raises(asyncio.ClosedError, writer.write, writer, "x") -- our own close counts
    end)
  end)
end

function TestReset:test_of_a_client_before_its_handler_runs_is_the_handler_s_to_see()
  local socket = peers.luasocket()
  t.real(function()
    local seen = asyncio.Queue()
    local server <close> = peers.serve(function(reader)
      seen:put(select(2, pcall(reader.read, reader, 1)) or "end")
    end)
    peers.reset(assert(socket.connect("127.0.0.1", peers.port(server))))
    local what = seen:get()
    t.assertTrue(what == "end" or is_broken(what), tostring(what))
  end)
end

function TestReset:test_of_a_connection_in_the_backlog_leaves_the_server_serving()
  local socket = peers.luasocket()
  t.real(function()
    local server <close> = peers.serve(function(reader, writer)
      local ok, line = pcall(reader.readline, reader)
      if ok and line then writer:write(line) end
    end, { start_serving = false })
    for _ = 1, 10 do peers.reset(assert(socket.connect("127.0.0.1", peers.port(server)))) end
    server:start_serving()
    local reader, writer <close> = peers.connect(server)
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
    writer:close()
  end)
end

TestNeverReads = {}

function TestNeverReads:test_a_peer_holds_up_its_own_sender_only()
  t.real(function()
    peers.bare(function(_, writer)
      fill(writer)
      writer:write(("y"):rep(100000))
      local blocked = asyncio.create_task(writer.drain, writer)
      peers.pair(function(reader, _, _, peer)
        for i = 1, 20 do
          peer:send("line " .. i .. "\n")
          t.assertEquals(reader:readline(), "line " .. i .. "\n")
        end
      end)
      t.assertFalse(blocked:done())
      local before = writer:_buffer()
      t.assertTrue(before > 65536)
      writer:abort()
      t.assert_raises(asyncio.ClosedError, asyncio.await, blocked)
      t.assertEquals((writer:_buffer()), 0)
      writer:wait_closed()
    end)
  end)
end

function TestNeverReads:test_a_drain_can_be_given_up_and_nothing_is_lost()
  t.real(function()
    peers.bare(function(_, writer, peer)
      fill(writer)
      writer:write(("y"):rep(100000), "END")
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() writer:drain() end, 0.01)
      writer:close()
      local last = ""
      while true do
        local data = peers.take(peer, 1 << 20)
        if not data or data == "" then
          if last:sub(-3) == "END" then break end
          asyncio.sleep(0.001)
        else
          last = (last .. data):sub(-3)
        end
      end
      writer:wait_closed()
    end)
  end)
end

function TestNeverReads:test_close_clients_gives_such_a_one_up_after_close_timeout()
  t.real(function()
    local full = asyncio.Event()
    local server <close> = peers.serve(function(reader, writer)
      fill(writer)
      full:set()
      reader:read(1)
    end, { close_timeout = 0.05 })
    local _, writer <close> = peers.connect(server, { limit = 1 })
    full:wait()
    server:close()
    server:close_clients()
    server:wait_closed()
    writer:abort()
  end)
end

TestByteAtATime = {}

function TestByteAtATime:test_both_ways_with_small_buffers_in_the_kernel()
  local socket = peers.luasocket()
  t.real(function()
    local listener = assert(socket.tcp4())
    assert(listener:bind("127.0.0.1", 0))
    listener:setoption("recv-buffer-size", 2048) -- short writes at our end
    assert(listener:listen(1))
    local _, port = listener:getsockname()
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", tonumber(port))
    local peer = assert(listener:accept())
    listener:close()
    peer:settimeout(0)
    peer:setoption("tcp-nodelay", true)
    local n = t.count(2000)
    local text = peers.text(n * 40)
    local sender = asyncio.create_task(function()
      for at = 1, #text, 40 do writer:send(text:sub(at, at + 39)) end
      writer:write_eof()
    end)
    local echo = asyncio.create_task(function()
      local got = {}
      while true do
        asyncio.wait_readable(peer)
        local data, err = peer:receive(1)
        got[#got + 1] = data
        if err == "closed" then break end
        if #got % 40 == 0 then assert(peer:send(data)) end
      end
      peer:close()
      return table.concat(got)
    end)
    local bytes = {}
    for i = 1, n do bytes[i] = reader:readexactly(1) end
    asyncio.await(sender)
    t.assertTrue(asyncio.await(echo) == text)
    t.assertEquals(table.concat(bytes), (text:gsub(("."):rep(39) .. "(.)", "%1")))
  end)
end

TestCrowd = {}

--- A shell command that makes room for n descriptors, and for how many there is room.
local function room_for(n)
  local pipe = io.popen "ulimit -H -n"
  local most = tonumber(pipe:read "l") or math.huge
  pipe:close()
  n = math.min(n, most)
  return ("ulimit -n %d;"):format(n), n
end

--- Runs a program that may open n files, and returns what it prints.
local function with_room(source, n)
  local command, file = peers.lua_command(source)
  local _ <close> = file
  local pipe = io.popen(("%s timeout -k 5 100 %s 2>&1"):format(room_for(n), command))
  local output = pipe:read "a"
  pipe:close()
  return t.unhurried(output)
end

local CROWD = [[
  local asyncio = require "asyncio"
  local N = %d
  local function descriptors()
    local n, pipe = 0, io.popen "ls /proc/self/fd 2>/dev/null"
    for _ in pipe:lines() do n = n + 1 end
    pipe:close()
    return n
  end
  local function crowd(finish)
    return asyncio.run(function()
      asyncio.get_running_loop().slow_callback_duration = 60
      local here, ended, clients = 0, 0, {}
      local before = descriptors()
      local server = asyncio.start_server(function(reader, writer)
        here = here + 1
        local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
        writer:write "hello\n"
        while reader:read(100) do end
      end, "127.0.0.1", 0, { backlog = 1024 })
      local port = server:sockets()[1].port
      for i = 1, N do
        clients[i] = table.pack(asyncio.open_connection("127.0.0.1", port))
        assert(clients[i][1]:readline() == "hello\n")
      end
      finish(server)
      local ends = 0
      for _, client in ipairs(clients) do
        local ok, rest = pcall(client[1].read, client[1], 1)
        if not ok or rest == nil then ends = ends + 1 end
        client[2]:close()
        client[2]:wait_closed()
      end
      server:wait_closed()
      print(here, ended, ends, #asyncio.all_tasks(), descriptors() - before)
    end)
  end
]]

local ENDS = {
  close_clients = "crowd(function(server) server:close() server:close_clients() server:wait_closed() end)",
  abort_clients = "crowd(function(server) server:close() server:abort_clients() server:wait_closed() end)",
  scope_left_by_an_error = [[crowd(function(server)
    pcall(function()
      local _ <close> = server
      error "out"
    end)
  end)]],
}

for name, body in pairs(ENDS) do
  TestCrowd["test_of_1000_clients_is_gone_after_" .. name] = function()
    local _, room = room_for(2 * t.count(1000) + 100)
    local n = (room - 100) // 2
    t.assertEquals(with_room(CROWD:format(n) .. body, 2 * n + 100), ("%d\t%d\t%d\t1\t0\n"):format(n, n, n))
  end
end

function TestCrowd:test_of_10000_idle_connections_is_served_when_each_speaks_at_last()
  local room, n = room_for(t.count(10000) + 100)
  n = n - 100
  if n < t.count(10000) then print(("# skip: room for %d connections only"):format(n)) end
  local port, wait = peers.program(([[
    local asyncio = require "asyncio"
    local N, here = %d, 0
    asyncio.run(function()
      asyncio.get_running_loop().slow_callback_duration = 60
      local all = asyncio.Event()
      local server <close> = asyncio.start_server(function(reader, writer)
        here = here + 1
        writer:write(reader:readline():upper())
        if here == N then all:set() end
      end, "127.0.0.1", 0, { backlog = 1024 })
      print(server:sockets()[1].port)
      io.stdout:flush()
      all:wait()
    end)
    print(here)
  ]]):format(n), room)
  local output = with_room(([[
    local asyncio = require "asyncio"
    local N, port = %d, %d
    asyncio.run(function()
      asyncio.get_running_loop().slow_callback_duration = 60
      local clients, good = {}, 0
      for i = 1, N do clients[i] = table.pack(asyncio.open_connection("127.0.0.1", port)) end
      for i, client in ipairs(clients) do client[2]:write("hello " .. i .. "\n") end
      for i, client in ipairs(clients) do
        if client[1]:readline() == "HELLO " .. i .. "\n" and client[1]:read(1) == nil then good = good + 1 end
        client[2]:close()
      end
      print(good)
    end)
  ]]):format(n, port), n + 100)
  t.assertEquals(output, n .. "\n")
  t.assertEquals((wait()), "\n" .. n .. "\n")
end

TestForbidden = {}

--- What a program prints that runs as nobody.
local function as_nobody(source)
  local command, file = peers.lua_command(source)
  local _ <close> = file
  os.execute("chmod a+r " .. file.name)
  local pipe <close> = io.popen(("setpriv --reuid 65534 --clear-groups %s 2>&1"):format(command))
  return t.unhurried(pipe:read "a")
end

function TestForbidden:test_port_says_which()
  if not peers.has "setpriv" then t.skip "setpriv is not installed" end
  local file <close> = io.open "/proc/sys/net/ipv4/ip_unprivileged_port_start"
  local first = file and file:read "n" or 1024
  if first < 2 then t.skip "every port is free for all here" end
  local output = as_nobody [[
    local asyncio = require "asyncio"
    local ok, err = asyncio.run(function() return pcall(asyncio.start_server, print, "127.0.0.1", 1) end)
    print(ok, asyncio.isinstance(err, asyncio.PermissionError), err.code, err.errno, err.syscall)
    print(err.address, err)
  ]]
  t.assertEquals(output, "false\ttrue\tEACCES\t13\tlisten\n" ..
    "127.0.0.1:1\t[EACCES] permission denied: listen 127.0.0.1:1\n")
end

t.leave_out(TestForbidden, "coverage", "test_port_says_which") -- nobody may not write what was counted

t.finish()
