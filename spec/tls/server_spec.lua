-- server_spec.lua - servers of encrypted connections: what they do as those of plain ones do.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

local function echo(reader, writer)
  for line in reader:lines() do writer:send(line:upper(), "\n") end
  writer:send "bye\n"
end

TestShutdown = {}

for _, version in ipairs(secure.VERSIONS) do
  TestShutdown["test_is_a_clean_end_for_handlers_which_send_what_they_owe_" .. version] = function()
    t.real(function()
      local server <close> = secure.serve(echo,
        { ssl = secure.server_context { minimum_version = version, maximum_version = version } })
      local reader, writer <close> = secure.connect(server)
      writer:send "hello\n"
      t.assertEquals(reader:readline(), "HELLO\n")
      t.assertEquals(server:shutdown(20), 0)
      t.assertEquals(reader:read(-1), "bye\n")
      t.assertNotNil(writer)
    end)
  end
end

for _, version in ipairs(secure.VERSIONS) do
  TestShutdown["test_hears_who_has_just_shaken_hands_" .. version] = function()
    t.real(function()
      local started = asyncio.Event()
      local server <close> = secure.serve(function(reader, writer)
        started:set()
        local line = reader:readline()
        if line then writer:send(line:upper()) end
      end, { ssl = secure.server_context { minimum_version = version, maximum_version = version } })
      local reader, writer <close> = secure.connect(server)
      started:wait()
      local over = asyncio.create_task(server.shutdown, server, 20)
      asyncio.sleep(0)
      writer:write "hello\n"
      t.assertEquals(reader:readline(), "HELLO\n")
      t.assertEquals(asyncio.await(over), 0)
    end)
  end
end

TestClose = {}

function TestClose:test_ends_the_handshakes_that_are_under_way()
  t.real(function()
    local server = secure.serve(echo, { ssl_handshake_timeout = 600 })
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", peers.port(server))
    writer:send "\x16\x03\x01"
    t.wait_until(function() return server:stats().handshakes == 1 end)
    server:close()
    t.assertTrue((asyncio.move_on_after(20, reader.read, reader, -1)), "the handshake goes on")
    server:wait_closed()
    t.assertEquals({ server:stats().handshakes, server:stats().handshakes_failed }, { 0, 1 })
  end)
end

function TestClose:test_leaves_those_alone_who_have_a_handler()
  t.real(function()
    local server = secure.serve(echo)
    local reader, writer <close> = secure.connect(server)
    writer:send "one\n"
    t.assertEquals(reader:readline(), "ONE\n")
    server:close()
    writer:send "two\n"
    t.assertEquals(reader:readline(), "TWO\n")
    writer:close()
    server:wait_closed()
    t.assertEquals(server:stats().handshakes_failed, 0)
  end)
end

function TestClose:test_in_the_middle_of_a_handshake_is_its_end()
  t.real(function()
    local server, called
    server = secure.serve(function() called = true end, { ssl = secure.server_context {
      sni = function() server:close() end,
    } })
    local err = t.error_of(secure.connect, server)
    t.assert_isinstance(err, asyncio.OSError)
    server:wait_closed()
    t.assertNil(called)
  end)
end

TestLimits = {}

function TestLimits:test_of_time_hold_for_plain_bytes()
  t.real(function()
    secure.pair(function(reader, writer, _, peer_writer)
      local err = t.assert_raises(asyncio.TimeoutError, reader.read, reader, 1)
      t.assertStrMatches(tostring(err), ".*127%.0%.0%.1.*")
      peer_writer:send "late"
      t.assertEquals(reader:read(10), "late")
      t.assertFalse(writer:is_closing())
    end, { near = { read_timeout = 0.1 } })
  end)
end

function TestLimits:test_of_connections_count_those_that_shake_hands()
  t.real(function()
    local server <close> = secure.serve(echo, { max_connections = 1 })
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    t.wait_until(function() return server:stats().connections == 1 end)
    local client = asyncio.create_task(secure.connect, server)
    asyncio.sleep(0.05)
    t.assertFalse(client:done())
    socket:close()
    local _, writer <close> = asyncio.await(client)
    t.assertNotNil(writer)
  end)
end

TestUnix = {}

function TestUnix:test_sockets_may_be_encrypted()
  t.real(function()
    local path = certificates.file "unix"
    local server <close> = asyncio.start_unix_server(echo, path, { ssl = secure.server_context() })
    local reader, writer <close> = asyncio.open_unix_connection(path,
      { ssl = secure.client_context(), server_hostname = "localhost" })
    writer:send "hello\n"
    t.assertEquals(reader:readline(), "HELLO\n")
    t.assertNotNil(server)
  end)
end

TestForms = {}

function TestForms:test_with_one_table_take_the_same_options()
  t.real(function()
    local server <close> = asyncio.start_server(echo, { host = "127.0.0.1", port = 0, ssl = secure.server_context() })
    local reader, writer <close> = asyncio.open_connection { host = "127.0.0.1", port = peers.port(server),
      ssl = secure.client_context() }
    writer:send "hello\n"
    t.assertEquals(reader:readline(), "HELLO\n")
  end)
end

TestHandler = {}

function TestHandler:test_whose_client_is_cut_off_ends_quietly()
  t.real(function()
    local server <close> = secure.serve(echo)
    local _, writer <close> = secure.connect(server)
    t.wait_until(function() return server:stats().connections == 1 and server:stats().handshakes == 0 end)
    writer:abort()
    t.wait_until(function() return server:stats().connections == 0 end)
    t.assertEquals({ server:stats().failed, server:stats().reset }, { 0, 1 })
  end)
end

function TestHandler:test_knows_its_client_and_is_named_after_it()
  t.real(function()
    local names = asyncio.Queue()
    local server <close> = secure.serve(function(_, writer)
      names:put { asyncio.current_task():get_name(), tostring(writer:get_extra_info "peername") }
    end)
    local _, writer <close> = secure.connect(server)
    local name, peer = table.unpack(names:get())
    t.assertEquals(peer, tostring(writer:get_extra_info "sockname"))
    t.assertStrContains(name, peer)
  end)
end

t.finish()
