-- filter_spec.lua - a stream whose bytes pass through a filter: the seam that TLS stands on, with one of our own.
local t = require "helper"
local core = require "asyncio.core"

local asyncio = t.asyncio

local new

--- A context of filter.c's.
local function context(opts)
  if not new then
    local here, name = arg[0]:match "^(.*)/[^/]*$" or ".", os.tmpname()
    local built = os.execute(("%s -shared -fPIC -o '%s' '%s/filter.c' -I'%s/../src' %s >/dev/null 2>&1"):format(
      os.getenv "CC" or "cc", name, here, here, t.cflags))
    local library = built and package.loadlib(name, "luaopen_filter")
    os.remove(name)
    if not library then t.skip "no compiler for a filter" end
    new = library()
  end
  return new(opts or {})
end

--- Calls fn(reader, writer, peer_reader, peer_writer, reports) with both ends of a pair, unfiltered yet.
local function paired(fn, opts)
  t.run(function(reports)
    local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair(opts)
    local _ <close> = peer_writer
    fn(reader, writer, peer_reader, peer_writer, reports)
    writer:abort()
    peer_writer:abort()
  end)
end

local function shake(writer, peer_writer, filters)
  asyncio.gather(asyncio.create_task(core.start_filter, writer, filters, false),
    asyncio.create_task(core.start_filter, peer_writer, filters, true))
end

--- The same, once both have shaken hands.
local function filtered(fn, opts, filters)
  paired(function(reader, writer, peer_reader, peer_writer, reports)
    shake(writer, peer_writer, filters or context { half = true })
    fn(reader, writer, peer_reader, peer_writer, reports)
  end, opts)
end

TestShake = {}

function TestShake:test_what_was_written_before_goes_first_and_plain()
  paired(function(reader, writer, peer_reader, peer_writer)
    writer:write "plain\n"
    t.assertEquals(peer_reader:readline(), "plain\n")
    shake(writer, peer_writer, context())
    writer:write "sealed\n"
    peer_writer:write "back\n"
    t.assertEquals({ peer_reader:readline(), reader:readline() }, { "sealed\n", "back\n" })
  end)
end

function TestShake:test_what_lies_unread_is_the_peers_first_raw_bytes_never_plain_ones()
  paired(function(_, writer, peer_reader, peer_writer)
    writer:send "injected\n"
    asyncio.sleep(0)
    t.assertEquals(peer_reader:peek(8), "injected")
    local _, err = asyncio.pcall(core.start_filter, peer_writer, context(), true, nil, nil, "start_tls")
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    t.assertEquals(err.message, "not a greeting: start_tls stream_pair")
  end)
end

function TestShake:test_meanwhile_nobody_else_reads_or_writes_and_nothing_has_happened()
  paired(function(reader, writer, peer_reader, peer_writer)
    local filters = context()
    local task = asyncio.create_task(core.start_filter, writer, filters, false)
    asyncio.sleep(0)
    for _, call in ipairs { { reader.read, reader, 1 }, { writer.write, writer, "x" }, { writer.send, writer, "x" },
      { core.start_filter, writer, filters, false } } do
      local _, err = pcall(table.unpack(call))
      t.assertTrue(asyncio.isinstance(err, asyncio.Error), tostring(err))
    end
    local _, err = pcall(reader.read, reader, 1)
    t.assertTrue(asyncio.isinstance(err, asyncio.BusyError))
    _, err = pcall(writer.write, writer, "x")
    t.assertTrue(asyncio.isinstance(err, asyncio.BusyError))
    core.start_filter(peer_writer, filters, true)
    asyncio.await(task)
    writer:send "now"
    t.assertEquals(peer_reader:read(10), "now")
  end)
end

function TestShake:test_is_refused_while_a_task_reads_which_goes_on()
  paired(function(reader, writer, _, peer_writer)
    local task = asyncio.create_task(reader.read, reader, 10)
    asyncio.sleep(0)
    local _, err = pcall(core.start_filter, writer, context(), false)
    t.assertTrue(asyncio.isinstance(err, asyncio.BusyError))
    peer_writer:write "plain"
    t.assertEquals(asyncio.await(task), "plain")
  end)
end

function TestShake:test_cancelled_the_connection_is_dead()
  paired(function(reader, writer)
    local task = asyncio.create_task(core.start_filter, writer, context(), false)
    asyncio.sleep(0)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled() and writer:is_closing())
    t.assertFalse((pcall(reader.read, reader, 1)) and reader:read(1) ~= nil)
  end)
