-- Datagram endpoints: receiving, sending, waiting, closing.
local t = require "helper"
local place = require "datagram.place"

local asyncio = t.asyncio

TestReceive = {}

function TestReceive:test_gives_data_and_the_senders_address()
  t.run(function()
    local server <close>, at = place.open()
    local client <close>, from = place.open()
    client:send("tea", at)
    local data, address = server:receive()
    t.assertEquals(data, "tea")
    t.assertEquals(asyncio.type(address), "Address")
    t.assertEquals(address, from)
    t.assertEquals(tostring(address), ("127.0.0.1:%d"):format(from.port))
  end)
end

function TestReceive:test_waits_for_what_comes_later()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local task = asyncio.create_task(server.receive, server)
    asyncio.sleep(1)
    t.assertFalse(task:done())
    client:send "late"
    t.assertEquals((asyncio.await(task)), "late")
  end)
end

function TestReceive:test_an_empty_datagram_is_one()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    client:send ""
    client:send "next"
    t.assertEquals((server:receive()), "")
    t.assertEquals((server:receive()), "next")
  end)
end

function TestReceive:test_gives_every_byte_of_any_length()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    for _, n in ipairs { 1, 7, 8, 9, 63, 64, 65, 500, 1000, 1472, 1473, 8000, 8192, 20000, 65507 } do
      local data = string.rep("\0\r\n\255", n // 4 + 1):sub(1, n)
      client:send(data)
      local got = server:receive()
      t.assertEquals(#got, n)
      t.assertTrue(got == data, n)
    end
  end)
end

function TestReceive:test_each_datagram_goes_to_one_of_several_in_their_order()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local got = {}
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = asyncio.create_task(function() got[i] = (server:receive()) end)
    end
    asyncio.sleep(0)
    place.fill(client, 5)
    asyncio.wait(tasks)
    t.assertEquals(got, { "1", "2", "3", "4", "5" })
  end)
end

function TestReceive:test_one_that_comes_later_takes_nothing_from_who_has_been_woken()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local got
    local first = asyncio.create_task(function() got = (server:receive()) end)
    asyncio.sleep(0)
    client:send "one"
    asyncio.get_running_loop():call_soon(function() t.assertNil(server:receive_nowait()) end)
    asyncio.await(first)
    t.assertEquals(got, "one")
  end)
end

function TestReceive:test_cancelled_takes_nothing()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local task = asyncio.create_task(server.receive, server)
    asyncio.sleep(0)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    client:send "one"
    t.assertEquals((server:receive()), "one")
  end)
end

function TestReceive:test_nowait_gives_nil_where_there_is_none()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    t.assertNil(server:receive_nowait())
    client:send ""
    local data, address = server:receive_nowait() -- in the kernel still
    t.assertEquals(data, "")
    t.assertEquals(address.host, "127.0.0.1")
    t.assertNil(server:receive_nowait())
  end)
end

function TestReceive:test_a_time_limit_takes_nothing()
  t.run(function()
    local server <close> = place.open()
    t.assertFalse(asyncio.move_on_after(1, server.receive, server))
    t.assertErrorMsgContains("the time is up", asyncio.wait_for, function() server:receive() end, 1)
  end)
end

TestReceiveMany = {}

