-- The forms of open_connection and start_server by name, sockets that were made elsewhere, options of sockets.
local t = require "helper"
local core = require "asyncio.core"
local peers = require "peers"

local asyncio = t.asyncio

local function shout(reader, writer)
  for line in reader:lines() do writer:send(line:upper(), "\n") end
end

local function path_for_a_socket()
  local path = os.tmpname()
  os.remove(path)
  return path
end

--- Says something at one end of a connection whose other end shouts; what comes back.
local function asked(reader, writer, text)
  writer:send(text, "\n")
  return reader:readline()
end

--- The error of a call, which is one of its arguments.
local function refused(words, fn, ...)
  local err = t.error_of(fn, ...)
  t.assertEquals(type(err), "string")
  t.assertStrContains(err, "bad argument #")
  t.assertStrContains(err, words)
end

--- A bare socket's descriptor; it isn't the socket's any more.
local function taken_from(socket)
  local fd = socket:getfd()
  socket:setfd(-1)
  return fd
end

--- A bare listening socket, and its port.
local function bare_listener()
  local socket = assert(peers.luasocket().tcp4())
  assert(socket:bind("127.0.0.1", 0))
  assert(socket:listen(16))
  local _, port = socket:getsockname()
  return socket, tonumber(port)
end

--- A bare unix socket, listening at a path or connected to one.
local function bare_unix(verb, path)
  local ok, unix = pcall(require, "socket.unix")
  if not ok then t.skip "LuaSocket has no unix sockets" end
  local socket = assert((type(unix) == "table" and unix.stream or unix)())
  if verb == "connect" then
    assert(socket:connect(path))
  else
    assert(socket:bind(path))
    assert(socket:listen(16))
  end
  return socket
end

TestForms = {}

function TestForms:test_arguments_by_name()
  t.real(function()
    local server <close> = asyncio.start_server(shout, { host = "127.0.0.1", port = 0, limit = 100 })
    local reader, writer <close> = asyncio.open_connection { host = "127.0.0.1", port = peers.port(server) }
    t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
  end)
end

