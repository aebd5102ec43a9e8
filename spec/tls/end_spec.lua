-- end_spec.lua - how an encrypted connection ends: in good order, cut off, half, reset.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

local function each_version(fn)
  for _, version in ipairs(secure.VERSIONS) do fn(version) end
end

TestGoodOrder = {}

function TestGoodOrder:test_is_a_clean_end_for_the_other_side()
  each_version(function(version)
    t.real(function()
      secure.pair(function(_, writer, peer_reader)
        writer:write "the last words"
        writer:close()
        t.assertEquals(peer_reader:read(-1), "the last words")
        t.assertNil(peer_reader:read(1))
      end, { version = version })
    end)
  end)
end

function TestGoodOrder:test_does_not_wait_for_the_peer_to_say_it_too()
  t.run(function()
    secure.memory(function(_, writer)
      local loop = asyncio.get_running_loop()
      local began = loop:time()
      writer:close()
      writer:wait_closed()
      t.assertTrue(loop:time() - began < 1)
    end)
  end)
end

TestHalf = {}

function TestHalf:test_with_tls_1_3_reading_goes_on()
  t.real(function()
    secure.pair(function(reader, writer, peer_reader, peer_writer)
      t.assertTrue(writer:can_write_eof())
      writer:write "question"
      writer:write_eof()
      t.assertEquals(peer_reader:read(-1), "question")
      peer_writer:send "answer"
      peer_writer:close()
      t.assertEquals(reader:read(-1), "answer")
    end, { version = "TLSv1.3" })
  end)
end

function TestHalf:test_with_tls_1_2_is_not_to_be_had()
  t.real(function()
    secure.pair(function(reader, writer, _, peer_writer)
      t.assertFalse(writer:can_write_eof())
      t.assertErrorMsgContains("TLS", writer.write_eof, writer)
      peer_writer:send "all the same"
      t.assertEquals(reader:read(100), "all the same")
    end, { version = "TLSv1.2" })
  end)
end

TestCutOff = {}

--- Calls fn(reader) for an end whose peer has sent `sent` and then is gone without a word.
local function cut(sent, fn, opts, version)
  t.real(function()
    local reader1, writer1, relayed = nil, nil, asyncio.get_running_loop():create_future()
    local gone = asyncio.Event()
    local relay <close> = peers.serve(function(reader, writer)
      reader1, writer1 = reader, writer
      asyncio.await(relayed)
    end)
    local only = { minimum_version = version, maximum_version = version }
    local server <close> = secure.serve(function(peer_reader, peer_writer)
      peer_writer:send(sent)
      gone:set()
      peer_reader:read(1)
    end, { ssl = secure.server_context(only) })
    local middle = asyncio.create_task(function()
      t.wait_until(function() return writer1 end)
      local reader2, writer2 <close> = peers.connect(server)
      local back = asyncio.create_task(pcall, asyncio.copy, reader1, writer2)
      local forth = asyncio.create_task(asyncio.copy, reader2, writer1)
      gone:wait()
      t.until_blocked() -- what there is has passed: from here on nothing does
      forth:cancel()
      pcall(asyncio.await, forth)
      writer1:write_eof()
      pcall(asyncio.await, back)
    end)
    local reader, writer <close> = secure.connect(relay, secure.joined({
      ssl = secure.client_context(secure.joined(only, opts)) }))
    fn(reader)
    writer:abort()
    asyncio.await(middle)
    relayed:set_result()
  end)
end

function TestCutOff:test_is_an_error_after_what_came_at_every_read_again()
  each_version(function(version)
    cut("to the end?", function(reader)
      t.assertEquals(reader:read(100), "to the end?")
      for _ = 1, 2 do
        local err = t.assert_raises(asyncio.SSLEOFError, reader.read, reader, 1)
        t.assertStrMatches(tostring(err), ".*closed the connection without saying so.*: read 127.0.0.1:%d+")
        t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
      end
    end, nil, version)
  end)
end

function TestCutOff:test_has_what_came_as_partial()
  for _, call in ipairs {
    function(reader) return reader:read(-1) end,
    function(reader) return reader:readexactly(100) end,
    function(reader) return reader:readuntil "\n" end,
  } do
    cut("half", function(reader)
      t.assertEquals(t.assert_raises(asyncio.SSLEOFError, call, reader).partial, "half")
    end)
  end
end

function TestCutOff:test_is_a_clean_end_where_that_is_allowed()
  cut("all", function(reader)
    t.assertEquals(reader:read(-1), "all")
    t.assertNil(reader:read(1))
  end, { ignore_unexpected_eof = true })
end

