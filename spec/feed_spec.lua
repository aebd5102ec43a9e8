-- feed_spec.lua - asyncio.StreamReader: a reader of what a program feeds.
local t = require "helper"
local peers = require "peers"

local asyncio, testing = t.asyncio, t.testing

TestFeed = {}

function TestFeed:test_what_is_fed_is_read()
  t.run(function()
    local reader = asyncio.StreamReader()
    t.assertTrue(reader:feed "one\ntwo\r\n12345678|tail")
    reader:feed_eof()
    t.assertEquals(reader:readline(), "one\n")
    t.assertEquals(reader:readuntil "\r\n", "two\r\n")
    t.assertEquals(reader:readexactly(3), "123")
    t.assertEquals(reader:read(2), "45")
    t.assertEquals(reader:readuntil { "|", "none" }, "678|")
    t.assertEquals(reader:read(), "tail")
    t.assertTrue(reader:at_eof())
    t.assertNil(reader:readline())
  end)
end

function TestFeed:test_wakes_who_reads_once_there_is_enough()
  t.run(function()
    local reader = asyncio.StreamReader()
    local task = asyncio.create_task(reader.readexactly, reader, 6)
    for _, piece in ipairs { "ab", "", "cd" } do
      asyncio.sleep(1)
      reader:feed(piece)
    end
    t.until_blocked()
    t.assertFalse(task:done())
    reader:feed "efgh"
    t.assertEquals(asyncio.await(task), "abcdef")
    t.assertEquals(reader:read(10), "gh")
  end)
end

