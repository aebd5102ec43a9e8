-- connect_spec.lua - asyncio.open_connection: names, several addresses, options, failures.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local core = require "asyncio.core"

local function nothing() end

local function echo(reader, writer)
  for line in reader:lines() do writer:send(line, "\n") end
end

--- Calls fn while every name has these addresses: a list, or a function of the name. open_connection asks
-- the loop for them.
local function with_addresses(addresses, fn)
  local real = core.get_running_loop
  local _ <close> = setmetatable({}, { __close = function() core.get_running_loop = real end })
  local loop = real()
  core.get_running_loop = function()
    return setmetatable({ getaddrinfo = function(_, host)
      return type(addresses) == "function" and addresses(host) or addresses
    end }, {
      __index = function(_, name)
        return function(_, ...) return loop[name](loop, ...) end
      end,
    })
  end
  return fn()
end

local function address(host, port)
  return asyncio.get_running_loop():getaddrinfo(host, port)[1]
end

TestConnect = {}

function TestConnect:test_gives_a_reader_and_a_writer()
  t.real(function()
    local server <close> = peers.serve(echo)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", peers.port(server))
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
    t.assertEquals(writer:get_extra_info("peername").port, peers.port(server))
  end)
end

function TestConnect:test_by_a_name()
  t.real(function()
    local server <close> = asyncio.start_server(echo, "localhost", 0)
    local reader, writer <close> = asyncio.open_connection("localhost", peers.port(server))
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
  end)
end

function TestConnect:test_gives_its_limit_to_the_reader()
  t.real(function()
    local server <close> = peers.serve(function(_, writer) writer:write(("x"):rep(11), "\n") end)
    local reader, writer <close> = peers.connect(server, { limit = 10 })
    t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
    writer:close()
  end)
end

function TestConnect:test_refuses_wrong_arguments()
  t.real(function()
    local open = asyncio.open_connection
    t.assertErrorMsgContains("host name expected", open, nil, 80)
    t.assertErrorMsgContains("port", open, "127.0.0.1")
    t.assertErrorMsgContains("port", open, "127.0.0.1", "http")
    t.assertErrorMsgContains("port", open, "127.0.0.1", 65536)
    t.assertErrorMsgContains("options", open, "127.0.0.1", 80, 5)
    for _, limit in ipairs { 0, -1, "much", 1.5 } do
      t.assertErrorMsgContains("limit", open, "127.0.0.1", 80, { limit = limit })
    end
    local err = t.error_of(open, "127.0.0.1", 80, { family = "ipx" })
    t.assertStrContains(err, [['family': "inet", "inet6" or "any" expected, got "ipx"]])
    t.assertNotStrContains(err, "#-") -- an argument's number
    t.assertErrorMsgContains("local_addr", open, "127.0.0.1", 80, { local_addr = 5 })
  end)
end

function TestConnect:test_outside_a_loop_raises()
  t.assertFalse(pcall(asyncio.open_connection, "127.0.0.1", 80))
end

TestRefused = {}

function TestRefused:test_connection_raises_and_says_where()
  t.real(function()
    local port = peers.reserve_port()
    local err = t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_connection, "127.0.0.1", port)
    t.assertEquals(err.code, "ECONNREFUSED")
    t.assertTrue(err.errno > 0)
    t.assertEquals(err.syscall, "connect")
    t.assertEquals(tostring(err.address), "127.0.0.1:" .. port)
    t.assertEquals(tostring(err), "[ECONNREFUSED] connection refused: connect 127.0.0.1:" .. port)
  end)
end

function TestRefused:test_name_raises_gai_error()
  t.real(function()
    local err = t.assert_raises(asyncio.GaiError, asyncio.open_connection, "no-such-name.invalid", 80)
    t.assert_isinstance(err, asyncio.OSError)
    t.assertStrContains(tostring(err), "no-such-name.invalid")
  end)
end

function TestRefused:test_family_that_the_host_does_not_have_raises_gai_error()
  t.real(function()
    t.assert_raises(asyncio.GaiError, asyncio.open_connection, "127.0.0.1", 80, { family = "inet6" })
  end)
end

