-- read_timeout and write_timeout: no byte for so long.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function now() return asyncio.get_running_loop():time() end

--- What a call raised, and how long it took.
local function failure(fn, ...)
  local began = now()
  local err = t.assert_raises(asyncio.TimeoutError, fn, ...)
  return err, now() - began
end

--- Both ends of a connection, whose near one has these options.
local function pair(opts, fn) peers.pair(fn, { near = opts }) end

--- The time of a call that raises TimeoutError: never early, and not later than is promised.
local function assert_took(took, seconds)
  t.assertTrue(took >= seconds and took <= seconds + math.max(seconds / 10, 0.05),
    ("%.4f s instead of %g"):format(took, seconds))
end

--- A handler that neither reads nor writes until then.
local function silent(over)
  return function(_, writer)
    over:wait()
    writer:abort()
  end
end

TestRead = {}

function TestRead:test_says_which_after_how_long_and_to_whom()
  t.run(function()
    pair({ read_timeout = 2.5 }, function(reader, writer)
      local err, took = failure(reader.read, reader, 10)
      local peer = tostring(writer:get_extra_info "peername")
      t.assertEquals(err.message, ("read timed out: no byte came from %s for 2.5 s"):format(peer))
      t.assertEquals(err.phase, "read")
      assert_took(took, 2.5)
    end)
  end)
end

function TestRead:test_each_kind_of_read_has_it()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader)
      for _, call in ipairs {
        function() reader:read() end, function() reader:read(1) end, function() reader:readexactly(3) end,
        function() reader:readline() end, function() reader:readuntil { "a", "b" } end,
        function() reader:lines()() end, function() reader:lines "\r\n"() end, function() reader:peek(5, 2) end,
        function() reader:blocks()() end,
      } do
        local err, took = failure(call)
        t.assertEquals(err.phase, "read")
        assert_took(took, 1)
      end
    end)
  end)
end

function TestRead:test_any_byte_renews_it()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      local feeder = asyncio.create_task(function()
        for i = 1, 20 do
          asyncio.sleep(0.75)
          peer:send(tostring(i % 10))
        end
      end)
      local began = now()
      t.assertEquals(reader:readexactly(20), "12345678901234567890")
      t.assertEquals(now() - began, 15)
      asyncio.await(feeder)
    end)
  end)
end

function TestRead:test_nothing_is_lost_and_the_next_call_has_a_fresh_period()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      peer:send "half a"
      local _, took = failure(reader.readline, reader)
      assert_took(took, 1)
      local feeder = asyncio.create_task(function()
        asyncio.sleep(0.9)
        peer:send " line\n"
      end)
      t.assertEquals(reader:readline(), "half a line\n")
      asyncio.await(feeder)
    end)
  end)
end

function TestRead:test_the_time_between_calls_does_not_count()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      failure(reader.read, reader)
      asyncio.sleep(10)
      assert_took(select(2, failure(reader.read, reader)), 1)
      peer:send "x"
      t.assertEquals(reader:read(5), "x")
      asyncio.sleep(0.9)
      assert_took(select(2, failure(reader.read, reader)), 1)
    end)
  end)
end

function TestRead:test_many_reads_that_are_in_time_leave_it_right()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, writer, peer_reader, peer_writer)
      local echo = asyncio.create_task(function()
        for line in peer_reader:lines() do
          asyncio.sleep(0.3)
          peer_writer:send(line, "\n")
        end
      end)
      for _ = 1, 20 do
        writer:send "hello\n"
        t.assertEquals(reader:readline(), "hello\n")
      end
      assert_took(select(2, failure(reader.readline, reader)), 1)
      echo:cancel()
    end)
  end)
end

function TestRead:test_is_on_time_by_the_real_clock()
  t.real(function()
    pair({ read_timeout = 0.2 }, function(reader, _, _, peer)
      local _, took = failure(reader.read, reader)
      t.assertTrue(took >= 0.2, took)
      local feeder = asyncio.create_task(function()
        for _ = 1, 3 do
          asyncio.sleep(0.05)
          peer:send "x"
        end
      end)
      t.assertEquals(reader:readexactly(3), "xxx")
      asyncio.await(feeder)
    end)
  end)
end

function TestRead:test_what_came_while_the_loop_was_held_counts()
  t.real(function(reports)
    peers.bare(function(reader, _, peer)
      local task = asyncio.create_task(function() return reader:readexactly(2) end)
      asyncio.sleep(0.01)
      local ending = os.clock() + 0.15
      peer:send "x"
      while os.clock() < ending do end
      asyncio.sleep(0.01)
      peer:send "y"
      t.assertEquals(asyncio.await(task), "xy")
    end, { read_timeout = 0.1 })
    t.assertEquals(reports, {})
  end)