end

function TestShake:test_failed_it_says_so_to_the_peer_and_the_connection_is_dead()
  paired(function(reader, writer, _, peer_writer)
    local peer = asyncio.create_task(core.start_filter, peer_writer, context { fail = "shake" }, true)
    local _, err = asyncio.pcall(core.start_filter, writer, context(), false)
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    asyncio.wait { peer }
    local _, failure = pcall(peer.result, peer)
    t.assertTrue(asyncio.isinstance(failure, asyncio.SSLCertVerificationError))
    t.assertEquals({ failure.verify_code, failure.verify_message, failure.reason, failure.library },
      { 18, "toy", "TOY_REASON", "TOY" })
    t.assertTrue(writer:is_closing() and peer_writer:is_closing())
    t.assertFalse((pcall(writer.write, writer, "x")))
    t.assertFalse((pcall(reader.read, reader, 1)))
  end)
end

function TestShake:test_lua_is_asked_where_the_filter_wants_it()
  local asked = 0
  filtered(function(_, writer, peer_reader)
    writer:send "x"
    t.assertEquals({ peer_reader:read(1), asked }, { "x", 1 })
  end, nil, context { ask = function() asked = asked + 1 end })
end

function TestShake:test_a_second_filter_is_refused()
  filtered(function(_, writer)
    local _, err = pcall(core.start_filter, writer, context(), false)
    t.assertStrContains(tostring(err), "TLS in TLS is not supported")
  end)
end

TestBytes = {}

