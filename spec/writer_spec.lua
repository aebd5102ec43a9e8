-- writer_spec.lua - asyncio.StreamWriter: what is written arrives, in order, or an error says so.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function paired(fn, opts)
  return t.real(function() peers.pair(fn, opts) end)
end

local function bare(fn)
  return t.real(function() peers.bare(fn) end)
end

--- Fills the kernel's buffers towards a peer that doesn't read, so that `more` bytes stay with us.
local function stuff(writer, more)
  writer:set_write_buffer_limits { high = 1 << 40, low = 0 }
  local piece = ("x"):rep(1 << 20)
  local function pending() return tonumber(tostring(writer):match "(%d+) bytes not sent") end
  local total, still = 0, 0
  while pending() < more + #piece or still < 3 do -- what is pending goes no further down
    still = pending() >= more + #piece and still + 1 or 0
    if still == 0 then
      writer:write(piece)
      total = total + #piece
    end
    asyncio.sleep(0.001)
  end
  return total
end

TestWrite = {}

function TestWrite:test_sends_a_string()
  paired(function(_, writer, peer)
    writer:write "hello"
    t.assertEquals(peer:readexactly(5), "hello")
  end)
end

function TestWrite:test_sends_several_strings_in_order()
  paired(function(_, writer, peer)
    writer:write("one ", "", "two ", "three\n")
    writer:write "four\n"
    t.assertEquals(peer:readline(), "one two three\n")
    t.assertEquals(peer:readline(), "four\n")
  end)
end

function TestWrite:test_returns_nothing_and_writes_nothing_for_nothing()
  paired(function(_, writer, peer)
    t.assertEquals(select("#", writer:write()), 0)
    t.assertEquals(select("#", writer:write ""), 0)
    writer:write_eof()
    t.assertNil(peer:read(1))
  end)
end

function TestWrite:test_sends_numbers_as_lua_prints_them()
  paired(function(_, writer, peer)
    writer:write(42, " ", 1.5, "\n")
    t.assertEquals(peer:readline(), "42 1.5\n")
  end)
end