end

function TestRead:test_a_cancellation_that_comes_first_wins()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      local task = asyncio.create_task(function() return reader:readline() end)
      asyncio.sleep(0.5)
      task:cancel()
      asyncio.wait { task }
      t.assertTrue(task:cancelled())
      peer:send "x\n"
      t.assertEquals(reader:readline(), "x\n")
    end)
  end)
end

function TestRead:test_of_a_cancellation_in_the_same_turn_the_first_wins()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader)
      local seen
      local task
      local function canceller()
        asyncio.sleep(1)
        task:cancel()
      end
      local function victim()
        seen = t.assert_raises(asyncio.TimeoutError, reader.read, reader)
        asyncio.sleep(5)
      end
      task = asyncio.create_task(victim)
      asyncio.sleep(0)
      local other = asyncio.create_task(canceller)
      asyncio.wait { task, other }
      t.assertEquals(seen.phase, "read")
      t.assertTrue(task:cancelled())
    end)
  end)
end

function TestRead:test_the_end_and_an_error_are_told_as_without_it()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      peer:write_eof()
      t.assertNil(reader:readline())
      asyncio.sleep(5)
      t.assertNil(reader:readline())
    end)
  end)
end

function TestRead:test_no_end_to_wait_for_is_no_limit()
  t.run(function()
    pair({ read_timeout = math.huge }, function(reader)
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() reader:read() end, 1e6)
    end)
  end)
end

function TestRead:test_the_end_may_be_waited_for_without_a_limit()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      local task = asyncio.create_task(function() reader:wait_eof() end)
      asyncio.sleep(100)
      t.assertFalse(task:done())
      peer:abort()
      asyncio.await(task)
    end)
  end)
end

function TestRead:test_closing_ends_it()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, writer)
      local task = asyncio.create_task(function() return reader:read() end)
      asyncio.sleep(0.5)
      writer:abort()
      t.assertEquals(asyncio.await(task), "")
      asyncio.sleep(5)
    end)
  end)
end

TestWrite = {}

local BIG = ("x"):rep(8000000) -- more than the kernels at both ends take

function TestWrite:test_says_which_after_how_long_and_to_whom()
  t.run(function()
    pair({ write_timeout = 2 }, function(_, writer)
      local err, took = failure(writer.send, writer, BIG)
      local peer = tostring(writer:get_extra_info "peername")
      t.assertEquals(err.message, ("write timed out: no byte was taken by %s for 2 s"):format(peer))
      t.assertEquals(err.phase, "write")
      assert_took(took, 2)
    end)
  end)
end

function TestWrite:test_any_byte_renews_it()
  t.real(function()
    pair({ write_timeout = 0.4 }, function(_, writer, peer_reader)
      local task = asyncio.create_task(function()
        local began = now()
        writer:send(BIG)
        return now() - began
      end)
      local n = 0
      while n < #BIG do
        if not task:done() then asyncio.sleep(0.2) end
        for _ = 1, 8 do n = n < #BIG and n + #peer_reader:read(65536) or n end
      end
      t.assertTrue(asyncio.await(task) > 0.45)
    end)
  end)
end

function TestWrite:test_a_peer_that_takes_little_at_a_time_is_alive()
  t.real(function()
    peers.bare(function(_, writer, peer)
      peer:setoption("recv-buffer-size", 65536)
      local task = asyncio.create_task(function() writer:send(BIG, BIG) end)
      for _ = 1, 12 do -- too little for our kernel to take any more for a second
        asyncio.sleep(0.1)
        peers.take(peer, 100000)
      end
      t.assertFalse(task:done())
      task:cancel()
      asyncio.wait { task }
    end, { write_timeout = 0.6 })
  end)
end

