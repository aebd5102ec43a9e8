-- peek_spec.lua - StreamReader:peek: what comes next, without taking it.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local fed, fed_all = peers.fed, peers.fed_all

TestPeek = {}

function TestPeek:test_gives_the_next_byte_which_stays()
  fed("hello", function(reader)
    t.assertEquals(reader:peek(), "h")
    t.assertEquals(reader:peek(), "h")
    t.assertEquals(reader:read(10), "hello")
  end)
end

function TestPeek:test_gives_up_to_n_bytes_of_what_has_come()
  fed("hello", function(reader)
    t.assertEquals(reader:peek(3), "hel")
    t.assertEquals(reader:peek(100), "hello")
    t.assertEquals(reader:readexactly(2), "he")
    t.assertEquals(reader:peek(100), "llo")
  end)
end

function TestPeek:test_waits_until_something_comes()
  fed("", function(reader, peer)
    local task = asyncio.create_task(reader.peek, reader, 100)
    t.until_blocked()
    t.assertStrContains(tostring(task), "peek")
    peer:send "late"
    t.assertEquals(asyncio.await(task), "late")
    t.assertEquals(reader:read(100), "late")
  end)
end

function TestPeek:test_waits_until_at_least_so_many_are_there()
  fed("abc", function(reader, peer)
    local task = asyncio.create_task(reader.peek, reader, 10, 5)
    t.until_blocked()
    peer:send "d"
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "ef"
    t.assertEquals(asyncio.await(task), "abcdef")
    t.assertEquals(reader:readexactly(6), "abcdef")
  end)
end

function TestPeek:test_at_the_end_gives_what_there_is_and_then_nil()
  fed_all("abc", function(reader)
    t.assertEquals(reader:peek(10, 10), "abc")
    t.assertEquals(reader:peek(2, 2), "ab")
    t.assertEquals(reader:read(), "abc")
    for _ = 1, 2 do t.assertEquals(table.pack(reader:peek(10, 10)), { nil, n = 1 }) end
    t.assertNil(reader:peek(1, 0))
  end)
end

function TestPeek:test_that_waits_is_woken_by_the_end()
  for _, there in ipairs { "", "abc" } do
    fed(there, function(reader, peer)
      local task = asyncio.create_task(reader.peek, reader, 10, 10)
      t.until_blocked()
      peer:shutdown "send"
      t.assertEquals(asyncio.await(task), there ~= "" and there or nil)
    end)
  end
end

function TestPeek:test_for_no_byte_in_particular_never_waits()
  fed("", function(reader, peer)
    t.assertEquals(reader:peek(10, 0), "")
    peer:send "abc"
    t.wait_until(function() return reader:peek(10, 0) ~= "" end)
    t.assertEquals(reader:peek(2, 0), "ab")
    t.assertEquals(reader:read(10), "abc")
  end)
end