--- Calls fn(reader, writer, raw) with an end whose peer takes nothing, and says what `raw` is given to write.
local function stuck(fn)
  t.run(function()
    local reader, writer <close>, raw_reader, raw = asyncio.stream_pair()
    local back_reader, back, _, peer_writer = asyncio.stream_pair()
    local there = asyncio.create_task(asyncio.copy, raw_reader, back)
    local here = asyncio.create_task(asyncio.copy, back_reader, raw)
    local failed, refused = secure.shake(writer, peer_writer)
    t.assertNil(failed or refused)
    asyncio.sleep(1)
    there:stop()
    here:stop()
    fn(reader, writer, raw)
    writer:abort()
    raw:abort()
    back:abort()
    peer_writer:abort()
  end)
end

function TestCutOff:test_ends_the_waiting_for_what_can_never_be_sent()
  for _, broken in ipairs { "\x17\x03\x03\x00\x14" .. ("g"):rep(20), false } do
    stuck(function(reader, writer, raw)
      writer:write(("x"):rep(1000000))
      local drains = asyncio.create_task(writer.drain, writer)
      asyncio.sleep(1)
      t.assertFalse(drains:done())
      if broken then raw:write(broken) else raw:write_eof() end
      t.assert_raises(asyncio.SSLError, reader.read, reader)
      asyncio.sleep(1)
      t.assertTrue(drains:done())
      t.assert_raises(asyncio.SSLError, asyncio.await, drains)
      t.assert_raises(asyncio.SSLError, writer.drain, writer)
      t.assertTrue(writer:pending() < 70000, "what is never sealed counts as pending")
    end)
  end
end

TestRun = {}

for _, version in ipairs(secure.VERSIONS) do
  TestRun["test_at_its_end_says_so_on_connections_that_are_open_" .. version] = function()
    t.real(function()
      local all = asyncio.get_running_loop():create_future()
      local server <close> = secure.serve(function(reader)
        local ok, err = pcall(reader.read, reader, -1)
        all:set_result(ok and #err or tostring(err))
      end, { ssl = secure.server_context { minimum_version = version, maximum_version = version } })
      local _, ended = peers.program(([[
        local asyncio, ssl = require "asyncio", require "asyncio.ssl"
        local kept
        print(1)
        io.stdout:flush()
        asyncio.run(function()
          kept = { asyncio.open_connection("127.0.0.1", %d, { server_hostname = "localhost",
            ssl = ssl.create_default_context { cafile = %q } }) }
          kept[2]:write(("x"):rep(100000))
        end)
      ]]):format(peers.port(server), secure.certificates.file "root.pem"))
      t.assertEquals(asyncio.await(all), 100000)
      ended()
    end)
  end
end

TestReset = {}

function TestReset:test_is_told_from_a_cut()
  t.real(function()
    secure.pair(function(reader, _, _, peer_writer)
      local waits = asyncio.create_task(reader.read, reader, 1)
      t.until_blocked()
      peer_writer:abort()
      local err = t.assert_raises(asyncio.OSError, asyncio.await, waits)
      t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionResetError)
        or asyncio.isinstance(err, asyncio.SSLEOFError))
    end)
  end)
end

function TestReset:test_by_the_death_of_the_peer_is_no_clean_end()
  t.real(function()
    local program = ([[
      local asyncio, ssl = require "asyncio", require "asyncio.ssl"
      asyncio.run(function()
        local server <close> = asyncio.start_server(function(reader, writer)
          writer:send "last\n"
          reader:read(5)
          os.execute("kill -9 $PPID")
        end, "127.0.0.1", 0, { ssl = ssl.create_server_context { certfile = %q, keyfile = %q } })
        print(server:sockets()[1].port)
        io.stdout:flush()
        server:serve_forever()
      end)
    ]]):format(secure.certificates.server.certfile, secure.certificates.server.keyfile)
    local port, ended = peers.program(program)
    local reader, writer <close> = secure.connect(port)
    t.assertEquals(reader:readline(), "last\n")
    writer:send "kill\n"
    t.assert_raises(asyncio.OSError, reader.read, reader, 1)
    writer:abort()
    ended()
  end)
end

t.leave_out(TestReset, "valgrind", "test_by_the_death_of_the_peer_is_no_clean_end")

TestTickets = {}

--- The server's tickets lie unread at a client that only writes; a close that reset the connection for them would
-- destroy what was sent last.
function TestTickets:test_that_are_never_read_destroy_nothing_at_a_close()
  local text = peers.text(300000)
  t.real(function()
    local got = asyncio.get_running_loop():create_future()
    local server <close> = secure.serve(function(reader) got:set_result(reader:read(-1)) end)
    do
      local _, writer <close> = secure.connect(server)
      writer:write(text)
    end
    t.assertTrue(asyncio.await(got) == text)
  end)
end

function TestTickets:test_and_a_server_that_ends_first_destroy_nothing()
  t.real(function()
    local server <close> = secure.serve(function(_, writer) writer:write "all that there is" end)
    for _ = 1, 20 do
      local reader, _ <close> = secure.connect(server)
      t.assertEquals(reader:read(-1), "all that there is")
    end
  end)
end

t.finish()