function TestWrite:test_nothing_is_lost_and_the_next_call_has_a_fresh_period()
  t.real(function()
    pair({ write_timeout = 0.6 }, function(_, writer, peer_reader)
      local text = peers.text(8000000)
      failure(writer.send, writer, text)
      asyncio.sleep(0.1)
      local taker = asyncio.create_task(function()
        asyncio.sleep(0.3)
        return peer_reader:readexactly(#text) == text
      end)
      writer:drain()
      t.assertTrue(asyncio.await(taker))
    end)
  end)
end

function TestWrite:test_each_call_has_its_own_period()
  t.run(function()
    pair({ write_timeout = 1 }, function(_, writer)
      writer:write(BIG)
      local times, began = {}, now()
      local function drain(delay)
        asyncio.sleep(delay)
        t.assert_raises(asyncio.TimeoutError, writer.drain, writer)
        times[#times + 1] = now() - began
      end
      do
        local group <close> = asyncio.TaskGroup()
        for _, delay in ipairs { 0, 0.5, 0.9 } do group:create_task(drain, delay) end
      end
      for i, at in ipairs { 1, 1.5, 1.9 } do
        t.assertTrue(times[i] >= at and times[i] <= at + 0.1, ("%g instead of %g"):format(times[i], at))
      end
    end)
  end)
end

function TestWrite:test_wait_closed_has_it_after_a_close()
  t.run(function()
    pair({ write_timeout = 1 }, function(_, writer)
      writer:write(BIG)
      writer:close()
      local err, took = failure(writer.wait_closed, writer)
      t.assertEquals(err.phase, "write")
      assert_took(took, 1)
      assert_took(select(2, failure(writer.wait_closed, writer)), 1)
      writer:abort()
      writer:wait_closed()
    end)
  end)
end

function TestWrite:test_wait_closed_waits_for_a_close_as_long_as_it_takes()
  t.run(function()
    pair({ write_timeout = 1 }, function(_, writer)
      local task = asyncio.create_task(writer.wait_closed, writer)
      asyncio.sleep(5)
      t.assertFalse(task:done())
      writer:close()
      asyncio.await(task)
    end)
  end)
end

function TestWrite:test_a_block_gives_its_peer_up_by_then()
  t.run(function()
    local over = asyncio.Event()
    local server <close> = peers.serve(silent(over))
    local began = now()
    do
      local _, writer <close> = peers.connect(server, { write_timeout = 2 })
      writer:write(BIG)
    end
    assert_took(now() - began, 2)
    over:set()
  end)
end

function TestWrite:test_a_read_of_the_same_stream_has_its_own()
  t.run(function()
    pair({ write_timeout = 1, read_timeout = 3 }, function(reader, writer)
      local task = asyncio.create_task(failure, reader.read, reader)
      asyncio.sleep(0)
      assert_took(select(2, failure(writer.send, writer, BIG)), 1)
      local err, took = asyncio.await(task)
      t.assertEquals(err.phase, "read")
      assert_took(took, 3)
    end)
  end)
end

TestCopy = {}

function TestCopy:test_reading_has_the_readers()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, peer)
      local _, sink, _, other = asyncio.stream_pair()
      local copy = asyncio.create_task(pcall, asyncio.copy, reader, sink)
      asyncio.sleep(0.9)
      peer:send "x"
      asyncio.sleep(0.9)
      t.assertFalse(copy:done())
      asyncio.sleep(0.2)
      local _, err = asyncio.await(copy)
      t.assertEquals(err.phase, "read")
      sink:abort()
      other:abort()
    end)
  end)
end

function TestCopy:test_writing_has_the_writers_and_then_reading_has_none()
  t.run(function()
    pair({ read_timeout = 1 }, function(reader, _, _, source)
      pair({ write_timeout = 5 }, function(_, writer)
        local feeder = asyncio.create_task(function() source:send(BIG, BIG) end)
        local err, took = failure(asyncio.copy, reader, writer)
        t.assertEquals(err.phase, "write")
        assert_took(took, 5)
        feeder:cancel()
        asyncio.wait { feeder }
      end)
    end)
  end)
end

TestServers = {}

function TestServers:test_a_handler_that_does_not_catch_it_ends_quietly()
  t.run(function(reports)
    local server <close> = peers.serve(function(reader) reader:readline() end, { read_timeout = 1 })
    local reader, writer <close> = peers.connect(server)
    t.assertNil(reader:read(1))
    t.assertEquals(reports, {})
    t.assertEquals(server:stats().failed, 0)
    t.assertEquals(server:stats().reset, 1)
    writer:abort()
  end)
end

function TestServers:test_one_that_catches_it_may_still_answer()
  t.run(function()
    local server <close> = peers.serve(function(reader, writer)
      if not asyncio.pcall(reader.readline, reader) then writer:send "408\n" end
    end, { read_timeout = 1 })
    local reader, writer <close> = peers.connect(server)
    t.assertEquals(reader:readline(), "408\n")
    writer:abort()
  end)
end

function TestServers:test_unix_sockets_have_it_too()
  t.run(function()
    local path = os.tmpname()
    os.remove(path)
    local over = asyncio.Event()
    local _ <close> = asyncio.start_unix_server(silent(over), path)
    local reader, writer <close> = asyncio.open_unix_connection(path, { read_timeout = 1, write_timeout = 2 })
    local err = failure(reader.read, reader)
    t.assertEquals(err.message, ("read timed out: no byte came from %s for 1 s"):format(path))
    err = failure(writer.send, writer, BIG)
    t.assertEquals(err.message, ("write timed out: no byte was taken by %s for 2 s"):format(path))
    over:set()
    writer:abort()
  end)
end

t.finish()