function TestPeek:test_is_not_bounded_by_the_limit()
  local text = peers.text(t.count(1000000))
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write(text, "tail")
      peer_writer:write_eof()
      t.assertEquals(reader:peek(4), text:sub(1, 4)) -- reading pauses then, above twice the limit
      t.assertTrue(reader:peek(#text, #text) == text)
      t.assertTrue(reader:peek(2 * #text, #text + 4) == text .. "tail")
      t.assertTrue(reader:readexactly(#text) == text)
      t.assertEquals(reader:peek(100, 100), "tail")
      t.assertEquals(reader:read(), "tail")
    end, { near = { limit = 16 } })
  end)
end

function TestPeek:test_with_a_full_buffer_still_goes_on_to_a_line_over_the_limit()
  fed(("x"):rep(100) .. "\n", function(reader, peer)
    t.until_blocked()
    t.assertEquals(#reader:peek(200, 101), 101)
    t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
    peer:send "more"
    t.assertEquals(reader:peek(200, 105):sub(-4), "more")
    t.assertEquals(#reader:readexactly(101), 101)
    t.assertEquals(reader:read(10), "more")
  end, { limit = 8 })
end

function TestPeek:test_keeps_every_byte_and_gives_it_to_each_other_way_to_read()
  local text = "a\0b\r\nc"
  for want, way in pairs {
    ["a\0b\r\n"] = function(reader) return reader:readline() end,
    ["a\0b"] = function(reader) return reader:lines "\r\n"() end,
    ["a\0"] = function(reader) return reader:readuntil "\0" end,
    ["a\0b\r"] = function(reader) return reader:readexactly(4) end,
    ["a"] = function(reader) return reader:blocks(1)() end,
  } do
    fed(text, function(reader)
      t.assertEquals(reader:peek(100, #text), text)
      t.assertEquals(way(reader), want)
    end)
  end
end

function TestPeek:test_gives_what_lies_there_after_a_reset_and_raises_for_more()
  fed("data", function(reader, peer)
    t.until_blocked()
    peers.reset(peer)
    t.until_blocked()
    t.assertEquals(reader:peek(100), "data")
    t.assert_raises(asyncio.ConnectionResetError, reader.peek, reader, 100, 5)
    t.assertEquals(reader:read(100), "data")
    t.assert_raises(asyncio.ConnectionResetError, reader.peek, reader)
    t.assert_raises(asyncio.ConnectionResetError, reader.peek, reader, 1, 0)
  end)
end

function TestPeek:test_on_a_stream_that_is_closed_here_gives_what_there_is()
  for _, how in ipairs { "close", "abort" } do
    fed("abc", function(reader, _, writer)
      local task = asyncio.create_task(reader.peek, reader, 10, 10)
      t.until_blocked()
      writer[how](writer)
      t.assertEquals(asyncio.await(task), "abc")
      t.assertEquals(reader:read(10), "abc")
      t.assertNil(reader:peek())
    end)
  end
end

function TestPeek:test_does_not_starve_the_others()
  fed("abc", function(reader)
    local turns = 0
    reader:peek(3, 3)
    local ticker = asyncio.create_task(function()
      while true do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    for _ = 1, 5000 do reader:peek() end
    ticker:cancel()
    t.assertTrue(turns >= 20, turns)
  end)
end

function TestPeek:test_outside_a_task_gives_what_lies_there_and_raises_instead_of_hanging()
  fed("abc", function(reader)
    local outcome
    reader:peek()
    asyncio.get_running_loop():call_soon(function()
      outcome = { reader:peek(10), pcall(reader.peek, reader, 10, 10) }
    end)
    t.wait_until(function() return outcome end)
    t.assertEquals(outcome[1], "abc")
    t.assertFalse(outcome[2])
  end)
end

function TestPeek:test_refuses_what_is_no_count()
  fed("abc", function(reader)
    for _, wrong in ipairs { 0, -1 } do
      t.assertErrorMsgContains("a positive count expected", reader.peek, reader, wrong)
    end
    for _, wrong in ipairs { -1, 6 } do
      t.assertErrorMsgContains("a count from 0 to n expected", reader.peek, reader, 5, wrong)
    end
    t.assertErrorMsgContains("a count from 0 to n expected", reader.peek, reader, nil, 2)
    t.assertErrorMsgContains("number expected, got string", reader.peek, reader, "5")
    t.assertErrorMsgContains("number expected, got boolean", reader.peek, reader, 5, true)
    t.assertErrorMsgContains("StreamReader", reader.peek, {}, 1)
  end)
end

TestPeekInMemory = {}

function TestPeekInMemory:test_of_a_pair_goes_beyond_the_limit()
  t.run(function()
    local reader, writer, _, other = asyncio.stream_pair { limit = 8 }
    local text = peers.text(5000)
    other:write(text)
    other:write_eof()
    t.assertTrue(reader:peek(5000, 5000) == text)
    t.assertTrue(reader:peek(9999, 9999) == text)
    t.assertTrue(reader:read() == text)
    t.assertNil(reader:peek())
    writer:close()
    other:close()
  end)
end

function TestPeekInMemory:test_of_a_reader_that_is_fed_takes_nothing()
  t.run(function()
    local reader = asyncio.StreamReader { limit = 8 }
    local task = asyncio.create_task(reader.peek, reader, 100, 50)
    t.until_blocked()
    reader:feed(("x"):rep(40))
    t.until_blocked()
    t.assertFalse(task:done())
    reader:feed(("y"):rep(20))
    t.assertEquals(asyncio.await(task), ("x"):rep(40) .. ("y"):rep(20))
    reader:feed_eof()
    t.assertEquals(#reader:read(), 60)
  end)
end

function TestPeek:test_and_blocks_and_lines_have_read_timeout_as_the_other_reads_have()
  t.run(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write "abc"
      t.assert_raises(asyncio.TimeoutError, reader.peek, reader, 10, 10)
      t.assertEquals(reader:peek(10), "abc")
      t.assert_raises(asyncio.TimeoutError, reader:lines "\r\n")
      t.assertEquals(reader:blocks()(), "abc")
      t.assert_raises(asyncio.TimeoutError, reader:blocks())
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() reader:wait_eof() end, 60) -- no read
    end, { near = { read_timeout = 5 } })
  end)
end

TestPeekStandard = {}

local function program(body)
  return "local asyncio = require 'asyncio'\nasyncio.run(function()\n" .. body .. "\nend)\n"
end

local BODY = program [[
  local reader = asyncio.stdin { limit = 4 }
  print(reader:peek(3), #reader:peek(20000, 15000), reader:readexactly(3), reader:peek(3))
  print(#reader:read(), reader:peek())
]]
local TEXT = "one two" .. ("x"):rep(20000)

function TestPeekStandard:test_on_a_file_and_on_a_pipe_takes_nothing_whatever_the_limit()
  local file <close> = peers.file(TEXT)
  for _, shell in ipairs { "%s <" .. file.name, "cat " .. file.name .. " | %s" } do
    local output, errors = peers.run_in_shell(BODY, shell)
    t.assertEquals(errors, "")
    local first, n, taken, rest = output:match "^(%C+)\t(%d+)\t(%C+)\t(%C+)\n20004\tnil\n$"
    t.assertEquals({ first, taken, rest }, { "one", "one", " tw" }, output)
    t.assertTrue(tonumber(n) >= 15000, n)
  end
end

function TestPeekStandard:test_leaves_what_it_has_seen_to_io_read_and_to_the_next_program()
  local file <close> = peers.file "one\ntwo\nthree\n"
  local output = peers.run_in_shell(program "print(asyncio.stdin():peek(3, 3))" .. "print(io.read())\n",
                                    "(%s; cat) <" .. file.name)
  t.assertEquals(output:sub(1, 8), "one\none\n")
end

function TestPeekStandard:test_leaves_what_it_has_seen_to_the_next_loop()
  local output = peers.run_in_shell(program "print(asyncio.stdin():peek(3, 3))" ..
                                    program "print(asyncio.stdin():readline())", "printf 'one\\ntwo\\n' | %s")
  t.assertEquals(output, "one\none\n\n")
end

t.finish()