function TestWrite:test_keeps_every_byte()
  local all = {}
  for i = 0, 255 do all[#all + 1] = string.char(i) end
  local text = table.concat(all)
  paired(function(_, writer, peer)
    writer:write(text)
    t.assertEquals(peer:readexactly(256), text)
  end)
end

function TestWrite:test_refuses_what_is_no_string_and_has_written_nothing_then()
  paired(function(_, writer, peer)
    for _, wrong in ipairs { {}, true, print, coroutine.create(print) } do
      t.assertErrorMsgContains("string expected", writer.write, writer, "lost", wrong)
    end
    t.assertErrorMsgContains("string expected", writer.write, writer, "lost", nil)
    t.assertErrorMsgContains("StreamWriter", writer.write, {}, "x")
    writer:write "kept\n"
    t.assertEquals(peer:readline(), "kept\n")
  end)
end

function TestWrite:test_does_not_change_numbers_in_the_list_of_arguments()
  paired(function(_, writer, peer)
    local list = { 1, 2, "three\n" }
    writer:writelines(list)
    t.assertEquals(peer:readline(), "12three\n")
    t.assertEquals(math.type(list[1]), "integer")
  end)
end

TestWritelines = {}

function TestWritelines:test_sends_a_list_in_order()
  paired(function(_, writer, peer)
    writer:writelines { "one\n", "two\n", "" }
    writer:writelines {}
    t.assertEquals(peer:readline(), "one\n")
    t.assertEquals(peer:readline(), "two\n")
  end)
end

function TestWritelines:test_refuses_a_wrong_list_and_has_written_nothing_then()
  paired(function(_, writer, peer)
    t.assertErrorMsgContains("list of strings", writer.writelines, writer, { "lost", {} })
    t.assertErrorMsgContains("list of strings", writer.writelines, writer, { "lost", true, "lost" })
    t.assertErrorMsgContains("table expected", writer.writelines, writer, "lost")
    t.assertErrorMsgContains("table expected", writer.writelines, writer)
    writer:write "kept\n"
    t.assertEquals(peer:readline(), "kept\n")
  end)
end

TestLarge = {}

function TestLarge:test_a_string_of_fifty_megabytes_arrives_intact()
  local text = peers.text(t.count(50) * 1000000 + 7)
  paired(function(_, writer, peer)
    local task = asyncio.create_task(peer.readexactly, peer, #text)
    writer:write(text)
    writer:drain()
    t.assertTrue(asyncio.await(task) == text)
  end)
end

function TestLarge:test_strings_that_nobody_else_holds_arrive_intact()
  paired(function(_, writer, peer)
    local n = t.count(200)
    for i = 1, n do writer:write(("%08d"):format(i):rep(10000), ("%04d"):format(i)) end
    t.collect()
    for i = 1, n do
      local data = peer:readexactly(80004)
      if data ~= ("%08d"):format(i):rep(10000) .. ("%04d"):format(i) then t.fail("piece " .. i) end
      if i % 50 == 0 then t.collect() end
    end
  end)
end

function TestLarge:test_every_size_around_the_bounds_arrives_intact()
  local parts = {}
  for _, n in ipairs { 0, 1, 255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 65535, 65536, 65537 } do
    parts[#parts + 1] = peers.text(n, n)
  end
  local all = table.concat(parts)
  paired(function(_, writer, peer)
    writer:writelines(parts)
    t.assertTrue(peer:readexactly(#all) == all)
    for _, part in ipairs(parts) do
      writer:write(part)
      asyncio.sleep(0)
    end
    t.assertTrue(peer:readexactly(#all) == all)
  end)
end

--- Sizes from empty to large, the same ones each time.
local function sizes()
  local x = 7
  return function()
    x = (x * 1103515245 + 12345) & 0x7fffffff
    local kind = (x >> 16) % 10
    if kind == 0 then return 30000 + (x >> 8) % 200000 end
    if kind < 3 then return 900 + (x >> 8) % 300 end
    return (x >> 8) % 100
  end
end

function TestLarge:test_a_mixture_arrives_in_order_at_a_slow_reader()
  local parts, next_size = {}, sizes()
  for i = 1, t.count(1500) do parts[i] = peers.text(next_size(), i) end
  local all = table.concat(parts)
  paired(function(_, writer, peer)
    local task = asyncio.create_task(function()
      for i, part in ipairs(parts) do
        writer:write(part)
        if i % 7 == 0 then asyncio.sleep(0) end
        if i % 40 == 0 then writer:drain() end
      end
      writer:write_eof()
    end)
    local got, i = {}, 0
    while true do
      i = i + 1
      local data = peer:read(1 + i * 7919 % 40000)
      if not data then break end
      got[i] = data
      if i % 10 == 0 then asyncio.sleep(0.001) end
    end
    asyncio.await(task)
    t.assertTrue(table.concat(got) == all)
  end, { far = { limit = 1000 } })
end

function TestLarge:test_a_mixture_arrives_in_order_when_the_kernel_takes_a_little_at_a_time()
  local parts, next_size = {}, sizes()
  for i = 1, t.count(600) do parts[i] = peers.text(next_size(), i) end
  local all = table.concat(parts)
  bare(function(_, writer, peer)
    writer:writelines(parts) -- hundreds of pieces at once: more than one system call takes
    writer:write_eof()
    local got, length, still = {}, 0, 0
    while length < #all do
      local data = peers.take(peer, 10000)
      if data == "" then
        still = still + 1
        asyncio.sleep(0.001)
      else
        got[#got + 1], length = data, length + #data
        if #got % 5 == 0 then asyncio.sleep(0) end
      end
      if still > 20000 then t.fail(("only %d of %d bytes came"):format(length, #all)) end
    end
    t.assertTrue(table.concat(got) == all)
  end)
end

TestPending = {}

function TestPending:test_is_what_is_written_and_not_with_the_kernel()
  bare(function(_, writer, peer)
    t.assertEquals(writer:pending(), 0)
    writer:write("hello", (" "):rep(2000))
    t.assertEquals(writer:pending(), 2005)
    asyncio.sleep(0)
    t.assertEquals(writer:pending(), 0)
    stuff(writer, 100000)
    t.assertTrue(writer:pending() > 100000)
    peers.reset(peer)
    t.wait_until(function() return not pcall(writer.drain, writer) end)
    writer:abort()
    t.assertEquals(writer:pending(), 0)
  end)
end

TestDrain = {}

function TestDrain:test_returns_at_once_below_the_high_water_mark()
  bare(function(_, writer)
    stuff(writer, 100000) -- so much is pending, and the mark is far above
    local loop = asyncio.get_running_loop()
    local turned = false
    loop:call_soon(function() turned = true end)
    writer:drain()
    t.assertFalse(turned, "drain has waited")
    asyncio.sleep(0)
    t.assertTrue(turned)
  end)
end

function TestDrain:test_waits_above_the_high_mark_until_the_peer_has_read()
  bare(function(_, writer, peer)
    local total = stuff(writer, 100000)
    writer:set_write_buffer_limits { high = 1000, low = 100 }
    local task = asyncio.create_task(writer.drain, writer)
    t.until_blocked()
    t.assertFalse(task:done())
    local length = 0
    while not task:done() do
      length = length + #peers.take(peer, 100000)
      asyncio.sleep(0)
    end
    asyncio.await(task)
    t.assertTrue(tonumber(tostring(writer):match "(%d+) bytes not sent") <= 100)
    while length < total do
      local data = peers.take(peer, 100000)
      length = length + #data
      if data == "" then asyncio.sleep(0.001) end
    end
    t.assertEquals(length, total)
  end)
end

function TestDrain:test_with_a_high_mark_of_zero_waits_for_all_of_it()
  bare(function(_, writer)
    stuff(writer, 1)
    writer:set_write_buffer_limits { high = 0 }
    local task = asyncio.create_task(writer.drain, writer)
    t.until_blocked()
    t.assertFalse(task:done())
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
end

function TestDrain:test_of_several_tasks_wakes_them_all()
  bare(function(_, writer, peer)
    stuff(writer, 100000)
    writer:set_write_buffer_limits { high = 10 }
    local tasks = {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(writer.drain, writer) end
    asyncio.sleep(0)
    tasks[2]:cancel()
    local reading = asyncio.create_task(function()
      while true do
        peers.take(peer, 100000)
        asyncio.sleep(0)
      end
    end)
    for i, task in ipairs(tasks) do
      if i == 2 then
        t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      else
        asyncio.await(task)
      end
    end
    reading:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, reading)
  end)
end

function TestDrain:test_of_several_tasks_raises_in_all_of_them_when_the_peer_is_gone()
  bare(function(_, writer, peer)
    stuff(writer, 100000)
    writer:set_write_buffer_limits { high = 10 }
    local tasks = {}
    for i = 1, 3 do tasks[i] = asyncio.create_task(writer.drain, writer) end
    asyncio.sleep(0)
    peers.reset(peer)
    for _, task in ipairs(tasks) do t.assert_raises(asyncio.OSError, asyncio.await, task) end
    t.assert_raises(asyncio.OSError, writer.drain, writer)
    t.assert_raises(asyncio.OSError, writer.write, writer, "x")
  end)
end

function TestDrain:test_that_waits_ends_with_an_error_when_the_stream_is_aborted()
  bare(function(_, writer)
    stuff(writer, 100000)
    writer:set_write_buffer_limits { high = 10 }
    local task = asyncio.create_task(writer.drain, writer)
    asyncio.sleep(0)
    writer:abort()
    t.assert_raises(asyncio.ClosedError, asyncio.await, task)
  end)
end

function TestDrain:test_gives_way_now_and_then()
  paired(function(_, writer, peer)
    local turns, over = 0, false
    local reading = asyncio.create_task(peer.read, peer, -1)
    local ticker = asyncio.create_task(function()
      while not over do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    for _ = 1, 3000 do
      writer:write "x"
      writer:drain()
    end
    over = true
    t.assertTrue(turns >= 10, turns)
    asyncio.await(ticker)
    writer:write_eof()
    t.assertEquals(#asyncio.await(reading), 3000)
  end)
end

function TestDrain:test_marks_are_checked()
  paired(function(_, writer)
    local set = writer.set_write_buffer_limits
    t.assertErrorMsgContains("'low' is above 'high'", set, writer, { high = 10, low = 11 })
    t.assertErrorMsgContains("'high'", set, writer, { high = -1 })
    t.assertErrorMsgContains("'low'", set, writer, { low = "much" })
    t.assertErrorMsgContains("table of options expected", set, writer, 10)
    set(writer, { high = 10, low = 10 })
    set(writer, { low = 0 })
    set(writer)
  end)
end

TestSend = {}

function TestSend:test_writes_all_its_strings_and_drains()
  paired(function(_, writer, peer)
    writer:send("one ", "two\n")
    t.assertEquals(peer:readline(), "one two\n")
  end)
end

function TestSend:test_sends_at_once_what_fills_the_buffer()
  paired(function(_, writer)
    local function pending() return (tonumber(tostring(writer):match "(%d+) bytes not sent" or 0)) end
    writer:set_write_buffer_limits { high = 10 }
    writer:send(("x"):rep(9))
    t.assertEquals(pending(), 9) -- with what else is written in this turn
    writer:send "x"
    t.assertEquals(pending(), 0)
  end)
end

function TestSend:test_waits_above_the_high_water_mark()
  bare(function(_, writer)
    stuff(writer, 100000)
    writer:set_write_buffer_limits { high = 10 }
    local task = asyncio.create_task(writer.send, writer, "one", "two")
    t.until_blocked()
    t.assertFalse(task:done())
    writer:abort()
    t.assert_raises(asyncio.ClosedError, asyncio.await, task)
  end)
end

function TestSend:test_that_gives_way_writes_only_once()
  paired(function(_, writer, peer)
    local n = 2000
    local reading = asyncio.create_task(peer.read, peer, -1)
    for i = 1, n do writer:send(("%04d\n"):format(i)) end
    writer:write_eof()
    local lines = {}
    for line in asyncio.await(reading):gmatch "(%d+)\n" do lines[#lines + 1] = tonumber(line) end
    t.assertEquals(#lines, n)
    for i = 1, n do t.assertEquals(lines[i], i) end
  end)
end

TestWriteEof = {}

function TestWriteEof:test_ends_the_stream_for_the_peer_after_what_was_written()
  paired(function(reader, writer, peer, peer_writer)
    t.assertTrue(writer:can_write_eof())
    writer:write "last words"
    writer:write_eof()
    t.assertEquals(peer:read(-1), "last words")
    t.assertTrue(peer:at_eof())
    peer_writer:write "an answer\n" -- the other half is open
    t.assertEquals(reader:readline(), "an answer\n")
  end)
end

function TestWriteEof:test_goes_after_output_that_has_to_wait()
  local text = peers.text(t.count(20) * 1000000)
  paired(function(_, writer, peer)
    writer:write(text)
    writer:write_eof()
    t.assertTrue(peer:read(-1) == text)
  end)
end

function TestWriteEof:test_by_the_peer_leaves_our_half_open()
  paired(function(reader, writer, peer, peer_writer)
    peer_writer:write "bye"
    peer_writer:write_eof()
    t.assertEquals(reader:read(-1), "bye")
    for i = 1, 3 do
      writer:send(("still here %d\n"):format(i))
      t.assertEquals(peer:readline(), ("still here %d\n"):format(i))
    end
    writer:write_eof()
    t.assertNil(peer:readline())
  end)
end

function TestWriteEof:test_makes_writing_raise_and_may_be_said_twice()
  paired(function(_, writer)
    writer:write_eof()
    writer:write_eof()
    t.assert_raises(asyncio.ClosedError, writer.write, writer, "x")
    t.assert_raises(asyncio.ClosedError, writer.writelines, writer, { "x" })
    t.assert_raises(asyncio.ClosedError, writer.send, writer, "x")
    t.assertFalse(writer:is_closing())
    writer:drain()
  end)
end

function TestWriteEof:test_and_close_in_one_turn_lose_nothing()
  paired(function(_, writer, peer)
    writer:write "all of it"
    writer:write_eof()
    writer:close()
    t.assertEquals(peer:read(-1), "all of it")
  end)
end

TestClose = {}

function TestClose:test_sends_what_was_written_first()
  local text = peers.text(t.count(20) * 1000000)
  paired(function(_, writer, peer)
    writer:write(text, "end")
    writer:close()
    t.assertTrue(peer:read(-1) == text .. "end")
    writer:wait_closed()
  end)
end

function TestClose:test_is_seen_by_is_closing_and_may_be_said_twice()
  paired(function(_, writer)
    t.assertFalse(writer:is_closing())
    writer:close()
    t.assertTrue(writer:is_closing())
    writer:close()
    writer:wait_closed()
    t.assertTrue(writer:is_closing())
    writer:close()
    writer:abort()
  end)
end

function TestClose:test_makes_writing_raise()
  for _, how in ipairs { "close", "abort" } do
    paired(function(_, writer)
      writer[how](writer)
      local function check()
        t.assert_raises(asyncio.ClosedError, writer.write, writer, "x")
        t.assert_raises(asyncio.ClosedError, writer.writelines, writer, { "x" })
        t.assert_raises(asyncio.ClosedError, writer.send, writer, "x")
        t.assert_raises(asyncio.ClosedError, writer.write_eof, writer)
      end
      check()
      writer:wait_closed()
      check()
    end)
  end
end

function TestClose:test_scope_closes_and_waits_for_what_was_written()
  local text = peers.text(t.count(20) * 1000000)
  t.real(function()
    local got
    local server <close> = peers.serve(function(reader) got = reader:read(-1) end)
    do
      local _, writer <close> = peers.connect(server)
      writer:write(text)
    end
    t.wait_until(function() return got end)
    t.assertTrue(got == text)
  end)
end

function TestClose:test_scope_that_is_cancelled_while_it_waits_aborts()
  bare(function(_, writer)
    stuff(writer, 100000)
    local task = asyncio.create_task(function()
      local _ <close> = writer
    end)
    t.until_blocked()
    t.assertFalse(task:done())
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    writer:wait_closed()
  end)
end

TestAbort = {}

function TestAbort:test_drops_what_is_not_sent_and_closes_at_once()
  bare(function(_, writer, peer)
    local total = stuff(writer, 2000000)
    writer:abort()
    t.assertTrue(writer:is_closing())
    writer:wait_closed()
    local length = 0
    while true do
      peer:settimeout(5)
      local data, err, partial = peer:receive(100000)
      length = length + #(data or partial)
      if err then
        t.assertNotEquals(err, "timeout")
        break
      end
    end
    t.assertTrue(length <= total - 2000000)
  end)
end

TestWaitClosed = {}

function TestWaitClosed:test_waits_until_everything_is_sent()
  bare(function(_, writer, peer)
    local total = stuff(writer, 100000)
    writer:close()
    local task = asyncio.create_task(writer.wait_closed, writer)
    t.until_blocked()
    t.assertFalse(task:done())
    local length = 0
    while not task:done() do
      length = length + #peers.take(peer, 100000)
      asyncio.sleep(0)
    end
    peer:settimeout(5)
    local data, _, partial = peer:receive "*a"
    length = length + #(data or partial)
    t.assertEquals(length, total)
  end)
end

function TestWaitClosed:test_of_an_open_stream_waits_for_its_close()
  paired(function(_, writer)
    local tasks = {}
    for i = 1, 3 do tasks[i] = asyncio.create_task(writer.wait_closed, writer) end
    asyncio.sleep(0)
    tasks[1]:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, tasks[1])
    t.assertFalse(tasks[2]:done())
    writer:close()
    asyncio.await(tasks[2])
    asyncio.await(tasks[3])
  end)
end

function TestWaitClosed:test_does_not_raise_for_a_dead_peer()
  bare(function(_, writer, peer)
    stuff(writer, 100000)
    writer:close()
    peers.reset(peer)
    t.assertEquals(select("#", writer:wait_closed()), 0)
    t.assertEquals(select("#", writer:wait_closed()), 0)
  end)
end

TestDeadPeer = {}

local function assert_gone(err)
  t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionResetError) or
    asyncio.isinstance(err, asyncio.BrokenPipeError), tostring(err))
end

function TestDeadPeer:test_makes_the_first_write_raise_once_the_reset_was_read()
  bare(function(reader, writer, peer)
    peers.reset(peer)
    t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 1)
    assert_gone(t.error_of(writer.write, writer, "x"))
    assert_gone(t.error_of(writer.writelines, writer, { "x" }))
    assert_gone(t.error_of(writer.send, writer, "x"))
    assert_gone(t.error_of(writer.write_eof, writer))
  end)
end

function TestDeadPeer:test_makes_the_first_write_raise_when_nobody_reads()
  bare(function(_, writer, peer)
    peers.reset(peer)
    t.until_blocked()
    assert_gone(t.error_of(writer.write, writer, "x"))
  end)
end

function TestDeadPeer:test_that_closed_without_reading_makes_writing_raise_soon()
  bare(function(reader, writer, peer)
    peer:close()
    t.assertNil(reader:read(1))
    local err
    for _ = 1, 1000 do -- the first write goes out; its answer tells
      local ok, e = pcall(writer.send, writer, "x")
      if not ok then
        err = e
        break
      end
      asyncio.sleep(0.001)
    end
    assert_gone(err)
    assert_gone(t.error_of(writer.drain, writer))
  end)
end

function TestDeadPeer:test_does_not_hold_up_a_close_with_output_that_waits()
  bare(function(_, writer, peer)
    stuff(writer, 100000)
    local task = asyncio.create_task(function()
      local _ <close> = writer
    end)
    asyncio.sleep(0)
    peers.reset(peer)
    asyncio.await(task)
  end)
end

TestExtraInfo = {}

function TestExtraInfo:test_knows_both_addresses()
  paired(function(_, writer, _, peer_writer)
    local near, far = writer:get_extra_info "sockname", writer:get_extra_info "peername"
    t.assertEquals(near.host, "127.0.0.1")
    t.assertEquals(near.family, "inet")
    t.assertEquals(tostring(near), "127.0.0.1:" .. near.port)
    t.assertEquals(tostring(far), tostring(peer_writer:get_extra_info "sockname"))
    t.assertEquals(tostring(near), tostring(peer_writer:get_extra_info "peername"))
  end)
end

function TestExtraInfo:test_still_knows_the_peer_when_it_is_gone()
  bare(function(reader, writer, peer)
    local name = tostring(writer:get_extra_info "peername")
    peers.reset(peer)
    t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 1)
    t.assertEquals(tostring(writer:get_extra_info "peername"), name)
    writer:abort()
    writer:wait_closed()
    t.assertEquals(tostring(writer:get_extra_info "peername"), name)
  end)
end

function TestExtraInfo:test_gives_the_default_for_what_it_does_not_know()
  paired(function(_, writer)
    t.assertNil(writer:get_extra_info "cipher")
    t.assertEquals(writer:get_extra_info("cipher", "none"), "none")
    t.assertErrorMsgContains("string expected", writer.get_extra_info, writer, {})
  end)
end

function TestExtraInfo:test_gives_the_socket_for_other_libraries()
  bare(function(_, writer, peer)
    local socket = writer:get_extra_info "socket"
    t.assertNotNil(socket)
    local fd = math.type(socket) == "integer" and socket or socket:getfd()
    local other = peers.luasocket().tcp()
    other:close()
    other:setfd(fd)
    local _, port = other:getpeername()
    t.assertEquals(tonumber(port), tonumber((select(2, peer:getsockname()))))
    other:setfd(-1) -- it is not LuaSocket's to close
  end)
end

TestSystemCalls = {}

--- The sizes of what a program's system calls wrote, of the strings that begin with "mark".
local function traced(body)
  peers.need "strace"
  if not os.execute "strace -f -o /dev/null true >/dev/null 2>&1" then t.skip "strace may not trace here" end
  local trace <close> = peers.file()
  local command, file = peers.lua_command(([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
      local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      %s
    end)
  ]]):format(body))
  local _ <close> = file
  -- Leaks cannot be looked for in a program that is traced.
  local strace = "ASAN_OPTIONS=detect_leaks=0 timeout 60 strace -f -s 8 "
    .. "-e trace=write,writev,sendmsg,sendto,sendmmsg -o '%s' %s"
  t.assertTrue(os.execute(strace:format(trace.name, command)))
  local list = {}
  for line in io.lines(trace.name) do
    if line:find('"mark', 1, true) then list[#list + 1] = tonumber(line:match "= (%d+)$") end
  end
  return list
end

function TestSystemCalls:test_many_writes_of_one_turn_leave_in_one()
  t.assertEquals(traced [[
    for i = 1, 100 do writer:write(("mark%012d"):format(i)) end
  ]], { 1600 })
end

function TestSystemCalls:test_small_and_large_writes_of_one_turn_leave_in_one()
  t.assertEquals(traced [[
    writer:write "mark"
    for i = 1, 5 do writer:write("small", ("large"):rep(1000)) end
    writer:write "small"
  ]], { 4 + 5 * 5005 + 5 })
end

function TestSystemCalls:test_writes_of_several_turns_leave_each_at_their_turns_end()
  t.assertEquals(traced [[
    for _ = 1, 3 do
      writer:write("mark", "1234")
      writer:write "5678"
      asyncio.sleep(0)
    end
  ]], { 12, 12, 12 })
end

function TestSystemCalls:test_writes_of_several_tasks_in_one_turn_leave_in_one()
  t.assertEquals(traced [[
    local tasks = {}
    for i = 1, 10 do tasks[i] = asyncio.create_task(function() writer:send "mark56789\n" end) end
    for _, task in ipairs(tasks) do asyncio.await(task) end
  ]], { 100 })
end

TestForgotten = {}

function TestForgotten:test_stream_is_closed_when_it_is_collected_with_a_warning()
  local out, err, code = t.lua [[
    warn "@on"
    local asyncio = require "asyncio"
    asyncio.run(function()
      local over
      local server <close> = asyncio.start_server(function(reader)
        assert(reader:read(-1) == "")
        over = true
      end, "127.0.0.1", 0)
      do asyncio.open_connection("127.0.0.1", server:sockets()[1].port) end
      while not over do
        collectgarbage()
        asyncio.sleep(0.001)
      end
      print "closed"
    end)
  ]]
  t.assertEquals(code, 0, err)
  t.assertEquals(out, "closed\n")
  t.assertStrMatches(err, "Lua warning: .*not closed.*127%.0%.0%.1.*")
end

function TestForgotten:test_writer_does_not_close_the_connection_while_the_reader_is_there()
  t.real(function()
    local server <close> = peers.serve(function(reader, writer)
      for line in reader:lines() do writer:send(line, "\n") end
    end)
    local function connected()
      local reader, writer = peers.connect(server)
      writer:write "hello\n"
      return reader
    end
    local function use(reader)
      t.collect()
      t.assertEquals(reader:readline(), "hello\n")
    end
    use(connected())
    t.collect() -- now nobody has the reader either: the handler ends, or the server would wait for ever
  end)
end

t.finish()
