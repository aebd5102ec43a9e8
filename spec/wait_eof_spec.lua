-- wait_eof_spec.lua - StreamReader:wait_eof: the end of a stream, whether it is read or not.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

--- Runs fn(reader, peer, writer) as a test, with a bare socket at the other end.
local function bare(fn, opts)
  return t.real(function()
    peers.bare(function(reader, writer, peer) fn(reader, peer, writer) end, opts)
  end)
end

--- A task that waits for the end, and has begun to.
local function waiting(reader)
  local task = asyncio.create_task(reader.wait_eof, reader)
  t.until_blocked()
  t.assertFalse(task:done())
  return task
end

local function assert_returns(task) t.assertEquals(table.pack(asyncio.await(task)).n, 0) end

TestWaitEof = {}

function TestWaitEof:test_returns_nothing_when_the_peer_has_ended()
  bare(function(reader, peer)
    local task = waiting(reader)
    peer:shutdown "send"
    assert_returns(task)
    t.assertTrue(reader:at_eof())
  end)
end

function TestWaitEof:test_returns_at_once_after_the_end_again_and_again()
  bare(function(reader, peer)
    peer:shutdown "send"
    t.assertNil(reader:read(1))
    for _ = 1, 3 do reader:wait_eof() end
  end)
end

function TestWaitEof:test_goes_on_while_the_peer_sends_and_leaves_all_of_it()
  bare(function(reader, peer)
    local task = waiting(reader)
    peer:send "one\n"
    t.until_blocked()
    peer:send "two\n"
    t.until_blocked()
    t.assertFalse(task:done())
    peer:shutdown "send"
    assert_returns(task)
    t.assertFalse(reader:at_eof())
    t.assertEquals(reader:read(), "one\ntwo\n")
  end)
end

function TestWaitEof:test_sees_an_end_behind_more_than_is_read_ahead_and_leaves_all_of_it()
  local text = peers.text(20000)
  bare(function(reader, peer)
    assert(peer:send(text))
    local task = waiting(reader)
    peer:shutdown "send"
    assert_returns(task)
    t.assertTrue(tonumber(tostring(reader):match "(%d+) bytes unread") < #text)
    reader:wait_eof() -- not read yet: the kernel tells of it once more
    t.assertEquals(#reader:peek(100, 100), 100)
    reader:wait_eof()
    t.assertTrue(reader:read() == text)
    reader:wait_eof()
  end, { limit = 8 })
end

function TestWaitEof:test_does_not_read_what_nobody_takes()
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      local task, sent = asyncio.create_task(reader.wait_eof, reader), 0
      local flood = asyncio.create_task(function()
        while true do
          peer_writer:send(("x"):rep(65536))
          sent = sent + 1
        end
      end)
      local last = -1
      while sent > last do -- until nothing moves any more
        last = sent
        asyncio.sleep(0.05)
      end
      t.assertFalse(task:done())
      t.assertTrue(tonumber(tostring(reader):match "(%d+) bytes unread") <= 3 * 65536)
      flood:cancel()
      peer_writer:abort()
      asyncio.create_task(reader.read, reader)
      assert_returns(task) -- the end comes behind all that
    end, { near = { limit = 1024 } })
  end)
end

function TestWaitEof:test_returns_when_the_connection_broke()
  for _, limit in ipairs { 8, 65536 } do
    bare(function(reader, peer)
      assert(peer:send(("x"):rep(5000)))
      local task = waiting(reader)
      peers.reset(peer)
      assert_returns(task)
      reader:wait_eof()
      t.assert_raises(asyncio.ConnectionResetError, function()
        while reader:read(5000) do end
      end)
      reader:wait_eof()
    end, { limit = limit })
  end
end

function TestWaitEof:test_returns_after_ones_own_close()
  for _, how in ipairs { "close", "abort" } do
    for _, limit in ipairs { 8, 65536 } do
      bare(function(reader, peer, writer)
        assert(peer:send(("x"):rep(5000)))
        local task = waiting(reader)
        writer[how](writer)
        assert_returns(task)
        reader:wait_eof()
        writer:wait_closed()
        reader:wait_eof()
      end, { limit = limit })
    end
  end
end

function TestWaitEof:test_goes_on_after_ones_own_write_eof()
  bare(function(reader, peer, writer)
    local task = waiting(reader)
    writer:write_eof()
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "the answer"
    peer:shutdown "send"
    assert_returns(task)
    t.assertEquals(reader:read(), "the answer")
  end)
end