function TestReceiveMany:test_takes_what_is_there()
  t.run(function()
    local server <close>, at = place.open()
    local client <close>, from = place.open()
    place.fill(client, 100, at)
    place.until_(function() return tostring(server):find "100 datagrams" end)
    local list = server:receive_many()
    t.assertEquals(#list, 64)
    t.assertEquals(list[1], { "1", from })
    t.assertEquals(list[64], { "64", from })
    t.assertEquals(#server:receive_many(10), 10)
    t.assertEquals(#server:receive_many(1000), 26)
    t.assertEquals(server:stats().received, 100)
  end)
end

function TestReceiveMany:test_waits_for_one()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local task = asyncio.create_task(server.receive_many, server, 5)
    asyncio.sleep(1)
    client:send "x"
    t.assertEquals(asyncio.await(task)[1][1], "x")
  end)
end

function TestReceiveMany:test_leaves_what_another_has_been_woken_for()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    local many = asyncio.create_task(server.receive_many, server)
    local one = asyncio.create_task(server.receive, server)
    asyncio.sleep(0)
    place.fill(client, 3)
    t.assertEquals(#asyncio.await(many), 2)
    t.assertEquals((asyncio.await(one)), "3")
  end)
end

TestIter = {}

function TestIter:test_gives_one_after_the_other_and_ends_at_close()
  t.run(function()
    local server, at = place.open()
    local client <close> = place.connected(at)
    local got = {}
    local task = asyncio.create_task(function()
      for data, address in server:iter() do got[#got + 1] = data .. address.host end
      return "ended"
    end)
    place.fill(client, 3)
    client:send ""
    place.until_(function() return #got == 4 end)
    server:close()
    t.assertEquals(asyncio.await(task), "ended")
    t.assertEquals(got, { "1127.0.0.1", "2127.0.0.1", "3127.0.0.1", "127.0.0.1" })
    for _ in server:iter() do t.fail "it is closed" end
  end)
end

TestSend = {}

function TestSend:test_a_connected_one_needs_no_address_and_takes_its_peers()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.connected(at)
    client:send "a"
    client:send("b", at)
    client:send("c", { host = "127.0.0.1", port = at.port })
    local other = { host = "127.0.0.1", port = at.port % 65535 + 1 }
    t.assertErrorMsgContains("the endpoint is connected, and sends to 127.0.0.1:", client.send, client, "d", other)
    t.assertEquals({ (server:receive()), (server:receive()), (server:receive()) }, { "a", "b", "c" })
  end)
end

function TestSend:test_a_connected_one_hears_nobody_else()
  t.run(function()
    local server <close>, at = place.open()
    local stranger <close> = place.open()
    local client <close> = place.connected(at)
    local here = client:get_extra_info "sockname"
    stranger:send("no", here)
    server:send("yes", here)
    t.assertEquals((client:receive()), "yes")
    t.assertNil(client:receive_nowait())
  end)
end

function TestSend:test_what_is_refused_is_raised_by_that_call_and_nothing_was_sent()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.open()
    local err = t.error_of(client.send, client, ("x"):rep(70000), at)
    t.assertEquals({ err.code, err.syscall }, { "EMSGSIZE", "send" })
    t.assertStrContains(err.message, "the datagram is longer than the system sends: send 127.0.0.1:")
    err = t.error_of(client.send, client, "x", { host = "255.255.255.255", port = 9 })
    t.assertTrue(asyncio.isinstance(err, asyncio.PermissionError))
    t.assertStrContains(err.message, "allow_broadcast = true")
    client:send("good", at)
    t.assertEquals((server:receive()), "good")
    t.assertEquals(client:stats().sent, 1)
  end)
end

function TestSend:test_a_changed_address_is_where_it_goes()
  t.run(function()
    local first <close>, at1 = place.open()
    local second <close>, at2 = place.open()
    local client <close> = place.open()
    first:send("x", client:get_extra_info "sockname")
    local _, address = client:receive()
    address.port = at2.port
    client:send("y", address)
    t.assertEquals((second:receive()), "y")
    first:send("z", client:get_extra_info "sockname")
    local _, again = client:receive()
    t.assertEquals(again, at1)
  end)
end

function TestSend:test_a_peers_address_is_the_same_table_as_long_as_somebody_has_it()
  t.run(function()
    local server <close>, at = place.open()
    local a <close> = place.connected(at)
    local b <close> = place.connected(at)
    local seen = {}
    for _ = 1, 3 do
      a:send "a"
      b:send "b"
      for _ = 1, 2 do
        local data, address = server:receive()
        seen[data] = seen[data] or address
        t.assertTrue(rawequal(seen[data], address))
      end
      t.collect()
    end
    t.assertFalse(rawequal(seen.a, seen.b))
  end)
end

function TestSend:test_many_go_in_order()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.open()
    local list = {}
    for i = 1, 100 do list[i] = { ("x"):rep(i % 7) .. i, at } end
    t.assertEquals(client:send_many(list), 100)
    for i = 1, 100 do t.assertEquals((server:receive()), list[i][1]) end
    t.assertEquals(client:stats().sent, 100)
  end)
end

function TestSend:test_many_of_one_length_arrive_one_by_one()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.open()
    local list = {}
    for i = 1, 150 do list[i] = { ("%06d"):format(i), at } end
    list[151] = { "end", at }
    t.assertEquals(client:send_many(list), 151)
    for i = 1, 151 do t.assertEquals((server:receive()), list[i][1]) end
  end)
end

