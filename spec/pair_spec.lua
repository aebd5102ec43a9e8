-- pair_spec.lua - asyncio.stream_pair: two ends in memory that nobody can tell from those of a connection.
local t = require "helper"
local peers = require "peers"

local asyncio, testing = t.asyncio, t.testing

-- All that reader_spec and writer_spec ask of a connection between two of our ends holds of a pair, too

local connected, finish = peers.pair, t.finish
local of_addresses = { TestExtraInfo = "test_knows_both_addresses" } -- which a pair hasn't

function peers.pair(fn, opts)
  opts = opts or {}
  local near, far = opts.near or {}, opts.far or {}
  local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair(next(far) and far or near)
  local _ <close> = peer_writer
  fn(reader, writer, peer_reader, peer_writer)
  writer:abort()
  peer_writer:abort()
end

function t.finish() end

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
for _, subject in ipairs { "reader", "writer" } do dofile(("%s/%s_spec.lua"):format(here, subject)) end
for class, name in pairs(of_addresses) do _G[class][name] = nil end
peers.pair, t.finish = connected, finish

-- What only a pair has

local function paired(fn, opts)
  t.run(function(reports)
    local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair(opts)
    local _ <close> = peer_writer
    fn(reader, writer, peer_reader, peer_writer, reports)
  end)
end

local function unread(reader) return tonumber(tostring(reader):match "(%d+) bytes unread") end
local function unsent(writer) return tonumber(tostring(writer):match "(%d+) bytes not sent") end

TestPair = {}

function TestPair:test_what_goes_in_at_one_end_comes_out_at_the_other()
  paired(function(reader, writer, peer_reader, peer_writer)
    writer:send "there"
    peer_writer:send "back"
    t.assertEquals({ peer_reader:read(100), reader:read(100) }, { "there", "back" })
  end)
end

function TestPair:test_what_a_turn_writes_arrives_at_its_end_together()
  paired(function(_, writer, peer_reader)
    writer:write "one,"
    writer:send("two,", "three")
    t.assertEquals(unread(peer_reader), 0)
    asyncio.sleep(0)
    t.assertEquals(peer_reader:read(100), "one,two,three")
  end)
end

