-- asyncio.socket among tasks: who waits lets the others run, and what ends a wait.
local t = require "helper"
local socket = require "asyncio.socket"

local asyncio = t.asyncio

--- Two sockets that are connected.
local function pair()
  local server = assert(socket.bind("127.0.0.1", 0))
  local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
  local peer = assert(server:accept())
  server:close()
  return client, peer
end

--- A port of 127.0.0.1 where nobody listens.
local function dead_port()
  local s = socket.tcp4()
  s:bind("127.0.0.1", 0)
  return s, (select(2, s:getsockname()))
end

TestWaits = {}

function TestWaits:test_suspends_its_task_and_no_other()
  t.real(function()
    local client, peer = pair()
    local order = {}
    local reads = asyncio.create_task(function()
      local line = client:receive()
      order[#order + 1] = line
    end)
    asyncio.sleep(0)
    order[#order + 1] = "others run"
    peer:send "line\n"
    asyncio.await(reads)
    t.assertEquals(order, { "others run", "line" })
    client:close()
    peer:close()
  end)
end

function TestWaits:test_many_at_once()
  t.real(function()
    local server = assert(socket.bind("127.0.0.1", 0, 64))
    local _, port = server:getsockname()
    local function serve(client)
      local line = client:receive()
      socket.sleep(0.001)
      client:send(line:upper() .. "\n")
      client:close()
    end
    local got = 0
    local function ask(i)
      local client = assert(socket.connect("127.0.0.1", port))
      client:send("line " .. i .. "\n")
      t.assertEquals(client:receive "*a", "LINE " .. i .. "\n")
      client:close()
      got = got + 1
    end
    do
      local group <close> = asyncio.TaskGroup()
      for i = 1, 50 do group:create_task(ask, i) end
      for _ = 1, 50 do group:create_task(serve, server:accept()) end
    end
    t.assertEquals(got, 50)
    server:close()
  end)
end

function TestWaits:test_reads_and_writes_of_one_socket_side_by_side()
  t.real(function()
    local client, peer = pair()
    local block = ("x"):rep(3000000)
    local results = table.pack(asyncio.gather(function() return client:send(block) end,
      function() return client:receive "*a" end,
      function()
        local got = peer:receive(#block)
        peer:send "all of it"
        peer:close()
        return #got
      end))
    t.assertEquals(results, { #block, "all of it", #block, n = 3 })
    client:close()
  end)
end

function TestWaits:test_has_its_time_by_the_loops_clock()
  t.run(function()
    local client, peer = pair()
    local loop = asyncio.get_running_loop()
    local begin, since = loop:time(), socket.gettime()
    client:settimeout(1000)
    t.assertEquals({ client:receive() }, { nil, "timeout", "" })
    t.assertAlmostEquals(loop:time() - begin, 1000, 1e-6)
    socket.sleep(500)
    t.assertAlmostEquals(socket.gettime() - since, 1500, 1e-3)
    t.assertEquals({ socket.select({ client }, nil, 10) }, { {}, {}, "timeout" })
    t.assertAlmostEquals(loop:time() - begin, 1510, 1e-6)
    client:close()
    peer:close()
  end)
end

function TestWaits:test_both_limits_together_give_each_wait_the_shorter_one()
  t.run(function()
    local client, peer = pair()
    local loop = asyncio.get_running_loop()
    client:settimeout(10)
    client:settimeout(25, "t")
    local drips = asyncio.create_task(function()
      while true do
        asyncio.sleep(8)
        peer:send "."
      end
    end)
    local begin = loop:time()
    t.assertEquals({ client:receive(100) }, { nil, "timeout", "..." })
    t.assertAlmostEquals(loop:time() - begin, 25, 1e-6)
    drips:cancel()
    asyncio.wait { drips }
    client:close()
    peer:close()
  end)
end

function TestWaits:test_goes_on_in_another_loop()
  local client, peer
  t.real(function()
    client, peer = pair()
    client:settimeout(0.001)
    t.assertEquals({ client:receive() }, { nil, "timeout", "" })
  end)
  client:settimeout()
  t.real(function()
    asyncio.create_task(function()
      asyncio.sleep(0.001)
      peer:send "second\n"
    end)
    t.assertEquals(client:receive(), "second")
  end)
  peer:send "none\n"
  t.assertEquals(client:receive(), "none")
  client:close()
  peer:close()
end

function TestWaits:test_gives_way_though_it_never_has_to_wait()
  t.real(function()
    local client, peer = pair()
    local turns = 0
    local other = asyncio.create_task(function()
      while true do
        asyncio.sleep(0)
        turns = turns + 1
      end
    end)
    client:settimeout(0)
    for _ = 1, 2000 do client:receive() end
    for _ = 1, 2000 do peer:send "x" end
    for _ = 1, 2000 do socket.select({ client }, nil, 0) end
    t.assertTrue(turns >= 30)
    other:cancel()
    asyncio.wait { other }
    client:close()
    peer:close()
  end)
end

function TestWaits:test_has_a_name_for_what_it_waits_for()
  t.real(function()
    local client, peer = pair()
    local server = socket.bind("127.0.0.1", 0)
    local udp, idle = socket.udp4(), socket.udp4()
    for _, case in ipairs {
      { "socket receive", function() client:receive() end },
      { "socket accept", function() server:accept() end },
      { "socket receivefrom", function() udp:receive() end },
      { "socket.select", function() socket.select({ idle }) end },
      { "socket.sleep", function() socket.sleep(100) end },
      { "name lookup", function() socket.dns.toip "localhost" end },
      { "socket send", function() client:send(("x"):rep(1 << 24)) end },
    } do
      local name, fn = table.unpack(case)
      local task = asyncio.create_task(fn)
      asyncio.sleep(0)
      t.assertStrContains(tostring(task), name)
      task:cancel()
      asyncio.wait { task }
    end
    for _, s in ipairs { client, peer, server, udp, idle } do s:close() end
  end)
end

TestEnds = {}

function TestEnds:test_a_cancelled_receive_has_taken_nothing()
  t.real(function()
    local client, peer = pair()
    local task = asyncio.create_task(function() return client:receive(10) end)
    peer:send "half"
    socket.sleep(0.01)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    peer:send " and half\n"
    t.assertEquals(client:receive(), "half and half")
    client:close()
    peer:close()
  end)
end

function TestEnds:test_a_cancelled_send_closes_the_socket()
  t.real(function()
    local client, peer = pair()
    local task = asyncio.create_task(function() return client:send(("x"):rep(1 << 24)) end)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(client:getfd(), -1)
    t.assertEquals({ client:send "x" }, { nil, "closed", 0 })
    peer:close()
  end)
end

function TestEnds:test_a_cancelled_connect_closes_the_socket()
  t.real(function()
    local server = socket.tcp4()
    server:bind("127.0.0.1", 0)
    server:listen(0)
    local _, port = server:getsockname()
    local full = {}
    for i = 1, 10 do -- the rest of its queue
      full[i] = socket.tcp4()
      full[i]:settimeout(0)
      full[i]:connect("127.0.0.1", port)
    end
    local client = socket.tcp4()
    local task = asyncio.create_task(function() return client:connect("127.0.0.1", port) end)
    asyncio.sleep(0.001)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(client:getfd(), -1)
    for _, s in ipairs(full) do s:close() end
    server:close()
  end)
end

function TestEnds:test_who_waits_in_a_socket_that_is_closed_hears_of_it()
  t.real(function()
    local client, peer = pair()
    local server, udp = socket.bind("127.0.0.1", 0), socket.udp4()
    local tasks = {
      asyncio.create_task(function() return client:receive "*a" end),
      asyncio.create_task(function() return client:send(("x"):rep(1 << 24)) end),
      asyncio.create_task(function() return server:accept() end),
      asyncio.create_task(function() return udp:receive() end),
    }
    asyncio.sleep(0)
    for _, s in ipairs { client, server, udp } do s:close() end
    t.assertEquals({ asyncio.await(tasks[1]) }, { nil, "closed", "" })
    local last, err, sent = asyncio.await(tasks[2])
    t.assertEquals({ last, err }, { nil, "closed" })
    t.assertTrue(sent > 0)
    t.assertEquals({ asyncio.await(tasks[3]) }, { nil, "closed" })
    t.assertEquals(asyncio.await(tasks[4]), "")
    peer:close()
  end)
end

function TestEnds:test_a_second_reader_is_refused()
  t.real(function()
    local client, peer = pair()
    local first = asyncio.create_task(function() return client:receive() end)
    first:set_name "first"
    asyncio.sleep(0)
    local err = t.assert_raises(asyncio.BusyError, client.receive, client)
    t.assertStrContains(tostring(err), "the socket is being read by task 'first'")
    peer:send "line\n"
    t.assertEquals(asyncio.await(first), "line")
    client:close()
    peer:close()
  end)
end

function TestEnds:test_protect_lets_a_cancellation_through()
  t.real(function()
    local client, peer = pair()
    local closed = false
    local fn = socket.protect(function()
      local try = socket.newtry(function() closed = true end)
      return try(client:receive())
    end)
    local task = asyncio.create_task(fn)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertTrue(task:cancelled())
    t.assertFalse(closed)
    peer:close()
    t.assertEquals({ fn() }, { nil, "closed" })
    t.assertTrue(closed)
    client:close()
  end)
end

function TestEnds:test_a_timeout_ends_a_wait()
  t.run(function()
    local client, peer = pair()
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() client:receive() end, 5)
    t.assertNotNil(err)
    t.assertEquals({ client:close(), peer:close() }, { 1, 1 })
  end)
end

function TestEnds:test_a_collected_socket_is_closed_without_a_word()
  t.real(function()
    local peer = (function() return select(2, pair()) end)()
    asyncio.sleep(0) -- a task keeps what it has waited on last
    t.collect()
    t.assertEquals({ peer:receive() }, { nil, "closed", "" })
    peer:close()
  end)
end

function TestEnds:test_a_loop_that_closes_leaves_nobody_in_a_wait()
  local client, peer = pair()
  local loop = asyncio.new_event_loop()
  loop:create_task(function() client:receive() end)
  loop:run_once()
  loop:close()
  peer:send "after\n"
  t.assertEquals(client:receive(), "after")
  client:close()
  peer:close()
end

TestPlaces = {}

function TestPlaces:test_a_callback_gets_what_is_at_hand_and_never_waits()
  t.real(function()
    local client, peer = pair()
    peer:send "line\n"
    socket.select({ client }, nil, 5)
    local done = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_soon(function()
      local line = client:receive()
      local ok, err = pcall(client.receive, client)
      client:settimeout(0)
      done:set_result({ line, ok, err, { client:receive() } })
    end)
    local line, ok, err, none = table.unpack(asyncio.await(done))
    t.assertEquals({ line, ok, none }, { "line", false, { nil, "timeout", "" } })
    t.assertStrContains(tostring(err), "cannot wait outside of a task")
    client:close()
    peer:close()
  end)
end

function TestPlaces:test_where_lua_cannot_suspend_it_raises()
  t.real(function()
    local client, peer = pair()
    local err = t.error_of(table.sort, { 1, 2 }, function() return client:receive() end)
    t.assertStrContains(tostring(err), "cannot wait inside")
    client:close()
    peer:close()
  end)
end

function TestPlaces:test_waits_in_coroutines_of_a_task()
  t.real(function()
    local client, peer = pair()
    local co = asyncio.coroutine.wrap(function()
      while true do asyncio.coroutine.yield((client:receive())) end
    end)
    asyncio.create_task(function()
      for i = 1, 3 do
        asyncio.sleep(0.001)
        peer:send(i .. "\n")
      end
    end)
    t.assertEquals({ co(), co(), co() }, { "1", "2", "3" })
    client:close()
    peer:close()
  end)
end

TestNames = {}

function TestNames:test_a_name_is_looked_up_off_the_loop()
  t.real(function()
    local server = assert(socket.bind("localhost", 0))
    local _, port = server:getsockname()
    local client = assert(socket.connect("localhost", port))
    local peer = server:accept()
    client:send "hi\n"
    t.assertEquals(peer:receive(), "hi")
    for _, s in ipairs { client, peer, server } do s:close() end
    t.assertEquals({ socket.connect("no.such.host.invalid", 1) }, { nil, "host or service not provided, or not known" })
  end)
end

function TestNames:test_a_lookup_can_be_cancelled()
  t.real(function()
    local task = asyncio.create_task(function() return socket.dns.toip "localhost" end)
    local other = asyncio.create_task(function() return socket.connect("localhost", 1) end)
    asyncio.sleep(0)
    task:cancel()
    other:cancel()
    asyncio.wait { task, other }
    t.assertTrue(task:cancelled() and other:cancelled())
  end)
end

TestSelect = {}

function TestSelect:test_takes_descriptors_of_anybody_else()
  t.real(function()
    local file = assert(io.popen("sleep 0.01; echo hi"))
    local fd = t.fd_of(file)
    local object = { getfd = function() return fd end }
    local r = socket.select({ object }, nil, 5)
    t.assertIs(r[1], object)
    t.assertEquals(file:read "a", "hi\n")
    file:close()
  end)
end

function TestSelect:test_is_not_in_the_way_of_who_reads()
  t.real(function()
    local client, peer = pair()
    local reads = asyncio.create_task(function() return client:receive() end)
    local selects = asyncio.create_task(function() return #socket.select({ client }) end)
    local too = asyncio.create_task(function() return #socket.select({ client, peer }) end)
    asyncio.sleep(0)
    peer:send "line\n"
    t.assertEquals({ asyncio.await(reads), asyncio.await(selects), asyncio.await(too) }, { "line", 1, 1 })
    client:close()
    peer:close()
  end)
end

function TestSelect:test_waits_for_writing()
  t.real(function()
    local client, peer = pair()
    client:settimeout(0)
    repeat until not client:send(("x"):rep(1 << 20))
    local task = asyncio.create_task(function() return #select(2, socket.select(nil, { client })) end)
    asyncio.sleep(0)
    peer:settimeout(0)
    while not task:done() do
      peer:receive "*a"
      asyncio.sleep(0)
    end
    t.assertEquals(asyncio.await(task), 1)
    client:close()
    peer:close()
  end)
end

function TestSelect:test_cancelled_it_leaves_nothing()
  t.real(function()
    local client, peer = pair()
    for _ = 1, 100 do
      local task = asyncio.create_task(function() socket.select({ client, peer }) end)
      asyncio.sleep(0)
      task:cancel()
      asyncio.wait { task }
    end
    t.collect()
    client:close()
    peer:close()
  end)
end

TestClosedWhileItConnects = {}

--- fn gets the port of a server that answers nobody, as its backlog is full.
local function with_silent_server(fn)
  t.real(function()
    local server, held = socket.tcp4(), {}
    server:bind("127.0.0.1", 0)
    server:listen(0)
    local _, port = server:getsockname()
    repeat
      local client = socket.tcp4()
      held[#held + 1] = client
      client:settimeout(0.05)
    until not client:connect("127.0.0.1", port)
    fn(math.tointeger(port))
    for _, client in ipairs(held) do client:close() end
    server:close()
  end)
end

function TestClosedWhileItConnects:test_the_call_ends()
  with_silent_server(function(port)
    local client = socket.tcp4()
    local task = asyncio.create_task(client.connect, client, "127.0.0.1", port)
    t.until_blocked()
    t.assertFalse(task:done())
    client:close()
    t.assertEquals({ asyncio.await(task) }, { nil, "closed" })
    t.assertEquals(client:getfd(), -1)
  end)
end

function TestClosedWhileItConnects:test_so_does_one_that_still_looks_names_up_and_opens_nothing()
  t.real(function()
    local server = socket.bind("127.0.0.1", 0)
    local _, port = server:getsockname()
    for _, method in ipairs { "connect", "bind" } do
      local client = socket.tcp()
      local task = asyncio.create_task(client[method], client, "localhost", method == "bind" and 0 or port)
      asyncio.sleep(0)
      client:close()
      t.assertEquals({ asyncio.await(task) }, { nil, "closed" })
      t.assertEquals(client:getfd(), -1)
    end
    server:close()
  end)
end

function TestClosedWhileItConnects:test_of_two_calls_that_connect_one_is_refused()
  with_silent_server(function(port)
    local client = socket.tcp4()
    local slow = asyncio.create_task(client.connect, client, "localhost", port)
    asyncio.sleep(0)
    local quick = asyncio.create_task(client.connect, client, "127.0.0.1", port)
    t.assert_raises(asyncio.BusyError, asyncio.await, slow)
    t.assertFalse(quick:done())
    client:close()
    t.assertEquals({ asyncio.await(quick) }, { nil, "closed" })
  end)
end

TestOptions = {}

function TestOptions:test_a_socket_is_bound_to_a_device()
  t.real(function()
    local s = socket.tcp4()
    t.assertEquals(s:setoption("bindtodevice", "lo"), 1)
    t.assertEquals(s:getoption "bindtodevice", "lo")
    t.assertEquals({ s:setoption("bindtodevice", "nosuch0") }, { nil, "setsockopt failed" })
    t.assertErrorMsgContains("string expected", s.setoption, s, "bindtodevice")
    s:close()
    t.assertEquals({ s:getoption "bindtodevice" }, { nil, "getsockopt failed" })
  end)
end

TestFullPeer = {}

--- A unix datagram socket whose queue is full, and one that is connected to it, waiting no longer than a limit.
local function full_peer(limit, fn)
  t.real(function()
    local path = os.tmpname()
    os.remove(path)
    local receiver, sender = socket.unix.dgram(), socket.unix.dgram()
    receiver:bind(path)
    sender:connect(path)
    sender:settimeout(0)
    local n = 0
    while sender:send "first" do n = n + 1 end
    sender:settimeout(limit)
    fn(receiver, sender, n)
    receiver:close()
    sender:close()
    os.remove(path)
  end)
end

function TestFullPeer:test_is_waited_for_by_who_sends()
  full_peer(60, function(receiver, sender, n)
    local task = asyncio.create_task(sender.send, sender, "last")
    t.until_blocked()
    t.assertFalse(task:done())
    for _ = 1, n do t.assertEquals(receiver:receive(), "first") end
    t.assertEquals(asyncio.await(task), 4)
    t.assertEquals(receiver:receive(), "last")
  end)
end

function TestFullPeer:test_is_given_up_when_time_is_up()
  full_peer(0.01, function(_, sender) t.assertEquals({ sender:send "last" }, { nil, "timeout" }) end)
end

function TestFullPeer:test_gets_nothing_of_a_cancelled_send_and_the_socket_goes_on()
  full_peer(60, function(receiver, sender, n)
    local task = asyncio.create_task(sender.send, sender, "cancelled")
    t.until_blocked()
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    for _ = 1, n do t.assertEquals(receiver:receive(), "first") end
    t.assertEquals(sender:send "next", 4)
    t.assertEquals(receiver:receive(), "next")
  end)
end

TestRefusals = {}

function TestRefusals:test_nobody_listens()
  t.real(function()
    local holder, port = dead_port()
    t.assertEquals({ socket.connect("127.0.0.1", port) }, { nil, "connection refused" })
    holder:close()
  end)
end

function TestRefusals:test_descriptors_run_out()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    local socket = asyncio.socket
    asyncio.run(function()
      local server = socket.bind("127.0.0.1", 0)
      local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
      local held, why = { client }, nil
      repeat
        local s
        s, why = socket.tcp4()
        held[#held + 1] = s
      until not s
      print(why)
      server:settimeout(0)
      print(server:accept())
    end)]]
  t.assertEquals(err, "")
  t.assertStrContains(out, "Too many open files\nnil\tToo many open files")
end

t.finish()
