-- copy_spec.lua - asyncio.copy: what one stream gives goes to another, whole and in order, and no faster than that
-- one's peer takes it.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local start = asyncio.create_task

--- fn(reader, writer, source, sink): what the writer `source` sends comes at reader, what is written to writer at the
-- reader `sink`.
local function between(fn, opts)
  return t.real(function()
    peers.pair(function(reader, _, _, source)
      peers.pair(function(_, writer, sink) fn(reader, writer, source, sink) end)
    end, opts)
  end)
end

local function read_all(reader)
  return start(function() return reader:read() end)
end

--- Sends it all, and the end.
local function send_all(source, text)
  return start(function()
    for at = 1, #text, 50000 do source:send(text:sub(at, at + 49999)) end
    source:write_eof()
  end)
end

TestCopy = {}

function TestCopy:test_moves_all_up_to_the_end_and_says_how_much()
  between(function(reader, writer, source, sink)
    source:write "hello"
    source:write_eof()
    t.assertEquals(asyncio.copy(reader, writer), 5)
    t.assertEquals(sink:read(100), "hello")
    t.assertTrue(reader:at_eof())
  end)
end

function TestCopy:test_neither_ends_nor_closes_the_writer()
  between(function(reader, writer, source, sink)
    source:write "one "
    source:write_eof()
    asyncio.copy(reader, writer)
    writer:send "two"
    t.assertEquals(sink:readexactly(7), "one two")
    t.assertFalse(writer:is_closing())
  end)
end

function TestCopy:test_of_an_empty_stream_is_nothing()
  between(function(reader, writer, source)
    source:write_eof()
    t.assertEquals(asyncio.copy(reader, writer), 0)
    t.assertEquals(asyncio.copy(reader, writer), 0)
  end)
end

