-- What datagram endpoints may take up, and what they tell of: queues, drops, errors by ICMP, who forgets them.
local t = require "helper"
local place = require "datagram.place"
local program = require "program"

local asyncio = t.asyncio

--- A loop of its own makes an endpoint which nobody reads but by receive_nowait: what is sent lies in the kernel.
local function apart(opts, fn)
  local runner <close> = asyncio.Runner()
  local endpoint <close> = runner:run(function() return (place.open(opts)) end)
  t.run(function() fn(endpoint, endpoint:get_extra_info "sockname") end)
end

local function settled(endpoint, what, n)
  place.until_(function() return endpoint:stats()[what] == n end)
end

TestQueue = {}

function TestQueue:test_holds_the_oldest_and_counts_the_newest_that_are_dropped()
  t.run(function()
    local server <close>, at = place.open { max_queue = 3 }
    local client <close> = place.connected(at)
    place.fill(client, 10)
    settled(server, "dropped", 7)
    t.assertEquals({ (server:receive()), (server:receive()), (server:receive()) }, { "1", "2", "3" })
    t.assertNil(server:receive_nowait())
    client:send "next"
    t.assertEquals((server:receive()), "next")
    t.assertEquals(server:stats(), { received = 4, sent = 0, dropped = 7, kernel_dropped = 0, oversized = 0 })
  end)
end

function TestQueue:test_one_that_is_received_from_drops_nothing()
  t.run(function()
    local server <close>, at = place.open { max_queue = 1 }
    local client <close> = place.connected(at)
    local got = 0
    local task = asyncio.create_task(function()
      for _ in server:iter() do
        got = got + 1
        if got == 200 then return end
      end
    end)
    for i = 1, 200 do
      client:send(tostring(i))
      if i % 20 == 0 then place.until_(function() return got == i end) end
    end
    asyncio.await(task)
    t.assertEquals(server:stats().dropped, 0)
  end)
end

