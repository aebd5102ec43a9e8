-- pressure_spec.lua - encrypted streams under load: slow readers, long transfers, new keys, cancellations.
local t = require "helper"
local peers = require "peers"
local program = require "program"
local secure = require "secure"

local asyncio = t.asyncio

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

function TestBackPressure:test_keeps_memory_bounded_through_a_long_transfer_both_ways()
  local megabytes = t.count(64)
  t.real(function()
    secure.pair(function(reader, writer, peer_reader, peer_writer)
      local function send(to)
        local chunk = ("x"):rep(1 << 20)
        for _ = 1, megabytes do to:send(chunk) end
        to:write_eof()
      end
      local most = 0
      local function slowly(from)
        local got, turns = 0, 0
        for data in from:blocks(30000) do
          got, turns = got + #data, turns + 1
          if turns % 100 == 0 then
            asyncio.sleep(0.001)
            most = math.max(most, collectgarbage "count")
          end
        end
        return got
      end
      collectgarbage()
      local before = collectgarbage "count"
      local group <close> = asyncio.TaskGroup()
      group:create_task(send, writer)
      group:create_task(send, peer_writer)
      local there, back = group:create_task(slowly, peer_reader), group:create_task(slowly, reader)
      t.assertEquals({ asyncio.await(there), asyncio.await(back) }, { megabytes << 20, megabytes << 20 })
      t.assertTrue(most - before < 20000, most - before)
    end)
  end)
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

--- A client that is given up at each moment there is: after so many steps of the loop.
function TestCancelled:test_a_connect_leaves_nothing_wherever_it_is()
  t.real(function()
    local server <close> = secure.serve(function(_, writer) writer:send "hello\n" end)
    local succeeded = 0
    for steps = 0, t.count(40) do
      local client = asyncio.create_task(function()
        local reader, _ <close> = secure.connect(server)
        return reader:readline()
      end)
      for _ = 1, steps do asyncio.sleep(0) end
      asyncio.sleep(steps % 5 * 0.0005)
      client:cancel()
      local ok, result = pcall(asyncio.await, client)
      if ok then
        succeeded = succeeded + 1
        t.assertEquals(result, "hello\n")
      else
        t.assert_isinstance(result, asyncio.CancelledError)
      end
    end
    local reader, _ <close> = secure.connect(server)
    t.assertEquals(reader:readline(), "hello\n")
    t.assertTrue(succeeded >= 0)
  end)
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
      asyncio.sleep(0.05)
      client:type("after " .. i)
      t.assertEquals(lines:get(), "after " .. i)
      client:expect("got after " .. i)
    end
    client:type "Q"
    asyncio.await(answered)
  end)
end

t.finish()