function TestWaitEof:test_may_be_called_by_several_and_one_that_is_cancelled_changes_nothing_for_the_others()
  for _, limit in ipairs { 8, 65536 } do
    bare(function(reader, peer)
      assert(peer:send(("x"):rep(5000)))
      local tasks = {}
      for i = 1, 4 do tasks[i] = waiting(reader) end
      for _, i in ipairs { 1, 3 } do
        tasks[i]:cancel()
        t.assert_raises(asyncio.CancelledError, asyncio.await, tasks[i])
      end
      t.until_blocked()
      t.assertFalse(tasks[2]:done() or tasks[4]:done())
      peer:shutdown "send"
      assert_returns(tasks[2])
      assert_returns(tasks[4])
    end, { limit = limit })
  end
end

function TestWaitEof:test_can_be_called_again_after_all_have_been_cancelled()
  bare(function(reader, peer)
    for _ = 1, 3 do
      local task = waiting(reader)
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    end
    local task = waiting(reader)
    peer:shutdown "send"
    assert_returns(task)
  end, { limit = 8 })
end

function TestWaitEof:test_goes_on_beside_each_way_to_read_which_sees_the_end_itself()
  for name, way in pairs {
    read = function(reader) return reader:read(10) end,
    all = function(reader) return reader:read() end,
    readline = function(reader) return reader:readline() end,
    blocks = function(reader) return reader:blocks()() end,
    peek = function(reader) return reader:peek() end,
  } do
    bare(function(reader, peer)
      local ending, reading = waiting(reader), asyncio.create_task(way, reader)
      t.until_blocked()
      peer:shutdown "send"
      assert_returns(ending)
      t.assertEquals(asyncio.await(reading), name == "all" and "" or nil, name)
    end)
  end
end