function TestForms:test_a_server_takes_a_list_of_hosts_or_none_by_name_too()
  t.real(function()
    local one <close> = asyncio.start_server(shout, { host = { "127.0.0.1", "127.0.0.2" }, port = 0 })
    t.assertEquals(#one:sockets(), 2)
    local all <close> = asyncio.start_server(shout, { port = 0, family = "inet" })
    t.assertEquals(all:sockets()[1].host, "0.0.0.0")
  end)
end

function TestForms:test_a_path_by_name()
  t.real(function()
    local path = path_for_a_socket()
    local _ <close> = asyncio.start_unix_server(shout, { path = path })
    local reader, writer <close> = asyncio.open_unix_connection { path = path, limit = 100 }
    t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
  end)
end

function TestForms:test_what_lacks_is_named()
  t.real(function()
    refused("'host': host name expected, got nil", asyncio.open_connection, { port = 1 })
    refused("'port': port number expected, got nil", asyncio.open_connection, { host = "localhost" })
    refused("'port': port number expected, got nil", asyncio.start_server, shout, { host = "localhost" })
    refused("host name, list of them or nil expected, got number: write start_server(handler, host, port)",
      asyncio.start_server, shout, 8080)
    refused("'host': host name, list of them or nil expected", asyncio.start_server, shout, { host = 5, port = 1 })
    refused("'host': name with a zero byte", asyncio.open_connection, { host = "a\0b", port = 1 })
    refused("'path': path expected, got nil", asyncio.open_unix_connection, {})
    refused("'path': a path that isn't empty expected", asyncio.start_unix_server, shout, { path = "" })
  end)
end

function TestForms:test_the_callers_table_stays_as_it_is()
  t.real(function()
    local where = { host = "127.0.0.1", port = 0 }
    local server <close> = asyncio.start_server(shout, where)
    t.assertEquals(where, { host = "127.0.0.1", port = 0 })
    where.port = peers.port(server)
    local _, writer <close> = asyncio.open_connection(where)
    t.assertEquals(where.host, "127.0.0.1")
    writer:abort()
  end)
end

TestElsewhere = {}

function TestElsewhere:test_a_connected_socket_becomes_a_stream()
  t.real(function()
    local server <close> = peers.serve(shout)
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    local fd = taken_from(socket)
    local reader, writer <close> = asyncio.open_connection { fd = fd, limit = 100 }
    t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
    t.assertEquals(writer:get_extra_info("socket").fd, fd)
    t.assertEquals(writer:get_extra_info("peername").port, peers.port(server))
  end)
end

function TestElsewhere:test_a_connected_unix_socket_becomes_a_stream_of_either_function()
  t.real(function()
    local path = path_for_a_socket()
    local _ <close> = asyncio.start_unix_server(shout, path)
    for _, open in ipairs { asyncio.open_connection, asyncio.open_unix_connection } do
      local reader, writer <close> = open { fd = taken_from(bare_unix("connect", path)) }
      t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
    end
  end)
end

function TestElsewhere:test_the_stream_closes_it()
  t.real(function()
    local listener, port = bare_listener()
    local fd = taken_from(assert(peers.luasocket().connect("127.0.0.1", port)))
    local peer = assert(listener:accept())
    do local _, _ <close> = asyncio.open_connection { fd = fd } end
    t.assertEquals(select(2, peer:receive(1)), "closed")
    peer:close()
    listener:close()
  end)
end

function TestElsewhere:test_a_listening_socket_becomes_a_server()
  t.real(function()
    local socket, port = bare_listener()
    local server = asyncio.start_server(shout, { fd = taken_from(socket), keepalive = true })
    t.assertEquals(peers.port(server), port)
    do
      local _ <close> = server
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
      t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
    end
    t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_connection, "127.0.0.1", port)
  end)
end

function TestElsewhere:test_a_listening_unix_socket_becomes_a_server_and_its_file_stays()
  t.real(function()
    for _, start in ipairs { asyncio.start_server, asyncio.start_unix_server } do
      local path = path_for_a_socket()
      do
        local _ <close> = start(shout, { fd = taken_from(bare_unix("listen", path)) })
        local reader, writer <close> = asyncio.open_unix_connection(path)
        t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
      end
      t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_unix_connection, path)
      t.assertTrue(os.remove(path))
    end
  end)
end

function TestElsewhere:test_who_has_connected_before_is_served()
  t.real(function()
    local socket, port = bare_listener()
    local early = assert(peers.luasocket().connect("127.0.0.1", port))
    early:send "first\n"
    local _ <close> = asyncio.start_server(shout, { fd = taken_from(socket) })
    early:settimeout(0)
    t.wait_until(function() return early:receive(0) end)
    t.assertEquals(early:receive "*l", "FIRST")
    early:close()
  end)
end

function TestElsewhere:test_what_is_no_such_socket_is_refused_and_stays_the_callers()
  t.real(function()
    local listener = bare_listener()
    local _, port = listener:getsockname()
    local client = assert(peers.luasocket().connect("127.0.0.1", tonumber(port)))
    local datagram = assert(peers.luasocket().udp4())
    local pipe = assert(io.popen("echo still there"))
    local connected = "'fd': a connected stream socket expected, descriptor %d is %s"
    local listening = "'fd': a listening stream socket expected, descriptor %d is %s"
    local function each(fd, what_for_a_stream, what_for_a_server)
      if what_for_a_stream then
        refused(connected:format(fd, what_for_a_stream), asyncio.open_connection, { fd = fd })
      end
      refused(listening:format(fd, what_for_a_server), asyncio.start_server, shout, { fd = fd })
    end
    each(2, "no socket", "no socket")
    each(datagram:getfd(), "no stream socket", "no stream socket")
    each(client:getfd(), nil, "a socket that doesn't listen")
    refused(connected:format(listener:getfd(), "a socket that listens"), asyncio.open_connection,
      { fd = listener:getfd() })
    refused(connected:format(client:getfd(), "no unix socket"), asyncio.open_unix_connection, { fd = client:getfd() })
    refused(listening:format(listener:getfd(), "no unix socket"), asyncio.start_unix_server, shout,
      { fd = listener:getfd() })
    t.assertEquals(pipe:read "a", "still there\n")
    local peer = assert(listener:accept())
    peer:send "hello\n"
    t.assertEquals(client:receive "*l", "hello")
    for _, socket in ipairs { listener, client, datagram, peer } do socket:close() end
    pipe:close()
  end)