function TestQueue:test_what_is_longer_than_max_size_is_dropped_whole_and_counted()
  t.run(function()
    for _, max_size in ipairs { 1, 10, 1000 } do
      local server <close>, at = place.open { max_size = max_size }
      local client <close> = place.connected(at)
      for i = 1, 40 do client:send(("x"):rep(i % 2 == 0 and max_size or max_size + i)) end
      client:send ""
      for _ = 1, 20 do t.assertEquals(#server:receive(), max_size) end
      t.assertEquals((server:receive()), "")
      t.assertEquals(server:stats().oversized, 20)
    end
  end)
end

function TestQueue:test_endpoints_with_other_sizes_take_turns()
  t.run(function()
    local small <close>, at1 = place.open { max_size = 10 }
    local large <close>, at2 = place.open()
    local client <close> = place.open()
    for i = 1, 20 do
      client:send(("s"):rep(i % 11), at1)
      client:send(("l"):rep(60000 + i), at2)
      t.assertEquals(#small:receive(), i % 11)
      t.assertEquals(#large:receive(), 60000 + i)
    end
  end)
end

function TestQueue:test_a_thousand_small_ones_take_little_memory()
  t.run(function()
    local server <close>, at = place.open { max_queue = 100000 }
    local client <close> = place.connected(at)
    local function resident()
      local file <close> = assert(io.open "/proc/self/statm")
      return tonumber(file:read "a":match "%d+ (%d+)") * 4096
    end
    local before, n = resident(), t.count(20000)
    for i = 1, n do
      client:send ""
      if i % 100 == 0 then
        place.until_(function() return tostring(server):find(("%d datagrams"):format(i)) end)
      end
    end
    t.assertTrue(resident() - before < 40 * n + 8000000, tostring(resident() - before))
    for _ = 1, n do t.assertEquals((server:receive()), "") end
  end)
end

TestKernel = {}

function TestKernel:test_tells_of_what_it_had_no_room_for()
  apart({ receive_buffer = 4096 }, function(server, at)
    local client <close> = place.connected(at)
    for i = 1, 100 do client:send(("x"):rep(500) .. i) end
    local got = 0
    while server:receive_nowait() do got = got + 1 end
    t.assertTrue(got > 0 and got < 100)
    t.assertEquals(server:stats().kernel_dropped, 100 - got)
    server:close()
    t.assertEquals(server:stats().kernel_dropped, 100 - got)
  end)
end

function TestKernel:test_reads_are_batches_and_their_order_is_kept()
  apart({}, function(server, at)
    local client <close> = place.connected(at)
    for round = 1, 20 do
      local n = round * 5
      for i = 1, n do client:send(("%d.%d"):format(round, i)) end
      for i = 1, n do t.assertEquals(server:receive_nowait(), ("%d.%d"):format(round, i)) end
      t.assertNil(server:receive_nowait())
    end
  end)
end

TestFlood = {}

function TestFlood:test_of_empty_datagrams_is_bounded_and_others_go_on()
  t.real(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local stop = false
    local flood = asyncio.create_task(function()
      local n = 0
      while not stop do
        for _ = 1, 50 do n = n + (client:send_nowait "" and 1 or 0) end
        asyncio.sleep(0)
      end
      return n
    end)
    local began = asyncio.time()
    for _ = 1, 20 do asyncio.sleep(0.005) end
    t.assertTrue(asyncio.time() - began < 30)
    stop = true
    local n = asyncio.await(flood)
    place.until_(function()
      local stats = server:stats()
      local waiting = tonumber(tostring(server):match "(%d+) datagrams")
      return stats.dropped + stats.kernel_dropped + waiting == n and waiting <= 1024
    end)
    t.assertEquals(server:stats().received, 0)
  end)
end

TestIcmp = {}

function TestIcmp:test_is_raised_once_by_the_next_receive_and_the_endpoint_goes_on()
  t.run(function()
    local at = place.dead()
    local client <close> = place.connected(at)
    client:send "x"
    local err = t.assert_raises(asyncio.ConnectionRefusedError, client.receive, client)
    t.assertEquals(err.message, ("connection refused: receive %s"):format(at))
    local server <close> = place.open { local_addr = { host = at.host, port = at.port } }
    client:send "y"
    t.assertEquals((server:receive()), "y")
    server:send("z", client:get_extra_info "sockname")
    t.assertEquals((client:receive()), "z")
  end)
end

function TestIcmp:test_is_raised_by_the_next_send_which_has_sent_nothing()
  t.run(function()
    local client <close> = place.connected(place.dead())
    for _, name in ipairs { "send", "send_nowait" } do
      client:send "x"
      local sent = client:stats().sent
      t.until_blocked()
      t.assert_raises(asyncio.ConnectionRefusedError, client[name], client, "y")
      t.assertEquals(client:stats().sent, sent)
    end
    client:send "x"
    t.until_blocked()
    t.assert_raises(asyncio.ConnectionRefusedError, client.send_many, client, { "y", "z" })
    t.assertEquals(client:stats().sent, 3)
  end)
end

function TestIcmp:test_wakes_one_who_waits()
  t.run(function()
    local client <close> = place.connected(place.dead())
    local first, second = asyncio.create_task(client.receive, client), asyncio.create_task(client.receive_many, client)
    asyncio.sleep(0)
    client:send "x"
    t.assert_raises(asyncio.ConnectionRefusedError, asyncio.await, first)
    t.assertFalse(second:done())
    client:send "x"
    t.assert_raises(asyncio.ConnectionRefusedError, asyncio.await, second)
  end)
end

function TestIcmp:test_is_not_seen_by_one_that_is_not_connected()
  t.run(function()
    local client <close>, here = place.open()
    client:send("x", place.dead())
    client:send("y", here)
    t.assertEquals((client:receive()), "y")
    client:send("z", here)
    t.assertEquals((client:receive()), "z")
  end)
end

function TestIcmp:test_is_raised_with_its_address_where_asked_for()
  t.run(function()
    local client <close>, here = place.open { icmp_errors = true }
    local dead1, dead2 = place.dead(), place.dead()
    client:send("x", dead1)
    client:send("y", here)
    client:send("z", dead2)
    local got, refused = {}, {}
    while #got + #refused < 3 do
      local ok, data = pcall(client.receive, client)
      if ok then
        got[#got + 1] = data
      else
        t.assert_isinstance(data, asyncio.ConnectionRefusedError)
        t.assertEquals(asyncio.type(data.address), "Address")
        t.assertStrContains(data.message, tostring(data.address))
        refused[#refused + 1] = tostring(data.address)
      end
    end
    t.assertEquals(got, { "y" })
    table.sort(refused)
    local expected = { tostring(dead1), tostring(dead2) }
    table.sort(expected)
    t.assertEquals(refused, expected)
    client:send("again", here)
    t.assertEquals((client:receive()), "again")
    t.assertEquals(client:stats().sent, 4)
  end)
end

function TestIcmp:test_of_many_that_fail_so_many_are_kept()
  t.run(function()
    local client <close>, here = place.open { icmp_errors = true }
    local dead = place.dead()
    for _ = 1, 100 do client:send("x", dead) end
    t.until_blocked()
    local n = 0
    while not pcall(client.receive_nowait, client) do n = n + 1 end
    t.assertEquals(n, 16)
    client:send("y", here)
    t.assertEquals((client:receive()), "y")
  end)
end

TestUnix = {}

function TestUnix:test_the_file_goes_with_the_endpoint()
  t.run(function()
    local dir <close> = place.path()
    local server = asyncio.create_datagram_endpoint { path = dir.path }
    t.assertEquals(server:get_extra_info("sockname").path, dir.path)
    t.assertStrContains(tostring(server), dir.path)
    t.assertTrue(asyncio.fs.exists(dir.path))
    server:close()
    t.assertFalse(asyncio.fs.exists(dir.path))
  end)
end

function TestUnix:test_another_file_of_that_name_stays()
  t.run(function()
    local dir <close> = place.path()
    local server = asyncio.create_datagram_endpoint { path = dir.path }
    os.remove(dir.path)
    asyncio.fs.write_file(dir.path, "mine")
    server:close()
    t.assertEquals(asyncio.fs.read_file(dir.path), "mine")
  end)
end

function TestUnix:test_a_socket_that_is_left_over_is_replaced_and_one_in_use_is_not()
  t.run(function()
    local dir <close> = place.path()
    local bind = "python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(\"%s\")'"
    os.execute(bind:format(dir.path))
    t.assertTrue(asyncio.fs.exists(dir.path))
    local server <close> = asyncio.create_datagram_endpoint { path = dir.path }
    t.assert_raises(asyncio.AddressInUseError, asyncio.create_datagram_endpoint, { path = dir.path })
    local client <close> = asyncio.create_datagram_endpoint { remote_path = dir.path }
    client:send "x"
    t.assertEquals((server:receive()), "x")
  end)
end

function TestUnix:test_a_nameless_sender_has_an_empty_path_and_cannot_be_answered()
  t.run(function()
    local dir <close> = place.path()
    local server <close> = asyncio.create_datagram_endpoint { path = dir.path }
    local client <close> = asyncio.create_datagram_endpoint { remote_path = dir.path }
    t.assertStrContains(tostring(asyncio.create_datagram_endpoint { family = "unix" }), "nameless")
    t.collect()
    client:send "x"
    local _, address = server:receive()
    t.assertEquals({ address.family, address.path }, { "unix", "" })
    t.assertErrorMsgContains("that socket has no name", server.send, server, "y", address)
  end)
end

function TestUnix:test_abstract_names()
  t.run(function()
    local name = ("\0asyncio spec\0%d"):format(os.time())
    local server <close> = asyncio.create_datagram_endpoint { path = name }
    local client <close> = asyncio.create_datagram_endpoint { path = name .. "2", remote_path = name }
    client:send "ho"
    local data, address = server:receive()
    t.assertEquals({ data, address.path }, { "ho", name .. "2" })
    server:send("back", address)
    t.assertEquals((client:receive()), "back")
  end)
end

function TestUnix:test_a_peer_that_has_gone_is_an_error_of_that_send()
  t.run(function()
    local dir <close> = place.path()
    local server = asyncio.create_datagram_endpoint { path = dir.path }
    local client <close> = asyncio.create_datagram_endpoint { family = "unix" }
    client:send("x", { path = dir.path })
    server:close()
    t.assert_raises(asyncio.FileNotFoundError, client.send, client, "x", { path = dir.path })
  end)
end

TestIpv6 = {}

function TestIpv6:test_goes_there_and_back()
  t.run(function()
    local ok, server = pcall(place.open, { local_addr = { host = "::1", port = 0 } })
    if not ok then t.skip "this machine has no IPv6" end
    local _ <close> = server
    local client <close> = place.connected(server:get_extra_info "sockname")
    client:send "six"
    local data, address = server:receive()
    t.assertEquals({ data, address.host, address.family }, { "six", "::1", "inet6" })
    server:send("back", address)
    server:send("again", { host = "::1", port = address.port })
    t.assertEquals({ (client:receive()), (client:receive()) }, { "back", "again" })
    t.assertErrorMsgContains("(::ffff:127.0.0.1", server.send, server, "x", { host = "127.0.0.1", port = 9 })
  end)
end

TestOpen = {}

function TestOpen:test_no_descriptor_is_left_where_it_fails()
  t.run(function()
    local function descriptors() -- not by a pipe, whose other end this process may still have when they are counted
      local name = os.tmpname()
      os.execute("ls /proc/$PPID/fd | wc -l >" .. name)
      local n = tonumber(program.content(name))
      os.remove(name)
      return n
    end
    local server <close>, at = place.open()
    t.collect()
    local before = descriptors()
    for _ = 1, 10 do
      t.assert_raises(asyncio.AddressInUseError, place.open, { local_addr = { host = "127.0.0.1", port = at.port } })
      t.assert_raises(asyncio.OSError, place.open, { local_addr = { host = "192.0.2.1", port = 0 } })
      t.assert_raises(asyncio.OSError, place.open, { multicast_interface = "nothing0" })
    end
    t.assertTrue(descriptors() <= before)
    t.assertFalse(server:is_closing())
  end)
end

function TestOpen:test_says_what_failed_and_for_which_address()
  t.run(function()
    local server <close>, at = place.open()
    t.assertFalse(server:is_closing())
    local err = t.error_of(place.open, { local_addr = { host = "127.0.0.1", port = at.port } })
    t.assertEquals({ err.syscall, err.address }, { "bind", tostring(at) })
    err = t.error_of(asyncio.create_datagram_endpoint, { path = "/no/such/folder/socket" })
    t.assert_isinstance(err, asyncio.FileNotFoundError)
    err = t.error_of(asyncio.create_datagram_endpoint, { local_addr = { host = "127.0.0.1" },
      remote_addr = { host = "::1", port = 5 } })
    t.assertEquals(err.code, "EAFNOSUPPORT")
    err = t.error_of(asyncio.create_datagram_endpoint, { remote_addr = { host = "no.such.host.invalid", port = 5 } })
    t.assert_isinstance(err, asyncio.GaiError)
  end)
end

function TestOpen:test_reuse_port_shares_it()
  t.run(function()
    local first <close>, at = place.open { reuse_port = true }
    local second <close> = place.open { reuse_port = true, local_addr = { host = "127.0.0.1", port = at.port } }
    t.assertEquals(second:get_extra_info "sockname", first:get_extra_info "sockname")
  end)
end

function TestOpen:test_without_a_host_it_hears_every_address()
  t.run(function()
    local server <close>, at = place.open { local_addr = { port = 0 }, family = "inet" }
    t.assertEquals(at.host, "0.0.0.0")
    local client <close> = asyncio.create_datagram_endpoint { family = "inet" }
    client:send("x", { host = "127.0.0.2", port = at.port })
    t.assertEquals((server:receive()), "x")
  end)
end

function TestOpen:test_from_an_address_to_another()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.3" },
      remote_addr = { host = "localhost", port = at.port } }
    client:send "x"
    local _, address = server:receive()
    t.assertEquals(address.host, "127.0.0.3")
    t.assertEquals(client:get_extra_info "peername", at)
    t.assertEquals(client:get_extra_info("socket"):getfd(), client:get_extra_info("socket").fd)
  end)
end

TestGroup = {}

--- An endpoint at every address, which shares its port, and sends by the loopback interface.
local function member(port)
  return place.open { local_addr = { port = port or 0 }, family = "inet", reuse_address = true,
    multicast_interface = "lo" }
end

function TestGroup:test_hears_what_it_has_joined_and_nothing_else()
  t.run(function()
    local one <close>, at = member()
    local two <close> = member(at.port)
    local none <close> = member(at.port)
    one:join_group("239.77.1.1", "lo")
    two:join_group("239.77.1.1", 1)
    two:join_group("239.77.1.2", "127.0.0.1")
    local client <close> = member()
    client:send("a", { host = "239.77.1.1", port = at.port })
    client:send("b", { host = "239.77.1.2", port = at.port })
    t.until_blocked()
    t.assertEquals((one:receive_nowait()), "a")
    t.assertNil(one:receive_nowait())
    t.assertEquals((two:receive_nowait()), "a")
    t.assertEquals((two:receive_nowait()), "b")
    t.assertNil(none:receive_nowait())
    two:leave_group("239.77.1.1", 1)
    client:send("c", { host = "239.77.1.1", port = at.port })
    t.assertEquals((one:receive()), "c")
    t.assertNil(two:receive_nowait())
  end)
end

function TestGroup:test_loopback_can_be_switched_off_and_the_ttl_set()
  t.run(function()
    local one <close>, at = member()
    one:join_group("239.77.1.3", "lo")
    local loud <close> = place.open { multicast_loopback = true, multicast_interface = "lo", multicast_ttl = 0,
      ttl = 5 }
    loud:send("loud", { host = "239.77.1.3", port = at.port })
    t.assertEquals((one:receive()), "loud")
    local quiet <close> = place.open { multicast_loopback = false, multicast_interface = "lo", multicast_ttl = 1 }
    quiet:send("quiet", { host = "239.77.1.3", port = at.port })
    t.until_blocked()
    one:receive_nowait() -- the loopback interface itself may bring it
  end)
end

function TestGroup:test_errors_are_told()
  t.run(function()
    local one <close> = member()
    one:join_group("239.77.1.4", "lo")
    t.assertEquals(t.error_of(one.join_group, one, "239.77.1.4", "lo").code, "EADDRINUSE")
    t.assertEquals(t.error_of(one.join_group, one, "239.77.1.4", "nothing0").code, "ENODEV")
    t.assertEquals(t.error_of(one.leave_group, one, "239.77.1.5", "lo").code, "EADDRNOTAVAIL")
    local dir <close> = place.path()
    local file <close> = asyncio.create_datagram_endpoint { path = dir.path }
    t.assertErrorMsgContains("a unix socket is in no groups", file.join_group, file, "239.1.1.1")
  end)
end

TestBroadcast = {}

function TestBroadcast:test_needs_its_option()
  t.run(function()
    local client <close> = asyncio.create_datagram_endpoint { family = "inet", allow_broadcast = true }
    local ok, err = pcall(client.send, client, "x", { host = "127.255.255.255", port = 9 })
    t.assertTrue(ok or err.code ~= "EACCES", tostring(err))
  end)
end

TestForgotten = {}

function TestForgotten:test_one_that_is_collected_is_closed_and_said_to_be()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    warn "@on"
    asyncio.run(function()
      local function open()
        return asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1" } }:get_extra_info "sockname"
      end
      local at = open()
      collectgarbage() collectgarbage()
      asyncio.create_datagram_endpoint({ local_addr = { host = at.host, port = at.port } }):close()
      print "free"
    end)
  ]]
  t.assertEquals(out, "free\n")
  t.assertStrMatches(err,
    "Lua warning: asyncio: a datagram endpoint at 127.0.0.1:%d+ was not closed before it was collected\n")
end

function TestForgotten:test_debug_mode_says_where_it_was_opened()
  local _, err = t.lua [[
    local asyncio = require "asyncio"
    do
      local runner <close> = asyncio.Runner { debug = true }
      runner:run(function()
        held = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1" } }
      end)
    end
  ]]
  t.assertStrMatches(err,
    "asyncio: a datagram endpoint at 127.0.0.1:%d+ was not closed\nopened at:\n.*datagrams%.lua.*")
end

function TestForgotten:test_of_a_loop_that_is_closed_it_is_closed()
  local held
  asyncio.run(function()
    held = place.open()
    asyncio.create_task(held.receive, held)
  end)
  t.assertStrContains(tostring(held), "closed")
  t.assert_raises(asyncio.ClosedError, held.receive_nowait, held)
  t.assertEquals(held:stats().received, 0)
  held:close()
end

TestDescriptors = {}

function TestDescriptors:test_without_a_free_one_it_raises_and_the_others_go_on()
  local name = os.tmpname()
  local _ <close> = setmetatable({}, { __close = function() os.remove(name) end })
  do
    local file <close> = assert(io.open(name, "w"))
    file:write [[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local list = {}
        local server <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1" } }
        local at = server:get_extra_info "sockname"
        local failure
        while not failure do
          local ok, endpoint = pcall(asyncio.create_datagram_endpoint, { remote_addr = at })
          if ok then list[#list + 1] = endpoint else failure = endpoint end
        end
        list[1]:send "x"
        local data = server:receive()
        for _, endpoint in ipairs(list) do endpoint:close() end
        asyncio.create_datagram_endpoint({ remote_addr = at }):close()
        io.write(failure.code, " ", failure.syscall, " ", data)
      end)
    ]]
  end
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local out, status = program.shell("ulimit -n 60; timeout 60 %s '%s' 2>&1", lua, name)
  t.assertEquals({ out, status }, { "EMFILE socket x", 0 })
end

TestWords = {}

function TestWords:test_say_what_it_is_and_on_what_a_task_waits()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    t.assertStrContains(tostring(server), ("asyncio.DatagramEndpoint: %s, 0 datagrams ("):format(at))
    t.assertStrContains(tostring(client), ("asyncio.DatagramEndpoint: peer %s, 0 datagrams ("):format(at))
    local task = asyncio.create_task(server.receive, server)
    asyncio.sleep(0)
    t.assertStrContains(tostring(task), ("receive, %s"):format(at))
    t.assertStrContains(asyncio.format_call_graph(task), "receive")
    task:cancel()
    asyncio.wait { task }
  end)
end

function TestWords:test_a_call_of_another_loop_is_refused()
  local runner <close> = asyncio.Runner()
  local endpoint <close> = runner:run(function() return (place.open()) end)
  t.run(function()
    local at = endpoint:get_extra_info "sockname"
    for _, call in ipairs { "receive", "receive_many", "wait_closed" } do
      t.assertErrorMsgContains("another event loop", endpoint[call], endpoint)
    end
    t.assertErrorMsgContains("another event loop", endpoint.send, endpoint, "x", at)
  end)
  t.assertErrorMsgContains("cannot wait outside of a task", endpoint.receive, endpoint)
end

t.finish()