function TestSend:test_many_end_before_what_is_refused_which_the_next_call_raises()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.open()
    local list = { { "1", at }, { "2", at }, { ("x"):rep(70000), at }, { "4", at } }
    t.assertEquals(client:send_many(list), 2)
    local err = t.error_of(client.send_many, client, list, 3)
    t.assertEquals(err.code, "EMSGSIZE")
    t.assertEquals(client:send_many(list, 4), 1)
    t.assertEquals(client:send_many(list, 5), 0)
    t.assertEquals(client:send_many {}, 0)
    t.assertEquals({ (server:receive()), (server:receive()), (server:receive()) }, { "1", "2", "4" })
  end)
end

function TestSend:test_nothing_of_a_list_with_a_wrong_entry_is_sent()
  t.run(function()
    local server <close>, at = place.open()
    local client <close> = place.open()
    t.assertErrorMsgContains("entry 2: {data, address} expected", client.send_many, client, { { "1", at }, 5 })
    t.assertNil(server:receive_nowait())
    t.assertEquals(client:stats().sent, 0)
  end)
end

TestRoom = {}

--- Runs fn with a unix endpoint whose peer has no room for more than the n datagrams that it has got. The peer is
-- another loop's, so that nothing is taken but by receive_nowait.
local function full(fn)
  local dir <close> = place.path()
  local runner <close> = asyncio.Runner()
  local server <close> = runner:run(asyncio.create_datagram_endpoint, { path = dir.path })
  t.run(function()
    local client <close> = asyncio.create_datagram_endpoint { remote_path = dir.path }
    local n = 0
    while client:send_nowait("fill " .. n) do n = n + 1 end
    t.assertTrue(n > 0)
    fn(server, client, n, dir.path)
  end)
end