end

function TestElsewhere:test_one_that_is_closed_or_not_connected_is_an_oserror()
  t.real(function()
    local socket = assert(peers.luasocket().tcp4())
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_connection, { fd = socket:getfd() }).code, "ENOTCONN")
    socket:close()
    for _, call in ipairs {
      function() asyncio.open_connection { fd = 1000000 } end,
      function() asyncio.start_server(shout, { fd = 1000000 }) end,
    } do
      local err = t.assert_raises(asyncio.OSError, call)
      t.assertEquals(err.code, "EBADF")
      t.assertStrContains(tostring(err), "descriptor 1000000")
    end
  end)
end

function TestElsewhere:test_one_that_this_loop_has_is_refused()
  t.real(function()
    peers.pair(function(_, writer)
      local fd = writer:get_extra_info("socket").fd
      t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_connection, { fd = fd }).code, "EEXIST")
      t.assertFalse(writer:is_closing())
    end)
  end)
end

function TestElsewhere:test_options_for_making_a_socket_do_not_go_with_one()
  t.real(function()
    local listener = bare_listener()
    local fd = listener:getfd()
    local opts = {
      host = "localhost", port = 1, family = "inet", local_addr = { host = "127.0.0.1" }, happy_eyeballs_delay = 1,
      connect_timeout = 1,
    }
    for key, value in pairs(opts) do
      refused(("'%s' does not go with 'fd'"):format(key), asyncio.open_connection, { fd = fd, [key] = value })
    end
    opts = { host = "localhost", port = 1, family = "inet", backlog = 1, reuse_address = true, reuse_port = true }
    for key, value in pairs(opts) do
      refused(("'%s' does not go with 'fd'"):format(key), asyncio.start_server, shout, { fd = fd, [key] = value })
    end
    refused("'path' does not go with 'fd'", asyncio.open_unix_connection, { fd = fd, path = "x" })
    refused("'connect_timeout' does not", asyncio.open_unix_connection, { fd = fd, connect_timeout = 1 })
    for key, value in pairs { path = "x", backlog = 1, cleanup_socket = true } do
      refused(("'%s' does not go with 'fd'"):format(key), asyncio.start_unix_server, shout, { fd = fd, [key] = value })
    end
    listener:close()
  end)
end

function TestElsewhere:test_limits_of_time_are_theirs_too()
  t.real(function()
    local listener, port = bare_listener()
    local client = assert(peers.luasocket().connect("127.0.0.1", port))
    local reader, writer <close> = asyncio.open_connection { fd = taken_from(client), read_timeout = 0.05 }
    t.assertEquals(t.assert_raises(asyncio.TimeoutError, reader.read, reader).phase, "read")
    writer:abort()
    listener:close()
  end)
end

TestKeepalive = {}

--- What the kernel says of a stream's socket.
local function option(writer, name)
  local socket = peers.luasocket().tcp()
  socket:close()
  socket:setfd(writer:get_extra_info("socket").fd)
  local value = socket:getoption(name)
  socket:setfd(-1)
  return value
end

local function probes(writer)
  return { option(writer, "keepalive"), option(writer, "tcp-keepidle"), option(writer, "tcp-keepintvl"),
    option(writer, "tcp-keepcnt") }
end