function TestWaitEof:test_lets_others_read_and_write_meanwhile()
  t.real(function()
    peers.pair(function(reader, writer, peer_reader, peer_writer)
      local task, text = waiting(reader), peers.text(t.count(2000000))
      local there = asyncio.create_task(function()
        peer_writer:send(text)
        peer_writer:write_eof()
      end)
      local back = asyncio.create_task(peer_reader.readexactly, peer_reader, #text)
      local got = asyncio.create_task(reader.readexactly, reader, #text)
      writer:send(text)
      t.assertTrue(asyncio.await(got) == text)
      t.assertTrue(asyncio.await(back) == text)
      asyncio.await(there)
      assert_returns(task)
    end, { near = { limit = 1000 } })
  end)
end

function TestWaitEof:test_in_a_handler_ends_its_work_when_the_client_has_left()
  t.real(function()
    local outcome = asyncio.get_running_loop():create_future()
    local server <close> = peers.serve(function(reader)
      local work = asyncio.create_task(asyncio.sleep, 3600)
      reader:wait_eof()
      work:cancel()
      outcome:set_result(pcall(asyncio.await, work))
    end, { limit = 8 })
    local _, writer = peers.connect(server)
    writer:send(("a request"):rep(1000))
    writer:close()
    t.assertFalse((asyncio.await(outcome)))
  end)
end

function TestWaitEof:test_of_a_unix_socket()
  local path = os.tmpname()
  os.remove(path)
  t.real(function()
    local _ <close> = asyncio.start_unix_server(function(_, writer) writer:send(peers.text(20000)) end, path)
    for _, limit in ipairs { 8, 65536 } do
      local reader, writer <close> = asyncio.open_unix_connection(path, { limit = limit })
      reader:wait_eof()
      t.assertTrue(reader:read() == peers.text(20000))
      writer:write_eof()
    end
  end)
end

function TestWaitEof:test_on_the_virtual_clock_can_time_out()
  t.run(function()
    peers.pair(function(reader, _, _, peer_writer)
      local loop = asyncio.get_running_loop()
      local before = loop:time()
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() reader:wait_eof() end, 60)
      t.assertEquals(loop:time(), before + 60)
      peer_writer:write_eof()
      reader:wait_eof()
    end)
  end)
end

function TestWaitEof:test_says_on_what_it_waits()
  bare(function(reader)
    local task = waiting(reader)
    t.assertStrContains(tostring(task), "waits (wait_eof, 127.0.0.1:")
    task:cancel()
  end)
end

function TestWaitEof:test_outside_a_task_raises_instead_of_hanging()
  bare(function(reader)
    local outcome
    asyncio.get_running_loop():call_soon(function() outcome = table.pack(pcall(reader.wait_eof, reader)) end)
    t.wait_until(function() return outcome end)
    t.assertFalse(outcome[1])
    t.assertErrorMsgContains("StreamReader", reader.wait_eof, {})
  end)
end

function TestWaitEof:test_gives_way_now_and_then_where_it_need_not_wait()
  bare(function(reader, peer)
    local turns = 0
    peer:shutdown "send"
    reader:wait_eof()
    local ticker = asyncio.create_task(function()
      while true do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    for _ = 1, 5000 do reader:wait_eof() end
    ticker:cancel()
    t.assertTrue(turns >= 20, turns)
  end)
end

TestWaitEofInMemory = {}

function TestWaitEofInMemory:test_of_a_pair_returns_when_the_other_end_has_ended()
  for _, how in ipairs { "write_eof", "close", "abort" } do
    t.run(function()
      local reader, writer, _, other = asyncio.stream_pair { limit = 8 }
      local task = waiting(reader)
      other:write "hello"
      t.until_blocked()
      t.assertFalse(task:done())
      other[how](other)
      assert_returns(task)
      reader:wait_eof()
      t.assertEquals(reader:read(5), "hello")
      reader:wait_eof()
      writer:close()
      other:close()
    end)
  end
end

function TestWaitEofInMemory:test_of_a_pair_sees_an_end_behind_more_than_there_is_room_for()
  for _, how in ipairs { "write_eof", "close" } do
    t.run(function()
      local reader, writer, _, other = asyncio.stream_pair { limit = 8 }
      local text = peers.text(5000)
      local task = waiting(reader)
      other:write(text)
      t.until_blocked()
      t.assertFalse(task:done())
      other[how](other)
      assert_returns(task)
      reader:wait_eof()
      t.assertTrue(tonumber(tostring(reader):match "(%d+) bytes unread") < 100)
      t.assertEquals(reader:read(), text)
      writer:close()
      other:close()
    end)
  end
end

function TestWaitEofInMemory:test_of_a_pair_returns_after_ones_own_close()
  for _, how in ipairs { "close", "abort" } do
    t.run(function()
      local reader, writer, _, other = asyncio.stream_pair()
      local task = waiting(reader)
      writer[how](writer)
      assert_returns(task)
      reader:wait_eof()
      other:close()
    end)
  end
end

function TestWaitEofInMemory:test_of_a_reader_that_is_fed_returns_when_it_is_fed_its_end()
  for _, err in ipairs { false, "an error" } do
    t.run(function()
      local reader = asyncio.StreamReader { limit = 8 }
      local tasks = { waiting(reader), waiting(reader) }
      reader:feed(("x"):rep(100))
      t.until_blocked()
      t.assertFalse(tasks[1]:done())
      tasks[2]:cancel()
      reader:feed_eof(err or nil)
      assert_returns(tasks[1])
      reader:wait_eof()
      t.assertEquals(#reader:readexactly(100), 100)
    end)
  end
end

TestWaitEofLeavesNothing = {}

--- How many descriptors are open; not counting garbage of tests before.
local function descriptors()
  local file <close> = peers.file()
  t.collect()
  os.execute(("ls /proc/$PPID/fd 2>/dev/null | wc -l >'%s'"):format(file.name)) -- no pipe of ours is in it
  local n = tonumber(peers.content(file.name))
  if n == 0 then t.skip "no /proc here" end
  return n
end

function TestWaitEofLeavesNothing:test_one_descriptor_is_enough_for_all_streams_and_none_stays()
  t.real(function()
    local loop, ends = asyncio.get_running_loop(), {}
    local server <close> = peers.serve(function(_, writer)
      local over = loop:create_future()
      ends[#ends + 1] = over
      writer:write(("x"):rep(100))
      asyncio.await(over)
    end)
    local tasks, writers, before = {}, {}, nil
    for i = 1, 20 do
      local reader, writer = peers.connect(server, { limit = 8 })
      tasks[i], writers[i] = function() return asyncio.create_task(reader.wait_eof, reader) end, writer
    end
    t.until_blocked()
    before = descriptors()
    for i = 1, 20 do tasks[i] = tasks[i]() end
    t.until_blocked()
    t.assertEquals(descriptors(), before + 1)
    for i = 1, 5 do tasks[i]:cancel() end
    for i = 6, 10 do ends[i]:set_result() end
    t.until_blocked()
    t.assertEquals(descriptors(), before + 1 - 5) -- the server's of those that it has closed
    for i = 1, 10 do t.assertTrue(tasks[i]:done()) end
    for i = 11, 20 do
      t.assertFalse(tasks[i]:done())
      writers[i]:abort()
    end
    for i = 11, 20 do assert_returns(tasks[i]) end
    for i = 11, 20 do ends[i]:set_result() end
    t.until_blocked()
    t.assertEquals(descriptors(), before - 5 - 20)
    for i = 1, 10 do writers[i]:abort() end
    for i = 1, 5 do ends[i]:set_result() end
  end)
end

function TestWaitEofLeavesNothing:test_of_a_loop_that_is_closed_while_it_waits()
  asyncio.run(t.collect) -- libuv opens some of its own for the first loop
  local before = descriptors()
  for _ = 1, 3 do
    local loop = asyncio.new_event_loop()
    loop:set_exception_handler(function() end)
    loop:run_until_complete(function()
      local server = peers.serve(function(reader) reader:wait_eof() end)
      local reader = peers.connect(server, { limit = 8 })
      for _ = 1, 2 do asyncio.create_task(reader.wait_eof, reader) end
      t.until_blocked()
    end)
    loop:close()
  end
  t.assertEquals(descriptors(), before)
end

function TestWaitEofLeavesNothing:test_where_nobody_has_the_stream_any_more()
  t.real(function()
    peers.pair(function(reader)
      local task = asyncio.create_task(reader.wait_eof, reader)
      t.until_blocked()
      t.collect()
      t.assertFalse(task:done()) -- the task has it
      task:cancel()
    end)
  end)
end

function TestWaitEofLeavesNothing:test_where_a_stranger_closes_the_coroutine_that_waits()
  t.real(function()
    local server <close> = peers.serve(function(reader) reader:read(1) end)
    local readers = { (peers.connect(server)) }
    local task = asyncio.create_task(function() table.remove(readers):wait_eof() end)
    t.until_blocked()
    local before = descriptors()
    coroutine.close(task:get_coro())
    t.collect()
    t.until_blocked()
    t.assert_raises(asyncio.Error, asyncio.await, task)
    t.assertEquals(descriptors(), before - 3) -- the set's, and both ends of the connection
  end)
end

local OUT = [[
local asyncio = require "asyncio"
asyncio.run(function()
  local server <close> = asyncio.start_server(function(r, w) w:send "x" r:read(1) end, "127.0.0.1", 0)
  local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  assert(reader:peek() == "x")
  local files = {}
  for i = 1, 100 do files[i] = io.open "/dev/null" end
  local ok, err = pcall(reader.wait_eof, reader)
  print(ok, asyncio.isinstance(err, asyncio.OSError), err.code)
  for _, file in ipairs(files) do file:close() end
  files = nil
  collectgarbage()
  local task = asyncio.create_task(reader.wait_eof, reader)
  asyncio.sleep(0)
  print(task:done(), reader:read(1))
  writer:abort()
  asyncio.await(task)
  print "ended"
end)
]]

function TestWaitEofLeavesNothing:test_where_there_is_no_descriptor_left_and_says_so()
  local output, errors = peers.run_in_shell(OUT, "ulimit -n 40; %s")
  t.assertEquals(errors, "")
  t.assertEquals(output, "false\ttrue\tEMFILE\nfalse\tx\nended\n")
end

TestWaitEofStandard = {}

local function program(body)
  return "local asyncio = require 'asyncio'\nasyncio.run(function()\n" .. body .. "\nend)\n"
end

local UNTIL_END = program [[
  local reader = asyncio.stdin()
  reader:wait_eof()
  print(#reader:read())
]]

function TestWaitEofStandard:test_of_a_pipe_returns_when_its_writers_have_left()
  peers.with_signal(function(name, wait)
    local output, errors = peers.run_in_shell(program(([[
      local reader = asyncio.stdin()
      local task = asyncio.create_task(reader.wait_eof, reader)
      asyncio.sleep(0.03)
      print(task:done())
      io.open("%s", "w"):close()
      asyncio.await(task)
      print(reader:read())
    ]]):format(name)), "(echo one; " .. wait .. "; printf two) | %s")
    t.assertEquals(errors, "")
    t.assertEquals(output, "false\none\ntwo\n")
  end)
end

function TestWaitEofStandard:test_of_a_file_returns_at_once_and_leaves_all_of_it()
  local file <close> = peers.file(("x"):rep(100000))
  t.assertEquals(peers.run_in_shell(UNTIL_END, "%s <" .. file.name), "100000\n")
end

function TestWaitEofStandard:test_of_dev_null_returns()
  t.assertEquals(peers.run_in_shell(UNTIL_END, "%s </dev/null"), "0\n")
end

function TestWaitEofStandard:test_of_a_terminal_returns_when_another_task_has_read_its_end()
  peers.need "script"
  local output = peers.run_in_shell(program [[
    local reader = asyncio.stdin()
    local task = asyncio.create_task(reader.wait_eof, reader)
    assert(reader:readline() == "hello\n")
    asyncio.sleep(0.02)
    print("still", task:done())
    assert(reader:readline() == nil)
    asyncio.await(task)
    print "ended"
  ]], [[printf 'hello\n\004' | script -qec "%s" /dev/null]])
  t.assertStrContains(output, "still\tfalse")
  t.assertStrContains(output, "ended")
end

t.finish()