function TestRefused:test_out_of_descriptors_raises_and_a_later_attempt_works()
  local command, file = peers.lua_command [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function(reader) reader:read(1) end, "127.0.0.1", 0)
      local port, taken = server:sockets()[1].port, {}
      asyncio.get_running_loop():set_exception_handler(function() end) -- the server runs out, too
      for i = 1, 100 do taken[i] = io.open "/dev/null" end
      local ok, err = pcall(asyncio.open_connection, "127.0.0.1", port)
      print(ok, err.code)
      for _, file in ipairs(taken) do file:close() end
      local _, writer <close> = asyncio.open_connection("127.0.0.1", port)
      print "connected"
    end)
  ]]
  local _ <close> = file
  local pipe = io.popen("ulimit -n 40; timeout 60 " .. command .. " 2>&1")
  t.assertEquals(t.unhurried(pipe:read "a"), "false\tEMFILE\nconnected\n")
  pipe:close()
end

TestNames = {}

function TestNames:test_are_resolved_while_other_tasks_go_on()
  t.real(function()
    local turns, over = 0, false
    local ticker = asyncio.create_task(function()
      while not over do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = asyncio.create_task(asyncio.open_connection, ("no-such-name-%d.invalid"):format(i), 80)
    end
    asyncio.sleep(0)
    local before = turns
    for _, task in ipairs(tasks) do t.assert_raises(asyncio.GaiError, asyncio.await, task) end
    t.assertTrue(turns > before)
    over = true
    asyncio.await(ticker)
  end)
end

function TestNames:test_can_be_given_up()
  t.real(function()
    local task = asyncio.create_task(asyncio.open_connection, "no-such-name.invalid", 80)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
end

TestOptions = {}

function TestOptions:test_local_addr_is_where_the_connection_comes_from()
  t.real(function()
    local from
    local server <close> = peers.serve(function(_, writer) from = writer:get_extra_info "peername" end)
    local reader, writer <close> = peers.connect(server, { local_addr = { host = "127.0.0.3" } })
    t.assertEquals(reader:read(-1), "")
    t.assertEquals(from.host, "127.0.0.3")
    t.assertEquals(tostring(writer:get_extra_info "sockname"), tostring(from))
  end)
end

function TestOptions:test_local_addr_may_have_a_port()
  t.real(function()
    local port, from = peers.reserve_port(), nil
    local server <close> = peers.serve(function(_, writer) from = writer:get_extra_info "peername" end)
    local reader, writer <close> = peers.connect(server, { local_addr = { host = "127.0.0.1", port = port } })
    t.assertEquals(reader:read(-1), "")
    t.assertEquals(from.port, port)
    writer:close()
  end)
end

function TestOptions:test_local_addr_in_use_raises()
  t.real(function()
    local server <close> = peers.serve(nothing)
    local taken <close> = peers.serve(nothing)
    t.assert_raises(asyncio.AddressInUseError, peers.connect, server, {
      local_addr = { host = "127.0.0.1", port = peers.port(taken) },
    })
  end)
end

function TestOptions:test_local_addr_of_another_machine_raises()
  t.real(function()
    local server <close> = peers.serve(nothing)
    local err = t.assert_raises(asyncio.OSError, peers.connect, server, {
      local_addr = { host = "192.0.2.1" },
    })
    t.assertEquals(err.code, "EADDRNOTAVAIL")
  end)
end

function TestOptions:test_local_addr_may_be_a_name_with_addresses_of_both_families()
  t.real(function()
    local server <close> = peers.serve(echo)
    local names = { ["from.test"] = { address("::1", 0), address("127.0.0.1", 0) },
      ["to.test"] = { server:sockets()[1] } }
    local _, writer = with_addresses(function(host) return names[host] end, function()
      return asyncio.open_connection("to.test", 80, { local_addr = { host = "from.test" } })
    end)
    local _ <close> = writer
    t.assertEquals(writer:get_extra_info("sockname").host, "127.0.0.1")
    local err = t.assert_raises(asyncio.OSError, asyncio.open_connection, "127.0.0.1", peers.port(server), {
      local_addr = { host = "::1" },
    })
    t.assertStrContains(tostring(err), "no local address of family inet")
  end)
end

function TestOptions:test_family_chooses_among_the_addresses_of_a_name()
  t.real(function()
    local server <close> = asyncio.start_server(nothing, "127.0.0.1", 0)
    local _, writer <close> = asyncio.open_connection("localhost", peers.port(server), { family = "inet" })
    t.assertEquals(writer:get_extra_info("peername").family, "inet")
  end)
end

function TestOptions:test_ipv6_where_the_machine_has_it()
  t.real(function()
    local ok, started = pcall(asyncio.start_server, echo, "::1", 0)
    if not ok then t.skip "no IPv6 here" end
    local server <close> = started
    local reader, writer <close> = asyncio.open_connection("::1", peers.port(server), { family = "inet6" })
    writer:write "six\n"
    t.assertEquals(reader:readline(), "six\n")
    t.assertEquals(tostring(writer:get_extra_info "peername"), "[::1]:" .. peers.port(server))
  end)
end

--- A socket option of a stream, as the kernel has it.
local function option(writer, name)
  local fd = writer:get_extra_info "socket" or writer:get_extra_info "fd"
  if type(fd) ~= "number" then fd = fd:getfd() end
  local socket = peers.luasocket().tcp()
  socket:close()
  socket:setfd(fd)
  local value = socket:getoption(name)
  socket:setfd(-1) -- it is the stream's to close
  return value
end

--- The options of both ends of a connection.
local function options_of(name, near, far)
  local values
  t.real(function()
    peers.pair(function(_, writer, _, peer_writer)
      values = { option(writer, name), option(peer_writer, name) }
    end, { near = near, far = far })
  end)
  return values
end

function TestOptions:test_nodelay_is_on_by_default_at_both_ends()
  t.assertEquals(options_of "tcp-nodelay", { true, true })
end

function TestOptions:test_nodelay_can_be_turned_off_at_each_end()
  t.assertEquals(options_of("tcp-nodelay", { nodelay = false }), { false, true })
  t.assertEquals(options_of("tcp-nodelay", nil, { nodelay = false }), { true, false })
end

function TestOptions:test_keepalive_is_off_by_default_at_both_ends()
  t.assertEquals(options_of "keepalive", { false, false })
end

function TestOptions:test_keepalive_can_be_turned_on_at_each_end()
  t.assertEquals(options_of("keepalive", { keepalive = true }), { true, false })
  t.assertEquals(options_of("keepalive", nil, { keepalive = true }), { false, true })
end

TestCancelled = {}

function TestCancelled:test_connect_leaves_nothing_behind()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local task = asyncio.create_task(asyncio.open_connection, "127.0.0.1", port)
    t.until_blocked()
    t.assertFalse(task:done())
    t.assertStrContains(tostring(task), ("waits (connect, 127.0.0.1:%d)"):format(port))
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
end

function TestCancelled:test_connect_by_a_timeout()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function()
      return asyncio.open_connection("127.0.0.1", port)
    end, 0.02)
  end)