function TestKeepalive:test_true_has_figures_that_notice_a_dead_peer_in_two_minutes()
  t.real(function()
    peers.pair(function(_, writer, _, peer)
      t.assertEquals(probes(writer), { true, 60, 10, 6 })
      t.assertEquals(probes(peer), { true, 60, 10, 6 })
    end, { near = { keepalive = true }, far = { keepalive = true } })
  end)
end

function TestKeepalive:test_a_table_has_some_or_all_of_them()
  t.real(function()
    peers.pair(function(_, writer, _, peer)
      t.assertEquals(probes(writer), { true, 5, 2, 3 })
      t.assertEquals(probes(peer), { true, 60, 7, 6 })
    end, { near = { keepalive = { idle = 5, interval = 2, count = 3 } }, far = { keepalive = { interval = 7 } } })
  end)
end

function TestKeepalive:test_sockets_made_elsewhere_get_it_too()
  t.real(function()
    local listener, port = bare_listener()
    local seen
    local server <close> = asyncio.start_server(function(_, writer) seen = probes(writer) end,
      { fd = taken_from(listener), keepalive = { idle = 9 }, nodelay = false })
    local client = taken_from(assert(peers.luasocket().connect("127.0.0.1", port)))
    local _, writer <close> = asyncio.open_connection { fd = client, keepalive = { count = 4 } }
    t.assertEquals(probes(writer), { true, 60, 10, 4 })
    t.assertTrue(option(writer, "tcp-nodelay"))
    t.wait_until(function() return seen end)
    t.assertEquals(seen, { true, 9, 10, 6 })
    server:close()
  end)
end

function TestKeepalive:test_wrong_figures_are_refused()
  t.real(function()
    refused("'keepalive': boolean or table expected, got number", asyncio.open_connection, "h", 1, { keepalive = 60 })
    refused("'keepalive.idle': integer from 1 to 32767 expected, got 0", asyncio.open_connection, "h", 1,
      { keepalive = { idle = 0 } })
    refused("unknown option 'keepalive.idel', did you mean 'idle'?", asyncio.start_server, shout, "127.0.0.1", 0,
      { keepalive = { idel = 5 } })
  end)
end

TestCredentials = {}

function TestCredentials:test_of_a_unix_socket_say_who_is_at_the_other_end()
  t.real(function()
    local path, seen = path_for_a_socket(), nil
    local _ <close> = asyncio.start_unix_server(function(_, writer) seen = writer:get_extra_info "peercred" end, path)
    local _, writer <close> = asyncio.open_unix_connection(path)
    local own = writer:get_extra_info "peercred"
    t.wait_until(function() return seen end)
    local pipe = io.popen "echo $PPID $(id -u) $(id -g)"
    local pid, uid, gid = pipe:read("n", "n", "n")
    pipe:close()
    t.assertEquals(seen, { pid = pid, uid = uid, gid = gid })
    t.assertEquals(own, seen)
  end)
end

function TestCredentials:test_of_another_socket_are_not_known()
  t.real(function()
    peers.pair(function(_, writer)
      t.assertNil(writer:get_extra_info "peercred")
      t.assertEquals(writer:get_extra_info("peercred", "none"), "none")
    end)
  end)
end

TestConnectTimeout = {}

function TestConnectTimeout:test_says_after_how_long_to_whom_and_in_which_phase()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local began = asyncio.get_running_loop():time()
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.open_connection, "127.0.0.1", port,
      { connect_timeout = 0.1 })
    t.assertTrue(asyncio.get_running_loop():time() - began >= 0.1)
    t.assertEquals(err.message, ("no connection to 127.0.0.1:%d after 0.1 s: connecting was under way"):format(port))
    t.assertEquals(err.phase, "connect")
    err = t.assert_raises(asyncio.TimeoutError, asyncio.open_connection,
      { host = "127.0.0.1", port = port, connect_timeout = 0.05 })
    t.assertStrContains(err.message, "after 0.05 s")
  end)
end

