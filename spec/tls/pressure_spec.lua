-- pressure_spec.lua - encrypted streams under load: slow readers, long transfers, new keys, cancellations.
local t = require "helper"
local peers = require "peers"
local program = require "program"
local secure = require "secure"

local asyncio = t.asyncio

local SERVER_SIDE = { server_side = true }

TestBackPressure = {}

function TestBackPressure:test_reaches_the_writer_of_a_reader_that_does_not_read()
  t.run(function()
    secure.memory(function(_, writer, peer_reader)
      local sent = 0
      local sender = asyncio.create_task(function()
        for _ = 1, 1000 do
          writer:send(("x"):rep(10000))
          sent = sent + 10000
        end
        writer:close()
      end)
      t.until_blocked()
      t.assertTrue(sent < 1000000, sent)
      t.assertFalse(sender:done())
      local got = 0
      for data in peer_reader:blocks() do got = got + #data end
      t.assertEquals(got, 10000000)
      asyncio.await(sender)
    end)
  end)
end

--- Records of one piece are offered to the kernel as they are made, and the last one it takes in part only.
function TestBackPressure:test_of_single_records_loses_nothing_of_one_that_is_taken_in_part()
  t.real(function()
    secure.pair(function(_, writer, peer_reader)
      local parts = {}
      repeat
        parts[#parts + 1] = (string.char(65 + #parts % 26)):rep(16000 - #parts)
        writer:write(parts[#parts])
        asyncio.sleep(0)
      until writer:pending() > 0
      parts[#parts + 1] = "end"
      writer:write("end")
      local all = table.concat(parts)
      t.assertTrue(peer_reader:readexactly(#all) == all)
    end)
  end)
end

function TestBackPressure:test_decrypts_little_ahead_of_the_reader()
  t.real(function()
    secure.pair(function(_, writer, peer_reader)
      local sender = asyncio.create_task(function()
        while true do writer:send(("x"):rep(65536)) end
      end)
      asyncio.sleep(0.2)
      local unread = tonumber(tostring(peer_reader):match "(%d+) bytes unread")
      t.assertTrue(unread <= 20000, unread)
      sender:cancel()
      pcall(asyncio.await, sender)
    end, { far = { limit = 5000 } })
  end)
end

function TestBackPressure:test_stays_after_a_reader_that_wanted_much_has_gone()
  t.real(function()
    secure.pair(function(reader, _, _, peer_writer)
      local sender = asyncio.create_task(function() peer_writer:send(("x"):rep(300000)) end)
      local impatient = asyncio.create_task(reader.readexactly, reader, 500000)
      while not tostring(reader):find "300000 bytes unread" do asyncio.sleep(0.001) end
      impatient:cancel()
      t.assertFalse((pcall(asyncio.await, impatient)))
      asyncio.await(sender)
      peer_writer:send(("y"):rep(200000))
      while peer_writer:pending() > 0 do asyncio.sleep(0) end
      for _ = 1, 20 do asyncio.sleep(0.001) end -- nobody reads meanwhile
      t.assertEquals(#reader:readexactly(500000), 500000)
      peer_writer:abort()
    end)
  end)
end

function TestBackPressure:test_holds_from_the_last_byte_of_the_handshake_on()
  t.run(function()
    local _, near, reader, far <close> = asyncio.stream_pair { limit = 50 }
    local client = asyncio.create_task(function()
      near:start_tls(secure.client_context(), { server_hostname = "localhost" })
      near:write(("x"):rep(1000000))
    end)
    far:start_tls(secure.server_context(), SERVER_SIDE)
    t.until_blocked()
    t.assertStrContains(tostring(reader), " 101 bytes unread")
    asyncio.await(client)
    near:abort()
  end)
end

--- Kilobytes of memory that the process has.
local function resident()
  local file <close> = assert(io.open "/proc/self/statm")
  local _, pages = file:read("n", "n")
  return pages * 4
end

--- SPEC_MEGABYTES: how many go each way (48).
function TestBackPressure:test_keeps_memory_bounded_through_a_long_transfer_both_ways()
  local megabytes = math.tointeger(os.getenv "SPEC_MEGABYTES") or t.count(48)
  secure.need_proc()
  t.real(function()
    secure.pair(function(reader, writer, peer_reader, peer_writer)
      local most = { resident = 0, pending = 0, unread = 0 }
      local function note(what, n) most[what] = math.max(most[what], n) end
      local function send(to)
        local chunk = ("x"):rep(1 << 16)
        for _ = 1, megabytes << 4 do
          to:send(chunk)
          note("pending", to:pending())
        end
        to:write_eof()
      end
      local function slowly(from)
        local got, turns = 0, 0
        for data in from:blocks(30000) do
          got, turns = got + #data, turns + 1
          if turns % 100 == 1 then
            asyncio.sleep(0.001)
            note("resident", resident())
            note("unread", tonumber(tostring(from):match "(%d+) bytes unread") or 0)
          end
        end
        return got
      end
      collectgarbage()
      local before = resident()
      local group <close> = asyncio.TaskGroup()
      group:create_task(send, writer)
      group:create_task(send, peer_writer)
      local there, back = group:create_task(slowly, peer_reader), group:create_task(slowly, reader)
      t.assertEquals({ asyncio.await(there), asyncio.await(back) }, { megabytes << 20, megabytes << 20 })
      if os.getenv "SPEC_MEGABYTES" then
        print(("# %d MiB each way: %d KB before, %d KB at most; %d bytes unsent, %d unread at most"):format(megabytes,
          before, most.resident, most.pending, most.unread))
      end
      t.assertTrue(most.pending < 400000, most.pending)
      t.assertTrue(most.unread <= 200000, most.unread)
      if not secure.watched then t.assertTrue(most.resident - before < 16000, most.resident - before) end
    end)
  end)
end

--- Each of them has more to say than all buffers take, and listens only then.
function TestBackPressure:test_of_two_who_write_before_they_read_is_no_deadlock()
  local n = 1000000
  local function both(reader, writer, peer_reader, peer_writer)
    local text, back = peers.text(n), peers.text(n + 1, 2)
    writer:write(text)
    peer_writer:write(back)
    t.until_blocked()
    t.assertTrue(writer:pending() > 0 and peer_writer:pending() > 0)
    local read = asyncio.create_task(reader.readexactly, reader, #back)
    t.assertTrue(peer_reader:readexactly(#text) == text)
    t.assertTrue(asyncio.await(read) == back)
    local there, forth = asyncio.create_task(writer.send, writer, text), asyncio.create_task(peer_writer.send,
      peer_writer, back)
    t.until_blocked()
    t.assertTrue(peer_reader:readexactly(#text) == text)
    t.assertTrue(reader:readexactly(#back) == back)
    asyncio.gather(there, forth)
  end
  for _, version in ipairs(secure.VERSIONS) do
    local only = { minimum_version = version, maximum_version = version }
    for _, limit in ipairs { 100, 65536 } do
      t.run(function()
        secure.memory(both, { limit = limit, near = secure.client_context(only), far = secure.server_context(only) })
      end)
    end
  end
  n = 8000000 -- the kernel takes some, too
  t.real(function() secure.pair(both) end)
end

TestCancelled = {}

function TestCancelled:test_a_read_takes_nothing()
  t.run(function()
    secure.memory(function(_, writer, peer_reader)
      local waits = asyncio.create_task(peer_reader.readexactly, peer_reader, 10)
      writer:send "01234"
      t.until_blocked()
      waits:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, waits)
      writer:send "56789"
      t.assertEquals(peer_reader:readexactly(10), "0123456789")
    end)
  end)
end

function TestCancelled:test_a_drain_breaks_no_record()
  local text = peers.text(500000)
  t.run(function()
    secure.memory(function(_, writer, peer_reader)
      writer:write(text)
      local waits = asyncio.create_task(writer.drain, writer)
      t.until_blocked()
      waits:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, waits)
      writer:write "the end"
      t.assertTrue(peer_reader:readexactly(#text) == text)
      t.assertEquals(peer_reader:readexactly(7), "the end")
    end)
  end)
end

--- Calls try(n), which cancels something after n turns of the loop, until that had ended by itself before.
local function at_each_turn(try)
  local n = 0
  while try(n) do n = n + (secure.watched and 23 or 1) end
  return n
end

local function cancel_after(turns, task)
  for _ = 1, turns do
    if task:done() then break end
    asyncio.sleep(0)
  end
  local cancelled = task:cancel()
  asyncio.wait { task }
  if cancelled and task:cancelled() then return true end
  task:result()
  return false
end

--- Not before the handshake's last byte has passed is it no longer given up; then all is as ever.
for _, version in ipairs(secure.VERSIONS) do
  for _, side in ipairs { "client", "server" } do
    TestCancelled[("test_a_handshake_of_a_%s_with_%s_is_dead_wherever_it_was"):format(side, version)] = function()
      local only = { minimum_version = version, maximum_version = version }
      local turns = at_each_turn(function(n)
        local cancelled
        t.run(function()
          local reader, writer <close>, line_reader1, line_writer1 = asyncio.stream_pair()
          local line_reader2, line_writer2, far_reader, far <close> = asyncio.stream_pair()
          local relay = secure.relay(line_reader1, line_writer1, line_reader2, line_writer2, function() return 61 end)
          local client = asyncio.create_task(writer.start_tls, writer, secure.client_context(only),
            { server_hostname = "localhost" })
          local server = asyncio.create_task(far.start_tls, far, secure.server_context(only), SERVER_SIDE)
          local mine, other = client, server
          if side == "server" then mine, other = server, client end
          cancelled = cancel_after(n, mine)
          if cancelled then
            local dead = side == "client" and writer or far
            t.assertTrue(dead:is_closing() or n == 0)
            for _, each in ipairs { dead, line_writer1, line_writer2 } do each:abort() end
            asyncio.wait { other }
            if not other:exception() then -- it had said its last word
              local its = side == "client" and far_reader or reader
              t.assert_raises(asyncio.OSError, its.read, its, 1)
            end
          else
            asyncio.await(other)
            writer:send "there"
            far:send "back"
            t.assertEquals({ far_reader:readexactly(5), reader:readexactly(4) }, { "there", "back" })
          end
          for _, each in ipairs { writer, far, line_writer1, line_writer2 } do each:abort() end
          asyncio.await(relay)
        end)
        return cancelled
      end)
      t.assertTrue(turns > 20, turns)
    end
  end
end

function TestCancelled:test_a_connect_leaves_nothing_wherever_it_is()
  t.real(function()
    local server <close> = secure.serve(function(_, writer) writer:send "hello\n" end)
    local context = secure.client_context()
    at_each_turn(function(n)
      return cancel_after(n, asyncio.create_task(function()
        local reader, _ <close> = secure.connect(server, { ssl = context })
        t.assertEquals(reader:readline(), "hello\n")
      end))
    end)
    t.wait_until(function() return server:stats().connections == 0 end)
  end)
end

--- Whose reading is given up again and again has in the end what was sent; whose sending is, had written it at once.
function TestCancelled:test_a_long_transfer_loses_and_doubles_nothing_wherever_it_is()
  local text = peers.text(200000)
  for _, version in ipairs(secure.VERSIONS) do
    local only = { minimum_version = version, maximum_version = version }
    at_each_turn(function(n)
      local cancelled
      t.run(function()
        secure.memory(function(_, writer, peer_reader)
          local got = {}
          local function take()
            for data in function() return peer_reader:read(7000) end do got[#got + 1] = data end
          end
          local written = false
          local sending = asyncio.create_task(function()
            written = true
            writer:send(text)
            writer:close()
          end)
          cancelled = cancel_after(n, asyncio.create_task(take))
          if cancel_after(n, sending) then
            if not written then writer:write(text) end
            writer:close()
          end
          take()
          t.assertTrue(table.concat(got) == text)
        end, { limit = 2000, near = secure.client_context(only), far = secure.server_context(only) })
      end)
      return cancelled
    end)
  end
end

TestTwoWays = {}

function TestTwoWays:test_at_once_with_reading_beside_writing()
  local text = peers.text(2000000)
  t.real(function()
    secure.pair(function(reader, writer, peer_reader, peer_writer)
      local echo = asyncio.create_task(function()
        for data in peer_reader:blocks() do peer_writer:send(data) end
        peer_writer:write_eof()
      end)
      local send = asyncio.create_task(function()
        writer:send(text)
        writer:write_eof()
      end)
      t.assertTrue(reader:read(-1) == text)
      asyncio.await(send)
      asyncio.await(echo)
    end)
  end)
end

function TestTwoWays:test_with_copy()
  local text = peers.text(1000000)
  t.real(function()
    secure.pair(function(reader, writer, peer_reader, peer_writer)
      local echo = asyncio.create_task(function()
        local n = asyncio.copy(peer_reader, peer_writer)
        peer_writer:write_eof()
        return n
      end)
      local send = asyncio.create_task(function()
        writer:send(text)
        writer:write_eof()
      end)
      t.assertTrue(reader:read(-1) == text)
      asyncio.await(send)
      t.assertEquals(asyncio.await(echo), #text)
    end)
  end)
end

TestNewKeys = {}

--- s_client's K sends new keys of its own and asks for ours.
function TestNewKeys:test_are_taken_and_given_while_a_server_waits()
  peers.need "openssl"
  t.real(function()
    local lines, answered = asyncio.Queue(), asyncio.get_running_loop():create_future()
    local server <close> = secure.serve(function(reader, writer)
      for line in reader:lines() do
        lines:put(line)
        writer:send("got ", line, "\n")
      end
      answered:set_result()
    end)
    local client <close> = program.start("openssl s_client -connect 127.0.0.1:%d -tls1_3 -quiet -no_ign_eof -CAfile %s",
      peers.port(server), secure.certificates.file "root.pem")
    client:type "one"
    t.assertEquals(lines:get(), "one")
    for i = 1, 3 do
      client:type(i == 2 and "k" or "K")
      client:expect "KEYUPDATE\n"
      client:type("after " .. i)
      t.assertEquals(lines:get(), "after " .. i)
      client:expect("got after " .. i)
    end
    client:type "Q"
    asyncio.await(answered)
  end)
end

--- Builds keys.c: the program, for the scope.
local function key_asker()
  local built = peers.file()
  local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
  local ok = os.execute(("%s -o '%s' '%s/keys.c' -lssl -lcrypto >/dev/null 2>&1"):format(os.getenv "CC" or "cc",
    built.name, here))
  if not ok then t.skip "no compiler for OpenSSL" end
  return built
end

--- Our end of an encrypted connection with keys.c, whose output passes only once `gate` is set. fn gets it, the gate, a
-- table with how many raw bytes have come, and a function that awaits the program's end.
local function flooded(n, fn)
  t.real(function()
    local asker <close> = key_asker()
    local gate, came = asyncio.Event(), { n = 0 }
    local reader, writer <close>, far_reader, far_writer = asyncio.stream_pair()
    local server <close> = peers.serve(function(socket_reader, socket_writer)
      local _ <close> = far_writer
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        for data in socket_reader:blocks(65536) do
          far_writer:send(data)
          came.n = came.n + #data
        end
      end)
      for data in far_reader:blocks(65536) do
        socket_writer:send(data)
        if writer:get_extra_info "cipher" then gate:wait() end
      end
    end)
    local ended = peers.background(("%s %d %d"):format(asker.name, peers.port(server), n))
    writer:start_tls(secure.server_context(), SERVER_SIDE)
    fn(reader, writer, gate, came, ended)
    writer:close()
    writer:wait_closed()
  end)
end

--- Its answers would fill the memory of who sends them; a peer that takes them gets each.
function TestNewKeys:test_that_a_peer_asks_for_without_end_are_given_as_fast_as_it_takes_them()
  local n = t.slow and 30000 or 40000
  flooded(n, function(reader, writer, gate, came, ended)
    t.wait_until(function() return writer:pending() > 200000 end)
    local before
    repeat
      before = came.n
      asyncio.sleep(t.slow and 1 or 0.1)
    until came.n == before
    t.assertTrue(came.n < n * 27, came.n)
    t.assertTrue(writer:pending() < 400000, writer:pending())
    local cpu = os.clock()
    asyncio.sleep(0.3)
    if not t.slow then t.assertTrue(os.clock() - cpu < 0.15, os.clock() - cpu) end
    gate:set()
    t.assertEquals(reader:readline(), "done\n")
    writer:send "bye\n"
    t.assertEquals({ ended() }, { n .. " answers\n", "", 0 })
  end)
end

t.finish { sampled = true }