end

function TestCancelled:test_connect_at_whatever_moment_leaks_no_connection()
  t.real(function()
    local open = 0
    local server <close> = peers.serve(function(reader)
      open = open + 1
      local _ <close> = setmetatable({}, { __close = function() open = open - 1 end })
      pcall(reader.read, reader, 1)
    end)
    local got = 0
    for i = 1, t.count(100) do
      local task = asyncio.create_task(asyncio.open_connection, "127.0.0.1", peers.port(server))
      for _ = 1, i % 5 do asyncio.sleep(0) end
      if i % 5 == 4 then asyncio.sleep(0.001) end
      task:cancel()
      local ok, _, writer = pcall(asyncio.await, task)
      if ok then
        got = got + 1
        writer:abort()
      end
    end
    t.assertTrue(got > 0)
    t.wait_until(function() return open == 0 end)
  end)
end

TestSeveralAddresses = {}

function TestSeveralAddresses:test_are_tried_in_turn_until_one_answers()
  t.real(function()
    local server <close> = peers.serve(echo)
    local addresses = {
      address("127.0.0.1", peers.reserve_port()), address("127.0.0.2", peers.reserve_port()), server:sockets()[1],
    }
    local reader, writer = with_addresses(addresses, function()
      return asyncio.open_connection("some.test", 80)
    end)
    local _ <close> = writer
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
  end)
end

function TestSeveralAddresses:test_that_all_fail_give_one_error_that_lists_them()
  t.real(function()
    local addresses = { address("127.0.0.1", peers.reserve_port()), address("127.0.0.2", peers.reserve_port()) }
    local err = t.assert_raises(asyncio.ConnectionRefusedError, with_addresses, addresses, function()
      return asyncio.open_connection("some.test", 80)
    end)
    t.assertStrContains(tostring(err), "some.test")
    for _, each in ipairs(addresses) do t.assertStrContains(tostring(err), tostring(each)) end
    t.assertEquals(err.code, "ECONNREFUSED")
  end)