function TestCopy:test_of_much_is_whole_and_in_order()
  between(function(reader, writer, source, sink)
    local text = peers.text(t.count(5000000))
    local got = read_all(sink)
    send_all(source, text)
    t.assertEquals(asyncio.copy(reader, writer), #text)
    writer:write_eof()
    t.assertTrue(asyncio.await(got) == text)
  end)
end

function TestCopy:test_begins_with_what_lies_unread()
  between(function(reader, writer, source, sink)
    source:write "line\nthe rest"
    source:write_eof()
    t.assertEquals(reader:readline(), "line\n")
    t.assertEquals(asyncio.copy(reader, writer), 8)
    t.assertEquals(sink:readexactly(8), "the rest")
  end)
end

function TestCopy:test_goes_behind_what_was_written_before()
  between(function(reader, writer, source, sink)
    local large = ("x"):rep(3000)
    source:write "copied"
    source:write_eof()
    t.until_blocked()
    writer:write("small ", large)
    asyncio.copy(reader, writer)
    writer:write " last"
    t.assertEquals(sink:readexactly(6 + 3000 + 6 + 5), "small " .. large .. "copied last")
  end)
end

function TestCopy:test_passes_on_what_comes_without_waiting_for_more()
  between(function(reader, writer, source, sink)
    local task = start(asyncio.copy, reader, writer)
    for i = 1, 5 do
      source:write("piece ", i)
      t.assertEquals(sink:readexactly(7), "piece " .. i)
    end
    source:write_eof()
    t.assertEquals(asyncio.await(task), 35)
  end)
end

function TestCopy:test_into_its_own_connection_is_an_echo()
  t.real(function()
    peers.pair(function(reader, writer, peer, peer_writer)
      local text = peers.text(t.count(1000000))
      local got, echo = read_all(peer), start(asyncio.copy, reader, writer)
      send_all(peer_writer, text)
      t.assertEquals(asyncio.await(echo), #text)
      writer:write_eof()
      t.assertTrue(asyncio.await(got) == text)
    end)
  end)
end

function TestCopy:test_of_two_into_one_writer_loses_nothing()
  between(function(reader, writer, source, sink)
    peers.pair(function(reader2, _, _, source2)
      local got = read_all(sink)
      local first, second = start(asyncio.copy, reader, writer), start(asyncio.copy, reader2, writer)
      send_all(source, ("a"):rep(300000))
      send_all(source2, ("b"):rep(300000))
      t.assertEquals({ asyncio.await(first), asyncio.await(second) }, { 300000, 300000 })
      writer:write_eof()
      local _, bs = asyncio.await(got):gsub("b", "")
      t.assertEquals({ #asyncio.await(got), bs }, { 600000, 300000 })
    end)
  end)
end

function TestCopy:test_gives_its_turn_to_others()
  between(function(reader, writer, source, sink)
    local turns, over = 0, false
    local got = read_all(sink)
    send_all(source, ("x"):rep(2000000))
    local ticker = start(function()
      while not over do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    asyncio.copy(reader, writer)
    over = true
    asyncio.await(ticker)
    writer:write_eof()
    asyncio.await(got)
    t.assertTrue(turns >= 10, turns)
  end)
end

function TestCopy:test_that_need_not_wait_gives_way_now_and_then()
  between(function(reader, writer, source)
    source:write(("x"):rep(10000))
    t.until_blocked()
    local turned = false
    start(function() turned = true end)
    for _ = 1, 1000 do asyncio.copy(reader, writer, { max_bytes = 1 }) end
    t.assertTrue(turned)
  end)
end

TestMaxBytes = {}

function TestMaxBytes:test_leaves_what_comes_behind_them()
  between(function(reader, writer, source, sink)
    source:write "headbody"
    t.assertEquals(asyncio.copy(reader, writer, { max_bytes = 4 }), 4)
    t.assertEquals(sink:read(100), "head")
    t.assertEquals(reader:read(100), "body")
  end)
end

function TestMaxBytes:test_of_more_than_there_is_ends_at_the_end()
  between(function(reader, writer, source)
    source:write "some"
    source:write_eof()
    t.assertEquals(asyncio.copy(reader, writer, { max_bytes = 1 << 62 }), 4)
  end)
end

function TestMaxBytes:test_of_none_moves_none_and_waits_for_nothing()
  between(function(reader, writer, source, sink)
    source:write "some"
    t.until_blocked()
    t.assertEquals(asyncio.copy(reader, writer, { max_bytes = 0 }), 0)
    t.assertEquals(reader:read(100), "some")
    writer:write "other"
    t.assertEquals(sink:read(100), "other")
  end)
end

function TestMaxBytes:test_of_many_pieces_in_a_row_are_whole()
  between(function(reader, writer, source, sink)
    local text, i, total = peers.text(300000), 0, 0
    local got = read_all(sink)
    send_all(source, text)
    local sizes = { 1, 1000, 1025, 70000, 8192, 3 }
    repeat
      i = i + 1
      local n = asyncio.copy(reader, writer, { max_bytes = sizes[i % #sizes + 1] })
      total = total + n
    until n == 0
    t.assertEquals(total, #text)
    writer:write_eof()
    t.assertTrue(asyncio.await(got) == text)
  end)
end

TestPressure = {}

--- Lets a copy run against a sink that takes nothing, until it waits for that; fn(task, reader, writer, source, sink,
-- text, sender).
local function stalled(fn)
  between(function(reader, writer, source, sink, ...)
    local text = peers.text(30000000)
    local sender = send_all(source, text)
    local task = start { asyncio.copy, reader, writer, name = "copier" }
    t.wait_until(function() return tostring(task):find "copy, drain" end)
    fn(task, reader, writer, source, sink, text, sender, ...)
  end, { far = { limit = 1000 } })
end

function TestPressure:test_takes_no_more_than_the_peer_keeps_up_with()
  stalled(function(task, _, writer, _, _, _, sender)
    for _ = 1, 20 do asyncio.sleep(0.001) end
    t.assertTrue(writer:pending() <= 65536 + 131072, writer:pending())
    t.assertFalse(sender:done())
    task:cancel()
    sender:cancel()
    asyncio.wait { task, sender }
  end)
end

function TestPressure:test_goes_on_when_the_peer_has_taken_some()
  stalled(function(task, _, writer, _, sink, text)
    local got = read_all(sink)
    t.assertEquals(asyncio.await(task), #text)
    writer:write_eof()
    t.assertTrue(asyncio.await(got) == text)
  end)
end

function TestPressure:test_leaves_the_stream_to_nobody_else_meanwhile()
  stalled(function(task, reader, _, _, _, _, sender)
    local err = t.assert_raises(asyncio.BusyError, reader.read, reader, 1)
    t.assertStrContains(tostring(err), "'copier'")
    task:cancel()
    sender:cancel()
    asyncio.wait { task, sender }
  end)
end

function TestPressure:test_cancelled_then_has_lost_nothing()
  stalled(function(task, reader, writer, _, sink, text)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    local got, rest = read_all(sink), start(function()
      local copied = asyncio.copy(reader, writer)
      writer:write_eof()
      return copied
    end)
    t.assertTrue(asyncio.await(got) == text)
    t.assertTrue(asyncio.await(rest) < #text)
  end)
end

function TestPressure:test_ends_with_an_error_when_the_writer_is_aborted()
  stalled(function(task, _, writer, _, _, _, sender)
    writer:abort()
    t.assert_raises(asyncio.ClosedError, asyncio.await, task)
    sender:cancel()
    asyncio.wait { sender }
  end)
end

function TestPressure:test_ends_with_the_error_of_a_peer_that_is_gone()
  t.real(function()
    peers.pair(function(reader, _, _, source)
      peers.bare(function(_, writer, peer)
        local sender = send_all(source, ("x"):rep(30000000))
        local task = start(asyncio.copy, reader, writer)
        t.wait_until(function() return tostring(task):find "copy, drain" end)
        peers.reset(peer)
        t.assert_raises(asyncio.ConnectionError, asyncio.await, task)
        sender:cancel()
        asyncio.wait { sender }
      end)
    end)
  end)
end

TestClaims = {}

function TestClaims:test_a_copy_is_the_readers_reader()
  between(function(reader, writer, source, sink)
    local task = start { asyncio.copy, reader, writer, name = "copier" }
    asyncio.sleep(0)
    local err = t.assert_raises(asyncio.BusyError, reader.read, reader, 1)
    t.assertStrContains(tostring(err), "'copier'")
    t.assert_raises(asyncio.BusyError, asyncio.copy, reader, writer)
    source:write "x"
    t.assertEquals(sink:read(1), "x")
    task:cancel()
    asyncio.wait { task }
  end)
end

function TestClaims:test_a_copy_of_what_another_reads_is_refused()
  between(function(reader, writer)
    local task = start { reader.read, reader, 1, name = "first" }
    asyncio.sleep(0)
    local err = t.assert_raises(asyncio.BusyError, asyncio.copy, reader, writer)
    t.assertStrContains(tostring(err), "'first'")
    task:cancel()
    asyncio.wait { task }
  end)
end

function TestClaims:test_cancelled_while_it_waits_leaves_both_usable()
  between(function(reader, writer, source, sink)
    local task = start(asyncio.copy, reader, writer)
    source:write "one"
    t.assertEquals(sink:read(10), "one")
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    source:write "two"
    t.assertEquals(reader:read(10), "two")
    writer:write "three"
    t.assertEquals(sink:read(10), "three")
  end)
end

function TestClaims:test_cancelled_before_it_begins_takes_nothing()
  between(function(reader, writer, source)
    source:write "one"
    t.until_blocked()
    local task = start(asyncio.copy, reader, writer)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(reader:read(10), "one")
  end)
end

function TestClaims:test_says_in_the_call_graph_what_it_copies()
  between(function(reader, writer)
    local task = start { asyncio.copy, reader, writer, name = "copier" }
    asyncio.sleep(0)
    t.assertStrMatches(asyncio.format_call_graph(task),
      "Task 'copier' waits %(copy, 127%.0%.0%.1:%d+ to 127%.0%.0%.1:%d+%).*")
    task:cancel()
    asyncio.wait { task }
  end)
end

TestErrors = {}

function TestErrors:test_of_the_reader_come_after_what_it_had()
  t.real(function()
    peers.bare(function(reader, _, peer)
      peers.pair(function(_, writer, sink)
        assert(peer:send "what came")
        local task = start(asyncio.copy, reader, writer)
        t.assertEquals(sink:readexactly(9), "what came")
        peers.reset(peer)
        t.assert_raises(asyncio.ConnectionResetError, asyncio.await, task)
        writer:write " before"
        t.assertEquals(sink:readexactly(7), " before")
      end)
    end)
  end)
end

function TestErrors:test_of_a_writer_whose_peer_is_gone()
  t.real(function()
    peers.pair(function(reader, _, _, source)
      peers.bare(function(_, writer, peer)
        local task = start(asyncio.copy, reader, writer)
        peers.reset(peer)
        while not task:done() do
          source:write(("x"):rep(1000))
          asyncio.sleep(0.001)
        end
        t.assert_raises(asyncio.ConnectionError, asyncio.await, task)
        t.assertEquals(#reader:read(100), 100) -- it is still whole
      end)
    end)
  end)
end

function TestErrors:test_of_a_closed_writer_leaves_what_has_come()
  between(function(reader, writer, source)
    source:write "some"
    t.until_blocked()
    writer:close()
    t.assert_raises(asyncio.ClosedError, asyncio.copy, reader, writer)
    t.assertEquals(reader:read(10), "some")
  end)
end

function TestErrors:test_of_a_writer_that_has_ended_come_before_anything_does()
  between(function(reader, writer, source)
    writer:write_eof()
    t.assert_raises(asyncio.ClosedError, asyncio.copy, reader, writer)
    source:write "some"
    t.assertEquals(reader:read(10), "some")
  end)
end

function TestErrors:test_there_are_none_of_a_closed_reader_whose_end_it_is()
  t.real(function()
    peers.pair(function(reader, closing)
      peers.pair(function(_, writer)
        local task = start(asyncio.copy, reader, writer)
        asyncio.sleep(0)
        closing:close()
        t.assertEquals(asyncio.await(task), 0)
        t.assertEquals(asyncio.copy(reader, writer), 0)
      end)
    end)
  end)
end

function TestErrors:test_of_its_own_connection_let_a_handler_end_quietly()
  t.real(function()
    local server <close> = peers.serve(asyncio.copy)
    local socket = peers.luasocket()
    local peer = assert(socket.connect("127.0.0.1", peers.port(server)))
    assert(peer:send "x")
    asyncio.wait_readable(peer)
    peers.reset(peer)
    t.wait_until(function() return server:stats().connections == 0 end)
    t.assertEquals({ server:stats().failed, server:stats().reset }, { 0, 1 })
  end)
end

TestArguments = {}

function TestArguments:test_name_what_is_wrong()
  between(function(reader, writer)
    for _, case in ipairs {
      { { writer, reader }, "#1 to '[%w.]*copy' %(asyncio.StreamReader expected, got asyncio.StreamWriter" },
      { { reader, reader }, "#2 to '[%w.]*copy' %(asyncio.StreamWriter expected, got asyncio.StreamReader" },
      { { reader }, "#2 to '[%w.]*copy' %(asyncio.StreamWriter expected, got no value" },
      { { reader, writer, 5 }, "#3 to '[%w.]*copy'" },
      { { reader, writer, { max_byte = 1 } }, "max_byte.*max_bytes" },
      { { reader, writer, { max_bytes = -1 } }, "max_bytes" },
      { { reader, writer, { max_bytes = "1" } }, "max_bytes" },
    } do
      local err = t.error_of(asyncio.copy, table.unpack(case[1]))
      t.assertStrMatches(tostring(err), ".*" .. case[2] .. ".*")
    end
  end)
end

function TestArguments:test_outside_of_a_task_it_cannot_wait()
  between(function(reader, writer, source)
    source:write_eof()
    t.until_blocked()
    local future = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_soon(function() future:set_result(pcall(asyncio.copy, reader, writer)) end)
    local ok, err = asyncio.await(future)
    t.assertFalse(ok)
    t.assertStrContains(tostring(err), "cannot wait")
  end)
end

function TestArguments:test_streams_of_a_closed_loop_are_closed()
  local reader, writer
  asyncio.run(function()
    peers.pair(function(r, w) reader, writer = r, w end)
  end)
  t.real(function()
    t.assertEquals(asyncio.copy(reader, writer), 0)
    peers.pair(function(r) t.assert_raises(asyncio.ClosedError, asyncio.copy, r, writer) end)
  end)
end

TestInMemory = {}

function TestInMemory:test_a_pair_is_copied_on_the_virtual_clock()
  t.run(function()
    local source_reader, source, reader, reader_writer = asyncio.stream_pair { limit = 1000 }
    local writer_reader, writer, sink, sink_writer = asyncio.stream_pair { limit = 1000 }
    local text = peers.text(500000)
    local got, task = read_all(sink), start(asyncio.copy, reader, writer)
    start(function()
      for at = 1, #text, 50000 do
        source:send(text:sub(at, at + 49999))
        asyncio.sleep(1)
      end
      source:write_eof()
    end)
    t.assertEquals(asyncio.await(task), #text)
    writer:write_eof()
    t.assertTrue(asyncio.await(got) == text)
    for _, each in ipairs { source, reader_writer, writer, sink_writer } do each:close() end
    t.assertEquals({ source_reader:read(1), writer_reader:read(1) }, {})
  end)
end

function TestInMemory:test_a_pair_whose_other_end_takes_nothing_stops_the_copy_and_its_source()
  t.run(function()
    local _, source, reader, reader_writer = asyncio.stream_pair { limit = 1000 }
    local _, writer, sink, sink_writer = asyncio.stream_pair { limit = 1000 }
    writer:set_write_buffer_limits { high = 1000, low = 100 }
    source:set_write_buffer_limits { high = 1000, low = 100 }
    local task = start { asyncio.copy, reader, writer, name = "copier" }
    local sender = send_all(source, ("x"):rep(1000000))
    asyncio.sleep(1)
    t.assertStrContains(asyncio.format_call_graph(task), "(copy, drain, stream_pair to stream_pair)")
    t.assertFalse(sender:done())
    t.assertTrue(writer:pending() < 60000, writer:pending())
    local got = read_all(sink)
    asyncio.await(task)
    writer:write_eof()
    t.assertEquals(#asyncio.await(got), 1000000)
    for _, each in ipairs { source, reader_writer, writer, sink_writer } do each:close() end
  end)
end

function TestInMemory:test_a_fed_reader_is_copied_and_its_error_raised_at_the_end()
  t.run(function()
    local _, writer, sink, sink_writer = asyncio.stream_pair()
    local reader = asyncio.StreamReader()
    local task = start(asyncio.copy, reader, writer)
    asyncio.sleep(1)
    reader:feed "one "
    asyncio.sleep(1)
    reader:feed "two"
    reader:feed_eof { "the end" }
    t.assertEquals(t.error_of(asyncio.await, task), { "the end" })
    t.assertEquals(sink:read(100), "one two")
    writer:close()
    sink_writer:close()
  end)
end

function TestInMemory:test_a_socket_is_copied_into_a_pair()
  t.real(function()
    local _, writer, sink, sink_writer = asyncio.stream_pair()
    peers.pair(function(reader, _, _, source)
      local text = peers.text(300000)
      local got, task = read_all(sink), start(asyncio.copy, reader, writer)
      send_all(source, text)
      t.assertEquals(asyncio.await(task), #text)
      writer:write_eof()
      t.assertTrue(asyncio.await(got) == text)
    end)
    writer:close()
    sink_writer:close()
  end)
end

TestTurns = {}

local function await_turn(task)
  for _ = 1, 100 do
    if tostring(task):find("copy, give way", 1, true) then return end
    asyncio.sleep(0) -- the virtual clock stands while the copy goes on
  end
  error "it never gave way"
end

--- A stream that is its own input, with so many bytes in it; copied until it is cancelled. fn(task, reader).
local function round_about(bytes, fn)
  t.run(function()
    local reader, other, other_reader, writer = asyncio.stream_pair()
    writer:write(bytes)
    local task = start { asyncio.copy, reader, writer, name = "copier" }
    asyncio.sleep(0)
    fn(task, reader)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    writer:write_eof()
    t.assertEquals(reader:read(), bytes)
    for _, each in ipairs { other, writer } do each:close() end
    t.assertNil(other_reader:read(1))
  end)
end

-- It held the loop for ever: no deadline, no cancellation and no Ctrl-C came through.
function TestTurns:test_a_copy_of_a_stream_to_itself_gives_way_and_can_be_cancelled()
  for _, size in ipairs { 1, 100000 } do
    round_about(("x"):rep(size), function(task)
      for _ = 1, 100 do asyncio.sleep(0) end
      t.assertFalse(task:done())
    end)
  end
end

function TestTurns:test_its_time_is_up_like_any_other_s()
  t.real(function()
    local _, writer, reader, other = asyncio.stream_pair()
    writer:write "round and round"
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() asyncio.copy(reader, writer) end, 0.01)
    other:close()
    writer:close()
  end)
end

function TestTurns:test_who_has_given_way_is_still_the_reader()
  round_about("round and round", function(task, reader)
    local refused
    for _ = 1, 20 do
      refused = t.assert_raises(asyncio.BusyError, reader.read, reader, 1)
      asyncio.sleep(0)
    end
    t.assertStrContains(tostring(refused), "'copier'")
    await_turn(task)
  end)
end

function TestTurns:test_two_that_feed_each_other_give_way()
  t.run(function()
    local one_reader, one, other_reader, other = asyncio.stream_pair()
    one:write "to"
    other:write "fro"
    local tasks = { start(asyncio.copy, one_reader, one), start(asyncio.copy, other_reader, other) }
    for _ = 1, 100 do asyncio.sleep(0) end
    for _, task in ipairs(tasks) do
      t.assertFalse(task:done())
      task:cancel()
    end
    asyncio.wait(tasks)
    one:write_eof()
    other:write_eof()
    t.assertEquals(#one_reader:read() + #other_reader:read(), 5)
    one:close()
    other:close()
  end)
end

--- An end of its input while it stands in line for its turn.
function TestTurns:test_that_has_given_way_ends_with_its_stream()
  for _, how in ipairs { "close", "abort" } do
    t.run(function()
      local reader, other, _, writer = asyncio.stream_pair()
      writer:write "round and round"
      local task = start(asyncio.copy, reader, writer)
      await_turn(task)
      writer[how](writer)
      other:close()
      t.assert_raises(asyncio.ClosedError, asyncio.await, task)
    end)
  end
end

function TestTurns:test_the_loop_s_close_finds_one_that_has_given_way()
  local loop, task = asyncio.new_event_loop(), nil
  loop:run_until_complete(function()
    local reader, _, _, writer = asyncio.stream_pair()
    writer:write "round and round"
    task = start(asyncio.copy, reader, writer)
    await_turn(task)
  end)
  loop:close()
  collectgarbage()
  t.assertStrContains(tostring(task), "abandoned")
end

function TestTurns:test_many_bytes_that_lie_there_are_moved_over_several_turns()
  t.real(function()
    local reader = asyncio.StreamReader()
    reader:feed(("x"):rep(64 << 20))
    reader:feed_eof()
    local file = assert(io.tmpfile())
    local _, writer = asyncio.open_fd(file)
    local turns, task = 0, start(asyncio.copy, reader, writer)
    while not task:done() do
      turns = turns + 1
      asyncio.sleep(0)
    end
    t.assertEquals(asyncio.await(task), 64 << 20)
    t.assertTrue(turns > 5, turns)
    writer:close()
    writer:wait_closed()
    t.assertEquals(file:seek "end", 64 << 20)
    file:close()
  end)
end

TestOthers = {}

function TestOthers:test_unix_sockets_are_copied_likewise()
  t.real(function()
    local path = os.tmpname()
    os.remove(path)
    local _ <close> = asyncio.start_unix_server(asyncio.copy, path)
    local reader, writer <close> = asyncio.open_unix_connection(path)
    local text = peers.text(t.count(1000000))
    local got = read_all(reader)
    asyncio.await(send_all(writer, text))
    t.assertTrue(asyncio.await(got) == text)
  end)
end

local CAT = [[
local asyncio = require "asyncio"
io.stderr:write(asyncio.run(function() return asyncio.copy(asyncio.stdin(), asyncio.stdout()) end))
]]

--- cat, with its input and output in all combinations of a file and a pipe.
for name, shell in pairs {
  files = "%%s <%s >%s", from_a_pipe = "cat %s | %%s >%s", into_a_pipe = "%%s <%s | cat >%s",
  pipes = "cat %s | %%s | cat >%s",
} do
  TestOthers["test_standard_streams_that_are_" .. name] = function()
    local text = peers.text(t.count(3000000))
    local input <close> = peers.file(text)
    local output <close> = peers.file()
    local _, errors = peers.run_in_shell(CAT, shell:format(input.name, output.name))
    t.assertEquals(errors, tostring(#text))
    t.assertTrue(peers.content(output.name) == text)
  end
end

t.finish { sampled = true }