function TestBytes:test_any_sizes_pass_both_ways()
  filtered(function(reader, writer, peer_reader, peer_writer)
    local text = {}
    for i = 1, 300 do text[i] = string.char(i % 256) end
    local chunk = table.concat(text)
    for _, n in ipairs { 1, 2, 199, 200, 201, 255, 1024, 1025, 60000, 300000 } do
      local bytes = chunk:rep(n // #chunk + 1):sub(1, n)
      local there = asyncio.create_task(function() writer:send(bytes) end)
      t.assertTrue(peer_reader:readexactly(n) == bytes)
      local back = asyncio.create_task(function() peer_writer:send(bytes) end)
      t.assertTrue(reader:readexactly(n) == bytes)
      asyncio.gather(there, back)
    end
  end)
end

function TestBytes:test_who_does_not_read_holds_the_writer_up()
  filtered(function(_, writer, peer_reader)
    local bytes, done = ("x"):rep(1000000), false
    local task = asyncio.create_task(function()
      writer:send(bytes)
      writer:write_eof()
      done = true
    end)
    asyncio.sleep(10)
    t.assertFalse(done)
    local unread = tonumber(tostring(peer_reader):match "(%d+) bytes unread")
    t.assertTrue(unread <= 3000, unread)
    t.assertEquals(#peer_reader:read(), #bytes)
    asyncio.await(task)
  end, { limit = 1000 })
end

function TestBytes:test_what_the_filter_holds_back_comes_to_who_waits_for_more_than_lies_there()
  for n = 1, 60, 7 do
    filtered(function(_, writer, peer_reader)
      local task = asyncio.create_task(writer.send, writer, ("x"):rep(600))
      for _ = 1, 600 // n do t.assertEquals(peer_reader:readexactly(n), ("x"):rep(n)) end
      asyncio.await(task)
    end, { limit = 10 })
  end
end

function TestBytes:test_what_the_filter_holds_back_is_copied_after_a_pause_for_the_output()
  filtered(function(_, writer, peer_reader)
    local reader, out <close>, _, its_writer = asyncio.stream_pair { limit = 10 }
    local _ <close> = its_writer
    its_writer:set_write_buffer_limits { high = 20, low = 0 }
    local copying = asyncio.create_task(asyncio.copy, peer_reader, its_writer)
    local sending = asyncio.create_task(function()
      writer:send(("x"):rep(5000))
      writer:write_eof()
    end)
    local got = 0
    while got < 5000 do
      got = got + #reader:read(7)
      asyncio.sleep(1)
    end
    t.assertEquals(asyncio.await(copying), 5000)
    asyncio.await(sending)
    out:abort()
  end, { limit = 10 })
end

function TestBytes:test_a_cancelled_read_takes_nothing()
  filtered(function(reader, _, _, peer_writer)
    local task = asyncio.create_task(reader.readexactly, reader, 10)
    asyncio.sleep(0)
    peer_writer:write "12345"
    asyncio.sleep(1)
    task:cancel()
    asyncio.wait { task }
    peer_writer:write "67890"
    t.assertEquals(reader:readexactly(10), "1234567890")
  end)
end

function TestBytes:test_extra_info_is_the_filters_first()
  filtered(function(_, writer, _, peer_writer)
    t.assertEquals({ writer:get_extra_info "toy", peer_writer:get_extra_info "toy" }, { false, true })
    t.assertNil(writer:get_extra_info "no such thing")
  end)
end

--- Calls fn(writer, raw reader, raw writer) with one end that has shaken hands with a peer of bare bytes.
local function with_raw_peer(fn)
  paired(function(_, writer, raw_reader, raw_writer)
    local shaking = asyncio.create_task(core.start_filter, writer, context(), false)
    local greeting = raw_reader:readexactly(7)
    raw_writer:send(greeting)
    asyncio.await(shaking)
    fn(writer, raw_reader, raw_writer)
  end)
end

TestAnswers = {}

local MOST = 256 * 1024 + 2 * 65536 -- bytes of answers: what is enough to read no more, and what had come by then

function TestAnswers:test_a_peer_that_takes_none_is_read_no_more_until_it_does()
  for _, length in ipairs { 0, 50, 200 } do
    with_raw_peer(function(writer, raw_reader, raw_writer)
      local ask, n = "k" .. string.char(length) .. ("x"):rep(length), 0
      local flood = asyncio.create_task(function()
        local many = ask:rep(1000)
        while true do
          raw_writer:send(many)
          n = n + 1000
        end
      end)
      t.until_blocked()
      t.assertTrue(n * #ask < 2 * MOST, n)
      t.assertTrue(writer:pending() <= MOST, writer:pending())
      asyncio.sleep(3600)
      flood:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, flood)
      n = n + 1000 -- what was written is sent, though nobody waits for that any more
      raw_writer:write "k\0"
      for i = 1, n do
        local answer = raw_reader:readexactly(#ask)
        if answer:sub(1, 2) ~= "a" .. ask:sub(2, 2) then t.fail(("answer %d is %q"):format(i, answer)) end
      end
      t.assertEquals(raw_reader:readexactly(2), "a\0")
      t.assertEquals(writer:pending(), 0)
    end)
  end
end

function TestAnswers:test_that_are_not_taken_hold_a_close_up_for_its_time_only()
  with_raw_peer(function(writer, _, raw_writer)
    local flood = asyncio.create_task(function()
      while true do
        raw_writer:send(("k\50" .. ("x"):rep(50)):rep(100))
        asyncio.sleep(0.01)
      end
    end)
    asyncio.sleep(3600)
    do local _ <close> = writer end
    t.assert_isinstance(t.error_of(asyncio.await, flood), asyncio.OSError)
  end)
end

TestEnds = {}

function TestEnds:test_write_eof_ends_one_direction()
  filtered(function(reader, writer, peer_reader, peer_writer)
    writer:write "last"
    writer:write_eof()
    t.assertEquals(peer_reader:read(), "last")
    peer_writer:send "answer"
    peer_writer:close()
    t.assertEquals(reader:read(), "answer")
  end)
end

function TestEnds:test_where_it_cannot_write_eof_is_refused()
  filtered(function(_, writer)
    t.assertFalse(writer:can_write_eof())
    t.assertFalse((pcall(writer.write_eof, writer)))
  end, nil, context { half = false })
end

function TestEnds:test_close_sends_what_was_written_and_the_end()
  filtered(function(_, writer, peer_reader)
    writer:write(("x"):rep(500000))
    writer:close()
    t.assertEquals(#peer_reader:read(), 500000)
    t.assertNil(peer_reader:read(1))
  end)
end

function TestEnds:test_an_end_without_a_word_is_a_truncation_after_what_came_again_and_again()
  filtered(function(_, writer, peer_reader)
    writer:send "some bytes"
    asyncio.sleep(0)
    writer:abort()
    t.assertEquals(peer_reader:read(4), "some")
    local _, err = pcall(peer_reader.readexactly, peer_reader, 100)
    t.assertTrue(asyncio.isinstance(err, asyncio.OSError))
  end)
end

function TestEnds:test_an_error_in_what_comes_is_raised_once_what_came_before_is_read()
  filtered(function(reader, writer, _, peer_writer)
    peer_writer:send "x"
    local _, err = pcall(reader.read, reader, 10)
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    t.assertStrContains(err.message, "bad frame: read")
    _, err = pcall(writer.write, writer, "y")
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
  end, nil, context { fail = "pull" })
end

function TestEnds:test_output_that_cannot_be_sealed_fails_the_writer()
  filtered(function(_, writer)
    writer:write "x"
    asyncio.sleep(0)
    local _, err = pcall(writer.drain, writer)
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    t.assertStrContains(err.message, "cannot seal: write")
  end, nil, context { fail = "push" })
end

function TestEnds:test_it_cannot_be_detached()
  filtered(function(_, writer)
    local _, err = pcall(writer.detach, writer)
    t.assertStrContains(tostring(err), "TLS")
  end)
end

--- Calls fn(port, server, reports) with a server whose handler shouts.
local function served(filters, opts, fn)
  t.real(function(reports)
    opts.ssl = filters
    local server <close> = core.listen(function(reader, writer)
      for line in reader:lines() do writer:send(line:upper(), "\n") end
    end, { { family = "inet", host = "127.0.0.1", port = 0 } }, opts)
    fn(server:sockets()[1].port, server, reports)
    server:abort_clients()
  end)
end

local function connect(port, filters)
  local reader, writer = asyncio.open_connection("127.0.0.1", port)
  if filters then core.start_filter(writer, filters, false) end
  return reader, writer
end

--- Waits until the server's stats say so.
local function await_stat(server, name, n)
  for _ = 1, 1000 do
    if server:stats()[name] == n then return end
    asyncio.sleep(0.01)
  end
  t.assertEquals(server:stats()[name], n)
end

TestClosed = {}

function TestClosed:test_streams_need_no_more_of_it_while_somebody_has_them()
  local filters = context { half = true }
  filtered(function(_, writer, _, peer_writer)
    t.assertEquals(filters:retired(), 0)
    writer:close()
    writer:wait_closed()
    t.assertEquals({ filters:retired(), filters:filters() }, { 1, 2 })
    peer_writer:abort()
    peer_writer:wait_closed()
    t.assertEquals({ filters:retired(), filters:filters() }, { 2, 2 })
  end, nil, filters)
end

TestServer = {}

function TestServer:test_its_handlers_speak_through_the_filter()
  local filters = context { half = true }
  served(filters, {}, function(port)
    for _ = 1, 3 do
      local reader, writer <close> = connect(port, filters)
      writer:write(("y"):rep(60000), "\n")
      t.assertEquals(reader:readline(), ("Y"):rep(60000) .. "\n")
    end
  end)
  t.collect()
  t.assertEquals(filters:filters(), 0)
end

function TestServer:test_who_says_nothing_or_nonsense_has_no_handler_and_is_counted()
  served(context(), { ssl_handshake_timeout = 0.2 }, function(port, server, reports)
    local reader, writer <close> = connect(port)
    local silent, silent_writer <close> = connect(port)
    select(2, connect(port)):close()
    writer:write "GET / HTTP/1.0\r\n\r\n"
    t.assertEquals(reader:read(), "")
    t.assertTrue(not pcall(silent.read, silent) or silent:read(1) == nil)
    silent_writer:close()
    await_stat(server, "handshakes_failed", 3)
    t.assertEquals({ server:stats().accepted, server:stats().handshakes, #reports }, { 3, 0, 0 })
  end)
end

function TestServer:test_so_many_shake_hands_at_a_time_the_next_wait_their_turn()
  local filters = context()
  served(filters, { max_handshakes = 1, ssl_handshake_timeout = 30 }, function(port, server)
    local _, first <close> = connect(port)
    await_stat(server, "handshakes", 1)
    local second = asyncio.create_task(connect, port, filters)
    asyncio.sleep(0.05)
    t.assertFalse(second:done())
    first:close()
    local _, _ <close> = asyncio.await(second)
    t.assertEquals(server:stats().handshakes_failed, 1)
  end)
end

function TestServer:test_its_end_ends_handshakes_too()
  t.real(function()
    local server = core.listen(function() end, { { family = "inet", host = "127.0.0.1", port = 0 } },
      { ssl = context(), ssl_handshake_timeout = 30 })
    local _, _ <close> = connect(server:sockets()[1].port)
    await_stat(server, "handshakes", 1)
    server:shutdown(5)
    t.assertEquals({ server:stats().connections, server:stats().handshakes }, { 0, 0 })
  end)
end

t.finish()