--- Calls fn while lookups are that function's.
local function with_lookup(lookup, fn)
  local loop, real = asyncio.get_running_loop(), core.get_running_loop
  local fake = setmetatable({ getaddrinfo = lookup }, { __index = function(_, name)
    return function(_, ...) return loop[name](loop, ...) end
  end })
  core.get_running_loop = function() return fake end
  local results = table.pack(pcall(fn))
  core.get_running_loop = real
  return table.unpack(results, 1, results.n)
end

function TestConnectTimeout:test_ends_all_attempts_of_a_name_with_several_addresses()
  t.real(function()
    local port, held = peers.deaf_port()
    local _ <close> = held
    local loop = asyncio.get_running_loop()
    local addresses = loop:getaddrinfo("127.0.0.1", port)
    addresses[2] = addresses[1]
    local ok, err = with_lookup(function() return addresses end, function()
      asyncio.open_connection("several.example", port, { connect_timeout = 0.1, happy_eyeballs_delay = 0.01 })
    end)
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertEquals(#asyncio.all_tasks(), 1)
  end)
end

function TestConnectTimeout:test_the_lookup_counts_too()
  t.real(function()
    local ok, err = with_lookup(function() asyncio.sleep(3600) end, function()
      asyncio.open_connection("slow.example", 80, { connect_timeout = 0.05 })
    end)
    t.assertFalse(ok)
    t.assertEquals(err.message, "no connection to slow.example:80 after 0.05 s: its name was being looked up")
    t.assertEquals(err.phase, "lookup")
  end)
end

function TestKeepalive:test_what_becomes_of_the_table_after_the_call_does_not_count()
  t.real(function()
    local server <close> = peers.serve(shout)
    local loop, port = asyncio.get_running_loop(), peers.port(server)
    local figures = { idle = 5, count = 3 }
    local ok, err = with_lookup(function(_, _, _, opts)
      figures.idle, figures.count = 77, "none"
      return loop:getaddrinfo("127.0.0.1", port, opts)
    end, function()
      local _, writer <close> = asyncio.open_connection("any.example", port, { keepalive = figures })
      t.assertEquals(probes(writer), { true, 5, 10, 3 })
    end)
    t.assertTrue(ok, err)
  end)
end

function TestConnectTimeout:test_who_connects_in_time_has_no_limit_afterwards()
  t.run(function()
    local server <close> = peers.serve(shout)
    local reader, writer <close> = peers.connect(server, { connect_timeout = 1 })
    asyncio.sleep(100)
    t.assertEquals(asked(reader, writer, "hello"), "HELLO\n")
  end)
end

function TestConnectTimeout:test_other_failures_come_as_they_are()
  t.real(function()
    t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_connection, "127.0.0.1", peers.reserve_port(),
      { connect_timeout = 5 })
    local port, held = peers.deaf_port()
    local _ <close> = held
    local task = asyncio.create_task(asyncio.open_connection, "127.0.0.1", port, { connect_timeout = 5 })
    asyncio.sleep(0.01)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function()
      asyncio.open_connection("127.0.0.1", port, { connect_timeout = 5 })
    end, 0.05)
    t.assertStrContains(err.message, "wait_for")
  end)
end

function TestConnectTimeout:test_of_a_unix_socket_is_for_a_full_backlog()
  t.real(function()
    local path, held = path_for_a_socket(), {}
    local listener = bare_unix("listen", path)
    for i = 1, 64 do
      local ok, _, writer = pcall(asyncio.open_unix_connection, path, { connect_timeout = 0.05 })
      if not ok then
        local err = t.assert_isinstance(_, asyncio.TimeoutError)
        t.assertEquals(err.message, ("no connection to %s after 0.05 s: connecting was under way"):format(path))
        break
      end
      held[i] = writer
    end
    t.assertTrue(#held < 64)
    for _, writer in ipairs(held) do writer:abort() end
    listener:close()
    os.remove(path)
  end)
end

t.finish()