function TestFeed:test_needs_no_task_but_a_loop()
  t.assert_raises(asyncio.Error, asyncio.StreamReader)
  t.run(function()
    local loop, reader = asyncio.get_running_loop(), nil
    loop:call_soon(function()
      reader = asyncio.StreamReader()
      loop:call_later(1, reader.feed, reader, "later\n")
      loop:call_later(2, reader.feed_eof, reader)
    end)
    asyncio.sleep(0)
    local lines = {}
    for line in reader:lines() do lines[#lines + 1] = line end
    t.assertEquals(lines, { "later" })
  end)
end

function TestFeed:test_is_not_lost_where_a_read_is_cancelled()
  t.run(function()
    local reader = asyncio.StreamReader()
    local task = asyncio.create_task(reader.readline, reader)
    t.until_blocked()
    reader:feed "half"
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    reader:feed " and half\n"
    t.assertEquals(reader:readline(), "half and half\n")
  end)
end

function TestFeed:test_the_limit_counts_for_a_line()
  t.run(function()
    local reader = asyncio.StreamReader { limit = 10 }
    reader:feed(("x"):rep(12))
    local err = t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
    t.assertEquals(err.consumed, 12)
    t.assertEquals(reader:read(20), ("x"):rep(12))
  end)
end

function TestFeed:test_numbers_are_written_as_texts()
  t.run(function()
    local reader = asyncio.StreamReader(20)
    reader:feed(12)
    t.assertEquals(reader:readexactly(2), "12")
    for _, wrong in ipairs { {}, true, print } do t.assertErrorMsgContains("string", reader.feed, reader, wrong) end
  end)
end

TestFed = {}

function TestFed:test_says_when_more_than_twice_the_limit_lies_unread()
  t.run(function()
    local reader = asyncio.StreamReader(10)
    t.assertTrue(reader:feed(("a"):rep(20)))
    t.assertFalse(reader:feed "b")
    t.assertFalse(reader:feed "") -- still
    t.assertFalse(reader:feed "c") -- taken all the same
    t.assertEquals(#reader:read(11), 11)
    t.assertFalse(reader:feed "")
    reader:read(1)
    t.assertTrue(reader:feed "")
    t.assertEquals(reader:readexactly(10), "aaaaaaaabc")
  end)
end

function TestFed:test_drain_waits_until_there_is_room()
  t.run(function()
    local reader, drained = asyncio.StreamReader(10), 0
    reader:drain()
    reader:feed(("a"):rep(100))
    for _ = 1, 3 do
      asyncio.create_task(function()
        reader:drain()
        drained = drained + 1
      end)
    end
    t.until_blocked()
    reader:read(89)
    t.until_blocked()
    t.assertEquals(drained, 0)
    reader:read(1)
    t.until_blocked()
    t.assertEquals(drained, 3)
    t.assertTrue(reader:feed "")
  end)
end

function TestFed:test_goes_on_while_a_reader_wants_more_than_the_limit()
  t.run(function()
    local reader = asyncio.StreamReader(10)
    t.assertFalse(reader:feed(("a"):rep(30)))
    local task = asyncio.create_task(reader.readexactly, reader, 100)
    reader:drain()
    t.assertTrue(reader:feed(("b"):rep(30)))
    t.assertTrue(reader:feed(("c"):rep(39)))
    t.assertFalse(reader:feed(("d"):rep(30)))
    t.assertEquals(#asyncio.await(task), 100)
  end)
end

function TestFed:test_a_filter_is_a_reader()
  local function upper(source, limit)
    local reader = asyncio.StreamReader { limit = limit }
    asyncio.create_task(function()
      local ok, err = asyncio.pcall(function()
        while true do
          local piece = source:read(7)
          if not piece then return end
          if not reader:feed(piece:upper()) then reader:drain() end
        end
      end)
      reader:feed_eof(not ok and err or nil)
    end)
    return reader
  end
  t.run(function()
    local source = asyncio.StreamReader()
    local lines = upper(upper(source, 5), 20):lines()
    source:feed(("a line\n"):rep(50))
    source:feed_eof "the source broke"
    for _ = 1, 50 do t.assertEquals(lines(), "A LINE") end
    t.assertEquals(t.error_of(lines), "the source broke")
  end)
end

function TestFed:test_may_have_a_limit_of_time()
  t.run(function()
    local loop, reader = asyncio.get_running_loop(), asyncio.StreamReader { read_timeout = 600 }
    loop:call_later(500, reader.feed, reader, "half a ")
    local err = t.assert_raises(asyncio.TimeoutError, reader.readline, reader)
    t.assertStrContains(err.message, "no byte came from StreamReader for 600 s")
    t.assertTrue(loop:time() >= 1100 and loop:time() <= 1160, loop:time())
    reader:feed "line\n"
    t.assertEquals(reader:readline(), "half a line\n")
  end)
end

function TestFed:test_may_be_copied()
  t.run(function()
    local source = asyncio.StreamReader(10)
    local _, writer, peer_reader, peer_writer = asyncio.stream_pair { limit = 7 }
    local copy = asyncio.create_task(asyncio.copy, source, writer)
    local text = peers.text(5000)
    asyncio.create_task(function()
      for i = 1, #text, 17 do
        if not source:feed(text:sub(i, i + 16)) then source:drain() end
      end
      source:feed_eof "broke"
    end)
    t.assertEquals(peer_reader:readexactly(5000), text)
    t.assertStrContains(t.error_of(asyncio.await, copy), "broke")
    writer:close()
    peer_writer:close()
  end)
end

TestEnd = {}

function TestEnd:test_wakes_who_reads()
  t.run(function()
    for method, arguments in pairs { read = { 5 }, readline = {}, readexactly = { 5 }, readuntil = { "|" } } do
      local reader = asyncio.StreamReader()
      local task = asyncio.create_task(reader[method], reader, table.unpack(arguments))
      t.until_blocked()
      reader:feed_eof()
      t.assertNil(asyncio.await(task))
    end
  end)
end

function TestEnd:test_in_the_middle_of_something_is_incomplete()
  t.run(function()
    local reader = asyncio.StreamReader()
    reader:feed "half"
    reader:feed_eof()
    local err = t.assert_raises(asyncio.IncompleteReadError, reader.readexactly, reader, 10)
    t.assertEquals({ err.partial, err.expected }, { "half", 10 })
  end)
end

function TestEnd:test_an_error_is_raised_at_every_later_read_after_the_data()
  t.run(function()
    for _, value in ipairs { "a text", { "a table" }, 5, false, asyncio.Error "an error" } do
      local reader = asyncio.StreamReader()
      reader:feed "some\ndata"
      reader:feed_eof(value)
      t.assertEquals(reader:readline(), "some\n")
      t.assertIs(t.error_of(reader.readline, reader), value)
      t.assertEquals(reader:readexactly(4), "data")
      t.assertFalse(reader:at_eof())
      for _ = 1, 2 do
        for _, method in ipairs { "read", "readline", "readuntil", "lines" } do
          local read = method == "lines" and reader:lines() or reader[method]
          t.assertIs(t.error_of(read, reader), value)
        end
        t.assertIs(t.error_of(reader.readexactly, reader, 1), value)
      end
    end
  end)
end

function TestEnd:test_an_error_wakes_who_reads()
  t.run(function()
    local reader = asyncio.StreamReader()
    local task = asyncio.create_task(function() return reader:lines()() end)
    t.until_blocked()
    reader:feed_eof "broke"
    t.assertStrContains(t.error_of(asyncio.await, task), "broke")
  end)
end

function TestEnd:test_an_error_is_kept_for_the_next_loop_and_no_longer()
  local weak, reader = setmetatable({}, { __mode = "k" }), nil
  t.run(function()
    local err = { reader = nil }
    weak[err] = true
    reader = asyncio.StreamReader()
    err.reader = reader
    reader:feed_eof(err)
  end)
  t.run(function() t.assertTrue(weak[t.error_of(reader.read, reader)]) end)
  reader = nil
  t.collect()
  t.assertNil(next(weak))
end

function TestEnd:test_nothing_is_fed_after_it()
  t.run(function()
    local reader = asyncio.StreamReader()
    reader:feed_eof()
    reader:feed_eof()
    reader:drain()
    local err = t.assert_raises(asyncio.ClosedError, reader.feed, reader, "x")
    t.assertStrContains(tostring(err), "the reader has been fed its end")
    t.assert_raises(asyncio.ClosedError, reader.feed, reader, "")
    t.assert_raises(asyncio.ClosedError, reader.feed_eof, reader, "an error")
    t.assertNil(reader:read(1))
  end)
end

function TestEnd:test_lets_those_go_who_wait_for_room()
  t.run(function()
    local reader = asyncio.StreamReader(1)
    reader:feed "lots of it"
    local task = asyncio.create_task(reader.drain, reader)
    t.until_blocked()
    t.assertStrContains(tostring(task), "drain, StreamReader")
    reader:feed_eof()
    asyncio.await(task)
    t.assertEquals(reader:read(), "lots of it")
  end)
end

-- It looked like the end, which nobody had fed.
function TestEnd:test_of_the_loop_is_no_end_of_what_was_fed()
  local reader
  t.run(function()
    reader = asyncio.StreamReader()
    reader:feed "left"
  end)
  local refused = {
    { reader.feed, reader, "x" }, { reader.feed_eof, reader }, { reader.feed_eof, reader, "x" },
    { reader.drain, reader }, { reader.wait_eof, reader }, { reader.read, reader }, { reader.readline, reader },
  }
  for _, call in ipairs(refused) do
    t.assertStrContains(tostring(t.assert_raises(asyncio.ClosedError, table.unpack(call))), "as its event loop is")
  end
  t.assertFalse(reader:at_eof())
  t.run(function()
    t.assertEquals({ reader:read(100) }, { "left" })
    t.assert_raises(asyncio.ClosedError, reader.read, reader, 1)
    t.assertFalse(reader:at_eof())
  end)
end

function TestEnd:test_that_was_fed_outlives_the_loop()
  local reader
  t.run(function()
    reader = asyncio.StreamReader()
    reader:feed "all"
    reader:feed_eof()
  end)
  reader:feed_eof()
  reader:drain()
  reader:wait_eof()
  t.assertEquals({ reader:read(), reader:read(1) }, { "all" })
end

function TestEnd:test_nobody_need_close_it()
  local out, errors, code = t.lua [[
    local asyncio = require "asyncio"
    warn "@on"
    local runner = asyncio.Runner { debug = true }
    runner:run(function()
      asyncio.get_running_loop().slow_callback_duration = 1000
      for i = 1, 100 do
        local reader = asyncio.StreamReader(1)
        reader:feed(("x"):rep(i * 1000))
      end
      KEPT = asyncio.StreamReader()
      collectgarbage()
    end)
    runner:close()
    collectgarbage()
    print "over"]]
  t.assertEquals({ out, errors, code }, { "over\n", "", 0 })
end

TestOthers = {}

function TestOthers:test_readers_of_connections_are_not_fed()
  local function refuses(reader)
    for _, method in ipairs { "feed", "feed_eof", "drain" } do
      local err = t.assert_raises(asyncio.Error, reader[method], reader, "x")
      t.assertStrContains(err.message, ("'%s' is for readers that asyncio.StreamReader has made"):format(method))
    end
  end
  t.real(function() peers.pair(refuses) end)
  t.run(function()
    local reader, writer, _, other = asyncio.stream_pair()
    refuses(reader)
    writer:close()
    other:close()
  end)
end

function TestOthers:test_a_deadlock_names_it()
  local err = t.error_of(testing.async(function() asyncio.StreamReader():read() end, { clock = "virtual" }))
  t.assertStrMatches(err, ".*deadlock.*Task 'test' waits %(read, StreamReader%).*")
end

function TestOthers:test_only_one_task_reads_at_a_time()
  t.run(function()
    local reader = asyncio.StreamReader()
    local task = asyncio.create_task(reader.read, reader)
    t.until_blocked()
    t.assert_raises(asyncio.BusyError, reader.read, reader, 1)
    reader:feed_eof()
    t.assertEquals(asyncio.await(task), "")
  end)
end

t.finish()