end

function TestSeveralAddresses:test_the_next_is_tried_when_one_does_not_answer_in_time()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local server <close> = peers.serve(echo)
    local loop = asyncio.get_running_loop()
    local addresses = { address("127.0.0.1", port), server:sockets()[1] }
    local start = loop:time()
    local reader, writer = with_addresses(addresses, function()
      return asyncio.open_connection("some.test", 80, { happy_eyeballs_delay = 0.05 })
    end)
    local took = loop:time() - start
    local _ <close> = writer
    t.assertTrue(took >= 0.05 and took < 5, took)
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
  end)
end

function TestSeveralAddresses:test_those_that_lose_are_closed()
  t.real(function()
    local here, ended = 0, 0
    local function handler(reader, writer)
      here = here + 1
      local ok, line = pcall(reader.readline, reader)
      ended = ended + 1
      if ok and line then writer:write(line) end
    end
    local one <close> = peers.serve(handler)
    local two <close> = peers.serve(handler)
    local reader, writer = with_addresses({ one:sockets()[1], two:sockets()[1] }, function()
      return asyncio.open_connection("some.test", 80, { happy_eyeballs_delay = 0 })
    end)
    local _ <close> = writer
    t.wait_until(function() return ended == here - 1 end) -- the loser, if it got so far
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
    t.wait_until(function() return ended == here end) -- the loser may come only now
  end)
end

function TestSeveralAddresses:test_the_families_take_turns()
  t.real(function()
    local four, six = peers.reserve_port(), peers.reserve_port()
    local addresses = {
      address("::1", six), address("::2", six), address("127.0.0.1", four), address("127.0.0.2", four),
    }
    local err = t.assert_raises(asyncio.OSError, with_addresses, addresses, function()
      return asyncio.open_connection("some.test", 80, { happy_eyeballs_delay = 5 })
    end)
    local places = {}
    for i, each in ipairs { 1, 3, 2, 4 } do
      places[i] = tostring(err):find(tostring(addresses[each]), 1, true)
      t.assertNotNil(places[i], tostring(err))
    end
    t.assertTrue(places[1] < places[2] and places[2] < places[3] and places[3] < places[4], tostring(err))
  end)
end

function TestSeveralAddresses:test_cancelled_while_they_are_tried_leave_nothing_behind()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local addresses = { address("127.0.0.1", port), address("127.0.0.1", port) }
    with_addresses(addresses, function()
      local task = asyncio.create_task(asyncio.open_connection, "some.test", 80, {
        happy_eyeballs_delay = 0.01,
      })
      asyncio.sleep(0.05)
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    end)
  end)
end

function TestSeveralAddresses:test_cancelled_at_the_moment_when_one_wins_are_cancelled_all_the_same()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local accepted
    local server <close> = peers.serve(function(reader)
      accepted = true
      pcall(reader.read, reader, 1)
    end)
    local addresses = { address("127.0.0.1", port), server:sockets()[1] }
    with_addresses(addresses, function()
      for turns = 0, 12 do
        accepted = false
        local task = asyncio.create_task(function()
          local _, writer = asyncio.open_connection("some.test", 80, { happy_eyeballs_delay = 0.002 })
          local _ <close> = writer
          asyncio.sleep(3600)
        end)
        while not accepted do asyncio.sleep(0) end
        for _ = 1, turns do asyncio.sleep(0) end
        task:cancel()
        local done = asyncio.wait({ task }, { timeout = 2 })
        if #done == 0 then
          task:cancel()
          t.fail(("the cancellation was lost, %d turns after the connection"):format(turns))
        end
        t.assertTrue(task:cancelled())
      end
    end)
    server:abort_clients()
  end)
end

TestLoading = {}

function TestLoading:test_of_what_speaks_no_tls_takes_nothing_of_it()
  local output, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
      local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      for name in pairs(package.loaded) do
        if name:find "ssl" or name:find "securing" then print(name) end
      end
    end)
  ]]
  t.assertEquals({ output, err }, { "", "" })
end

t.finish()