--- Takes so many datagrams, waiting for each.
local function take(server, n)
  local got = {}
  place.until_(function()
    while #got < n do
      local data = server:receive_nowait()
      if not data then return false end
      got[#got + 1] = data
    end
    return true
  end)
  return got
end

function TestRoom:test_nowait_says_that_there_is_none()
  full(function(_, client, n)
    t.assertFalse(client:send_nowait "x")
    t.assertEquals(client:stats().sent, n)
  end)
end

function TestRoom:test_send_waits_for_it_in_order()
  full(function(server, client, n)
    local tasks = {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(client.send, client, "task " .. i) end
    asyncio.sleep(0.01)
    for _, task in ipairs(tasks) do t.assertFalse(task:done()) end
    for i, data in ipairs(take(server, n)) do t.assertEquals(data, "fill " .. i - 1) end
    t.assertEquals(take(server, 5), { "task 1", "task 2", "task 3", "task 4", "task 5" })
    asyncio.wait(tasks)
  end)
end

function TestRoom:test_who_comes_later_waits_behind()
  full(function(server, client, n)
    local task = asyncio.create_task(client.send, client, "first")
    asyncio.sleep(0.01)
    take(server, 3)
    t.assertFalse(client:send_nowait "second") -- there is room, but not for this one
    client:send "third"
    t.assertTrue(task:done())
    take(server, n - 3)
    t.assertEquals(take(server, 2), { "first", "third" })
  end)
end

function TestRoom:test_cancelled_has_sent_nothing()
  full(function(server, client, n)
    local task = asyncio.create_task(client.send, client, "never")
    asyncio.sleep(0.01)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    take(server, n)
    client:send "last"
    t.assertEquals(take(server, 1), { "last" })
    t.assertEquals(client:stats().sent, n + 1)
  end)
end

function TestRoom:test_one_that_waits_and_is_refused_holds_up_nobody()
  full(function(server, client, n)
    local far = asyncio.create_task(client.send, client, ("x"):rep(1000000))
    local near = asyncio.create_task(client.send, client, "near")
    asyncio.sleep(0.01)
    take(server, n)
    local err = t.error_of(asyncio.await, far)
    t.assertEquals(err.code, "EMSGSIZE")
    asyncio.await(near)
    t.assertEquals(take(server, 1), { "near" })
  end)
end

function TestRoom:test_of_one_that_is_not_connected_is_tried_again()
  full(function(server, _, n, path)
    local client <close> = asyncio.create_datagram_endpoint { family = "unix" }
    local there, sent = { path = path }, {}
    t.assertFalse(client:send_nowait("x", there))
    for i = 1, 3 do sent[i] = asyncio.create_task(client.send, client, "late " .. i, there) end
    asyncio.sleep(0.1)
    take(server, n)
    t.assertEquals(take(server, 3), { "late 1", "late 2", "late 3" })
    asyncio.wait(sent)
  end)
end

function TestRoom:test_one_peer_without_room_holds_up_no_other()
  full(function(_, _, _, path)
    local other <close> = asyncio.create_datagram_endpoint { path = path .. "2" }
    local client <close> = asyncio.create_datagram_endpoint { family = "unix" }
    local task = asyncio.create_task(client.send, client, "waits", { path = path })
    asyncio.sleep(0.01)
    client:send("goes", { path = path .. "2" })
    t.assertEquals((other:receive()), "goes")
    t.assertFalse(task:done())
    task:cancel()
    asyncio.wait { task }
  end)
end

function TestRoom:test_send_many_says_how_many_went()
  full(function(server, client, n)
    take(server, 3)
    local list = {}
    for i = 1, 50 do list[i] = "many " .. i end
    local went = client:send_many(list)
    t.assertTrue(went >= 1 and went <= 3, tostring(went))
    take(server, n - 3)
    for i, data in ipairs(take(server, went)) do t.assertEquals(data, "many " .. i) end
  end)
end

function TestRoom:test_send_many_waits_for_the_first()
  full(function(server, client, n)
    local task = asyncio.create_task(client.send_many, client, { "a", "b" })
    asyncio.sleep(0.01)
    t.assertFalse(task:done())
    take(server, n)
    t.assertEquals(asyncio.await(task), 2)
    t.assertEquals(take(server, 2), { "a", "b" })
  end)
end

TestClose = {}

function TestClose:test_wakes_who_receives_with_closed_error()
  t.run(function()
    local server = place.open()
    local tasks = {}
    for i, name in ipairs { "receive", "receive_many" } do
      tasks[i] = asyncio.create_task(server[name], server)
    end
    local waiter = asyncio.create_task(server.wait_closed, server)
    asyncio.sleep(0)
    server:close()
    for _, task in ipairs(tasks) do
      local err = t.error_of(asyncio.await, task)
      t.assertTrue(asyncio.isinstance(err, asyncio.ClosedError))
    end
    asyncio.await(waiter)
    t.assertTrue(server:is_closing())
    server:close()
    server:wait_closed()
  end)
end

function TestClose:test_wakes_who_sends_with_closed_error()
  full(function(_, client)
    local task = asyncio.create_task(client.send, client, "x")
    asyncio.sleep(0.01)
    client:close()
    t.assert_raises(asyncio.ClosedError, asyncio.await, task)
  end)
end

function TestClose:test_every_call_of_a_closed_one_raises()
  t.run(function()
    local server, at = place.open()
    server:close()
    for _, call in ipairs {
      function() server:receive() end, function() server:receive_nowait() end, function() server:receive_many() end,
      function() server:send("x", at) end, function() server:send_nowait("x", at) end,
      function() server:send_many { { "x", at } } end, function() server:join_group "239.1.2.3" end,
    } do
      t.assertTrue(asyncio.isinstance(t.error_of(call), asyncio.ClosedError))
    end
    t.assertEquals(server:stats().received, 0)
    t.assertNil(server:get_extra_info "sockname")
    t.assertEquals(server:get_extra_info("socket", "none"), "none")
    t.assertStrContains(tostring(server), "closed")
  end)
end

function TestClose:test_its_port_is_free_when_it_returns()
  t.run(function()
    local server, at = place.open()
    server:close()
    local again <close> = place.open { local_addr = { host = "127.0.0.1", port = at.port } }
    t.assertEquals(again:get_extra_info("sockname").port, at.port)
  end)
end

function TestClose:test_who_has_been_woken_for_a_datagram_gets_it()
  t.run(function()
    local server, at = place.open()
    local client <close> = place.connected(at)
    local many = asyncio.create_task(server.receive_many, server, 1)
    local closer = asyncio.create_task(function()
      server:receive()
      server:close()
    end)
    local last = asyncio.create_task(server.receive, server)
    asyncio.sleep(0)
    place.fill(client, 4)
    t.assertEquals((asyncio.await(last)), "3")
    asyncio.wait { many, closer }
    t.assertErrorMsgContains("closed", server.receive, server)
  end)
end

function TestClose:test_the_end_of_its_block_does()
  t.run(function()
    local server, at = place.open()
    do
      local _ <close> = server
      t.assertFalse(server:is_closing())
    end
    t.assertTrue(server:is_closing())
    place.open({ local_addr = { host = "127.0.0.1", port = at.port } }):close()
  end)
end

function TestClose:test_one_that_is_forgotten_is_closed_with_a_warning()
  t.run(function()
    local at = select(2, place.open())
    t.collect()
    local again <close> = place.open { local_addr = { host = "127.0.0.1", port = at.port } }
    t.assertEquals(again:get_extra_info("sockname"), at)
  end)
end

t.finish()