function TestPair:test_serves_a_handler_that_was_written_for_a_server()
  local function handler(reader, writer)
    while true do
      local ok, line = pcall(function()
        local _ <close> = asyncio.timeout(300)
        return reader:readline()
      end)
      if not ok then return writer:send "bye\n" end
      if not line then return end
      writer:send(line:upper())
    end
  end
  paired(function(reader, writer, peer_reader, peer_writer)
    local loop = asyncio.get_running_loop()
    local served = asyncio.create_task(function()
      local _ <close> = peer_writer
      handler(peer_reader, peer_writer)
    end)
    writer:send "hello\n"
    t.assertEquals(reader:readline(), "HELLO\n")
    t.assertEquals({ reader:readline(), reader:readline() }, { "bye\n" })
    t.assertEquals(loop:time() // 1, 300)
    asyncio.await(served)
  end)
end

function TestPair:test_has_no_addresses()
  paired(function(_, writer)
    t.assertNil(writer:get_extra_info "peername")
    t.assertEquals(writer:get_extra_info("sockname", "none"), "none")
    t.assertNil(writer:get_extra_info "socket")
    t.assertTrue(writer:can_write_eof())
  end)
end

function TestPair:test_needs_a_loop_but_no_task()
  t.assert_raises(asyncio.Error, asyncio.stream_pair)
  t.run(function()
    local made = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_soon(function()
      local reader, writer, _, peer_writer = asyncio.stream_pair()
      peer_writer:write "from a callback"
      peer_writer:close()
      made:set_result(reader, writer)
    end)
    local reader, _ <close> = asyncio.await(made)
    t.assertEquals(reader:read(), "from a callback")
  end)
end

function TestPair:test_belongs_to_its_loop()
  local reader, writer, peer_writer, _
  local runner <close> = asyncio.Runner()
  runner:run(function() reader, writer, _, peer_writer = asyncio.stream_pair() end)
  t.run(function() t.assertErrorMsgContains("belongs to another event loop", reader.read, reader) end)
  runner:run(function()
    writer:close()
    peer_writer:close()
  end)
end

TestBackPressure = {}

function TestBackPressure:test_drain_waits_until_the_other_end_has_read()
  paired(function(_, writer, peer_reader)
    writer:set_write_buffer_limits { high = 100, low = 50 }
    local sender = asyncio.create_task(writer.send, writer, ("x"):rep(1000))
    t.until_blocked()
    t.assertEquals({ unread(peer_reader), unsent(writer), sender:done() }, { 201, 799, false })
    t.assertEquals(#peer_reader:readexactly(900), 900)
    t.until_blocked()
    t.assertTrue(sender:done())
    t.assertEquals(#peer_reader:readexactly(100), 100)
  end, { limit = 100 })
end

function TestBackPressure:test_more_than_the_limit_comes_while_it_is_wanted()
  paired(function(_, writer, peer_reader)
    local text = peers.text(3000000)
    writer:write(text)
    writer:write_eof()
    t.assertTrue(peer_reader:readexactly(1000000) == text:sub(1, 1000000))
    t.assertTrue(peer_reader:read() == text:sub(1000001))
  end, { limit = 10 })
end

function TestBackPressure:test_more_than_the_limit_comes_after_a_read_that_was_cancelled()
  paired(function(_, writer, peer_reader)
    writer:write(("x"):rep(500))
    local reading = asyncio.create_task(peer_reader.readexactly, peer_reader, 1000)
    t.until_blocked()
    reading:cancel()
    asyncio.wait { reading }
    writer:write(("x"):rep(500))
    asyncio.sleep(0)
    t.assertEquals(#peer_reader:readexactly(1000), 1000)
  end, { limit = 10 })
end

function TestBackPressure:test_pieces_small_and_large_arrive_in_their_order()
  paired(function(_, writer, peer_reader)
    local sent, got = {}, {}
    local sender = asyncio.create_task(function()
      for i = 1, 2000 do
        sent[i] = peers.text(i % 7 == 0 and i * 3 or i % 11 * 17, i)
        writer:write(sent[i])
        if i % 13 == 0 then writer:drain() end
      end
      writer:write_eof()
    end)
    for n = 1, math.huge do
      local piece = peer_reader:read(n % 997 + 1)
      if not piece then break end
      got[n] = piece
      if n % 10 == 0 then asyncio.sleep(0) end
    end
    asyncio.await(sender)
    t.assertTrue(table.concat(got) == table.concat(sent))
  end, { limit = 700 })
end

function TestBackPressure:test_what_has_gone_is_not_kept_while_some_is_always_left()
  paired(function(_, writer, peer_reader)
    local n = t.count(2000)
    asyncio.create_task(function()
      for i = 1, n do writer:send(("x"):rep(65536 + i), "small") end
      writer:close()
    end)
    local most = 0
    for i = 1, math.huge do
      local piece = peer_reader:read(10000)
      if not piece then break end
      if i % 1000 == 0 then
        collectgarbage()
        most = math.max(most, collectgarbage "count")
      end
    end
    t.assertTrue(most < 30000, most)
  end)
end

function TestBackPressure:test_an_end_that_closes_takes_what_it_is_still_sent()
  paired(function(_, writer, peer_reader, peer_writer)
    local text = ("x"):rep(1000000)
    peer_writer:write(text)
    peer_writer:close() -- and waits until `writer` has read, who doesn't before it has written
    writer:send(text)
    t.assertNil(peer_reader:read(1))
  end)
end

TestLimits = {}

function TestLimits:test_a_read_that_gets_no_byte_is_told_so()
  paired(function(reader, writer, _, peer_writer)
    local loop = asyncio.get_running_loop()
    asyncio.create_task(function()
      for _ = 1, 5 do
        peer_writer:send "x"
        asyncio.sleep(9)
      end
    end)
    local err = t.assert_raises(asyncio.TimeoutError, reader.readexactly, reader, 100)
    t.assertStrContains(err.message, "no byte came from stream_pair for 10 s")
    t.assertEquals(err.phase, "read")
    t.assertTrue(loop:time() >= 46 and loop:time() <= 47.1, loop:time())
    peer_writer:write "as before"
    t.assertEquals(reader:readexactly(14), "xxxxxas before")
    writer:send "and on"
  end, { read_timeout = 10 })
end

function TestLimits:test_a_write_of_which_no_byte_is_taken_is_told_so()
  paired(function(_, writer, peer_reader)
    local loop, text = asyncio.get_running_loop(), ("x"):rep(1000)
    asyncio.create_task(function()
      for _ = 1, 5 do
        peer_reader:read(20)
        asyncio.sleep(50)
      end
    end)
    writer:set_write_buffer_limits { high = 10 }
    local err = t.assert_raises(asyncio.TimeoutError, writer.send, writer, text)
    t.assertStrContains(err.message, "no byte was taken by stream_pair for 60 s")
    t.assertTrue(loop:time() >= 260 and loop:time() <= 266, loop:time())
    t.assertEquals(#peer_reader:readexactly(900), 900)
    writer:drain()
  end, { write_timeout = 60, limit = 10 })
end

TestEnds = {}

function TestEnds:test_one_direction_ends_by_itself()
  paired(function(reader, writer, peer_reader, peer_writer)
    writer:write "a question"
    writer:write_eof()
    t.assertEquals(peer_reader:read(), "a question")
    t.assertTrue(peer_reader:at_eof())
    peer_writer:send "an answer"
    t.assertEquals(reader:read(100), "an answer")
    t.assert_raises(asyncio.ClosedError, writer.write, writer, "more")
  end)
end

function TestEnds:test_an_end_comes_after_all_that_was_written_before_it()
  paired(function(_, writer, peer_reader)
    writer:write(("x"):rep(1000))
    writer:write_eof()
    t.until_blocked()
    t.assertFalse(peer_reader:at_eof())
    local n = 0
    while not peer_reader:at_eof() do n = n + #(peer_reader:read(7) or "") end
    t.assertEquals(n, 1000)
  end, { limit = 20 })
end

function TestEnds:test_close_sends_what_is_written()
  paired(function(_, writer, peer_reader)
    writer:write(("x"):rep(1000))
    writer:close()
    t.assertTrue(writer:is_closing())
    local closed = asyncio.create_task(writer.wait_closed, writer)
    t.until_blocked()
    t.assertFalse(closed:done())
    t.assertEquals(#peer_reader:read(), 1000)
    asyncio.await(closed)
  end, { limit = 20 })
end

function TestEnds:test_a_peer_that_reads_nothing_is_given_up_after_thirty_seconds()
  paired(function(_, writer, peer_reader)
    do
      local scope <close> = writer
      scope:write(("x"):rep(1000))
    end
    t.assertEquals(asyncio.get_running_loop():time() // 1, 30)
    t.assertEquals(#peer_reader:readexactly(41), 41)
    t.assert_raises(asyncio.ConnectionResetError, peer_reader.read, peer_reader, 1)
  end, { limit = 20 })
end

function TestEnds:test_a_close_that_is_cancelled_looks_like_a_reset()
  paired(function(_, writer, peer_reader)
    local task = asyncio.create_task(function()
      local _ <close> = writer
      writer:write(("x"):rep(1000))
    end)
    t.until_blocked()
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(#peer_reader:readexactly(41), 41)
    t.assert_raises(asyncio.ConnectionResetError, peer_reader.readline, peer_reader)
  end, { limit = 20 })
end

function TestEnds:test_writing_to_an_end_that_has_closed_raises_once_that_is_known()
  paired(function(reader, writer, _, peer_writer)
    peer_writer:close()
    writer:send "lost" -- as on TCP
    t.assertNil(reader:read(1))
    asyncio.sleep(0)
    local err = t.assert_raises(asyncio.BrokenPipeError, writer.write, writer, "x")
    t.assertStrContains(tostring(err), "stream_pair")
    t.assert_raises(asyncio.BrokenPipeError, writer.drain, writer)
  end)
end

function TestEnds:test_a_drain_that_waits_ends_when_the_other_end_closes()
  for how, class in pairs { close = asyncio.BrokenPipeError, abort = asyncio.ConnectionResetError } do
    paired(function(_, writer, _, peer_writer)
      local sender = asyncio.create_task(writer.send, writer, ("x"):rep(1000000))
      t.until_blocked()
      peer_writer[how](peer_writer)
      t.assert_raises(class, asyncio.await, sender)
      t.assertEquals(unsent(writer), 0)
    end)
  end
end

function TestEnds:test_abort_breaks_the_connection()
  paired(function(reader, writer, _, peer_writer)
    peer_writer:send "some"
    asyncio.sleep(0)
    peer_writer:write "never sent"
    peer_writer:abort()
    t.assertEquals(reader:readexactly(4), "some")
    t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 1)
    t.assert_raises(asyncio.ConnectionResetError, writer.write, writer, "x")
    peer_writer:wait_closed()
    writer:close()
    writer:wait_closed()
  end)
end

function TestEnds:test_abort_wakes_who_reads()
  paired(function(reader, _, _, peer_writer)
    local task = asyncio.create_task(reader.readline, reader)
    t.until_blocked()
    peer_writer:abort()
    t.assert_raises(asyncio.ConnectionResetError, asyncio.await, task)
  end)
end

function TestEnds:test_abort_after_the_end_was_told_leaves_that_end()
  paired(function(reader, writer, _, peer_writer)
    peer_writer:write_eof()
    asyncio.sleep(0)
    peer_writer:abort()
    t.assertNil(reader:read(1))
    writer:write "x"
    asyncio.sleep(0)
    t.assert_raises(asyncio.BrokenPipeError, writer.write, writer, "x")
  end)
end

function TestEnds:test_may_close_in_any_order_with_anything_under_way()
  local acts = {
    function(writer) writer:close() end, function(writer) writer:abort() end,
    function(writer) writer:write_eof() end, function(writer) writer:write(("x"):rep(1000)) end,
  }
  for i = 0, 4 ^ 4 - 1 do
    paired(function(_, writer, _, peer_writer)
      local n = i
      for k = 1, 4 do
        pcall(acts[n % #acts + 1], k % 2 == 0 and writer or peer_writer)
        n = n // #acts
        if k == 2 and i % 3 == 0 then asyncio.sleep(0) end
      end
      writer:abort()
      peer_writer:abort()
    end, { limit = 20 })
  end
end

TestForgotten = {}

--- What is warned of while fn runs; a warning isn't an error.
local function warnings_of(fn)
  local out, errors, code = t.lua(("local asyncio = require 'asyncio'\nwarn '@on'\n%s"):format(fn))
  t.assertEquals(code, 0, errors)
  return out, errors
end

function TestForgotten:test_an_end_that_is_dropped_ends_the_other_and_is_warned_of()
  local out, errors = warnings_of [[
    asyncio.run(function()
      local reader, writer <close>, other_reader, other_writer = asyncio.stream_pair()
      other_writer:write "last words"
      other_reader, other_writer = nil, nil
      collectgarbage()
      print(reader:read(), other_reader, other_writer)
    end)]]
  t.assertEquals(out, "last words\tnil\tnil\n")
  t.assertStrContains(errors, "a stream of a stream_pair was not closed before it was collected")
  t.assertEquals(select(2, errors:gsub("not closed", "")), 1)
end

function TestForgotten:test_both_ends_are_freed_with_what_is_under_way()
  local out, errors = warnings_of [[
    asyncio.run(function()
      local before
      for i = 1, 300 do
        do
          local _, writer, _, other = asyncio.stream_pair()
          writer:write(("x"):rep(100000 + i))
          asyncio.sleep(0)
          other:write(("y"):rep(100000 + i))
        end
        local _, _, _, _ -- over what is still on the stack
        if i % 50 == 0 then
          collectgarbage() collectgarbage()
          asyncio.sleep(0) asyncio.sleep(0)
          collectgarbage()
          before = before or collectgarbage "count"
        end
      end
      print(collectgarbage "count" < before + 500)
    end)]]
  t.assertEquals(out, "true\n")
  t.assertEquals(select(2, errors:gsub("not closed", "")), 600)
end

function TestForgotten:test_debug_mode_tells_where_one_was_opened()
  local out, errors = warnings_of [[
    local runner = asyncio.Runner { debug = true }
    runner:run(function() KEPT = { asyncio.stream_pair() } end)
    runner:close()
    print(pcall(KEPT[2].write, KEPT[2], "x"))]]
  t.assertStrMatches(out, "false\t.*the stream is closed, as its event loop is\n")
  t.assertEquals(select(2, errors:gsub("a stream of a stream_pair was not closed\nopened at:\n", "")), 2)
end

--- What the peer has done before is an end still: write_eof, close.
function TestForgotten:test_only_an_end_of_the_peer_s_is_one_after_the_loop()
  for how, outcome in pairs { write_eof = "kept true nil", close = "kept true nil", none = "kept false ClosedError" } do
    local reader, keep
    asyncio.run(function()
      local writer
      keep = { asyncio.stream_pair() }
      reader, writer = keep[1], keep[4]
      writer:send "kept"
      if how ~= "none" then writer[how](writer) end
      asyncio.sleep(0)
    end)
    local kept, ok, last = reader:read(100), pcall(reader.read, reader, 1)
    t.assertStrContains(("%s %s %s"):format(kept, ok, last), outcome)
  end
end

function TestForgotten:test_the_loop_may_end_under_them()
  local out, errors = warnings_of [[
    local reader, writer
    asyncio.run(function()
      local other_writer
      reader, writer, _, other_writer = asyncio.stream_pair()
      other_writer:write(("x"):rep(500000))
      asyncio.sleep(0)
      writer:write "never read"
      KEPT = other_writer
    end)
    print(#reader:read(10), writer, KEPT)
    asyncio.run(function()
      local n = 10
      print(select(2, pcall(function()
        for piece in function() return reader:read(1000) end do n = n + #piece end
      end)))
      print(n)
    end)
    reader, writer, KEPT = nil, nil, nil
    collectgarbage()]]
  t.assertStrMatches(out, "10\tasyncio.StreamWriter: closed, 0 bytes not sent %(.-%)\t" ..
    "asyncio.StreamWriter: closed, .- bytes not sent %(.-%)\n" ..
    "ClosedError: the stream is closed, as its event loop is\n131073\n")
  t.assertEquals(errors, "")
end

TestSeen = {}

function TestSeen:test_what_is_left_open_is_an_open_handle_of_the_test()
  local kept
  local err = t.error_of(testing.async(function() kept = { asyncio.stream_pair() } end))
  t.assertEquals(#kept, 4)
  t.assertStrMatches(err, ".*the test left 2 open handles:\n  a stream of a stream_pair, opened at .*pair_spec.lua.*")
  testing.async(function()
    local _, writer, _, peer_writer = asyncio.stream_pair()
    writer:close()
    peer_writer:abort()
  end)()
end

function TestSeen:test_a_deadlock_names_it()
  local err = t.error_of(testing.async(function()
    local reader, writer <close>, _, peer_writer = asyncio.stream_pair()
    local _, _ <close> = writer, peer_writer
    reader:readline()
  end, { clock = "virtual" }))
  t.assertStrMatches(err, ".*deadlock.*Task 'test' waits %(readline, stream_pair%).*")
end

function TestSeen:test_every_task_is_blocked_only_when_all_has_arrived()
  paired(function(reader, writer, peer_reader, peer_writer)
    asyncio.create_task(function()
      for line in peer_reader:lines() do peer_writer:send(line, "\n") end
    end)
    writer:write(("line\n"):rep(1000))
    local echoed = asyncio.create_task(reader.readexactly, reader, 5000)
    t.until_blocked()
    t.assertTrue(echoed:done())
    writer:write_eof()
  end, { limit = 64 })
end

function TestSeen:test_its_waits_are_told()
  paired(function(reader, writer)
    local reading = asyncio.create_task(reader.readexactly, reader, 10)
    local sending = asyncio.create_task(writer.send, writer, ("x"):rep(1 << 20))
    t.until_blocked()
    t.assertStrContains(tostring(reading), "readexactly, stream_pair")
    t.assertStrContains(tostring(sending), "drain, stream_pair")
    reading:cancel()
    sending:cancel()
    asyncio.wait { reading, sending }
    writer:abort()
  end)
end

t.finish { sampled = true }
