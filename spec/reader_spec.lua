-- reader_spec.lua - asyncio.StreamReader: what each method returns, at limits and at the end.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local fed, fed_all = peers.fed, peers.fed_all

--- Sends a string a byte at a time, each in a turn of its own.
local function trickle(peer, text)
  return asyncio.create_task(function()
    for i = 1, #text do
      assert(peer:send(text, i, i))
      asyncio.sleep(i % 5 == 0 and 0.001 or 0)
    end
  end)
end

TestRead = {}

function TestRead:test_returns_what_has_come_without_waiting_for_more()
  fed("hello", function(reader) t.assertEquals(reader:read(100), "hello") end)
end

function TestRead:test_leaves_what_was_not_asked_for()
  fed("hello", function(reader)
    t.assertEquals(reader:read(2), "he")
    t.assertEquals(reader:read(2), "ll")
    t.assertEquals(reader:read(2), "o")
  end)
end

function TestRead:test_in_small_pieces_gives_all_of_a_long_message()
  local text = peers.text(200000)
  fed("", function(reader, peer)
    local got, sender = {}, asyncio.create_task(function()
      for at = 1, #text, 50000 do
        asyncio.wait_writable(peer)
        local sent = 0
        while sent < 50000 do
          local last, err, partial = peer:send(text, at + sent, at + 49999)
          sent = (last or partial) - at + 1
          if err then asyncio.wait_writable(peer) end
        end
      end
      peer:shutdown "send"
    end)
    local sizes, i = { 1, 7, 1000, 65536, 3 }, 0
    repeat
      i = i + 1
      local piece = reader:read(sizes[i % #sizes + 1])
      if piece then t.assertTrue(#piece <= sizes[i % #sizes + 1]) end
      got[#got + 1] = piece
    until not piece
    asyncio.await(sender)
    t.assertTrue(table.concat(got) == text)
  end)
end

function TestRead:test_waits_until_something_comes()
  fed("", function(reader, peer)
    local task = asyncio.create_task(reader.read, reader, 10)
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "late"
    t.assertEquals(asyncio.await(task), "late")
  end)
end

function TestRead:test_of_zero_bytes_returns_an_empty_string_at_once()
  fed("", function(reader) t.assertEquals(reader:read(0), "") end)
end

function TestRead:test_without_a_count_reads_to_the_end_of_the_stream()
  fed("one ", function(reader, peer)
    local task = asyncio.create_task(reader.read, reader)
    t.until_blocked()
    peer:send "two"
    t.until_blocked()
    t.assertFalse(task:done())
    peer:shutdown "send"
    t.assertEquals(asyncio.await(task), "one two")
  end)
end

function TestRead:test_to_the_end_is_not_bounded_by_the_limit()
  local text = peers.text(t.count(1000000))
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write(text)
      peer_writer:write_eof()
      t.assertTrue(reader:read(-1) == text)
    end, { near = { limit = 16 } })
  end)
end

function TestRead:test_returns_nil_at_the_end_again_and_again()
  fed_all("x", function(reader)
    t.assertEquals(reader:read(10), "x")
    t.assertNil(reader:read(10))
    t.assertNil(reader:read(10))
  end)
end

function TestRead:test_to_the_end_returns_an_empty_string_where_nothing_is_left()
  fed_all("", function(reader)
    t.assertEquals(reader:read(-1), "")
    t.assertEquals(reader:read(), "")
    t.assertNil(reader:read(1))
  end)
end

function TestRead:test_keeps_zero_bytes_and_every_other_byte()
  local all = {}
  for i = 0, 255 do all[#all + 1] = string.char(i) end
  local text = table.concat(all)
  fed_all(text, function(reader) t.assertEquals(reader:read(), text) end)
end

function TestRead:test_refuses_what_is_no_count()
  fed("", function(reader)
    t.assertErrorMsgContains("number expected", reader.read, reader, {})
    t.assertErrorMsgContains("integer", reader.read, reader, 1.5)
    t.assertErrorMsgContains("StreamReader", reader.read, {}, 1)
  end)
end

function TestRead:test_outside_a_task_raises_instead_of_hanging()
  t.real(function()
    peers.pair(function(reader)
      local loop, outcome = asyncio.get_running_loop(), nil
      loop:call_soon(function() outcome = table.pack(pcall(reader.read, reader, 1)) end)
      t.wait_until(function() return outcome end)
      t.assertFalse(outcome[1])
    end)
  end)
end

TestReadline = {}

function TestReadline:test_keeps_the_newline()
  fed("one\ntwo\n", function(reader)
    t.assertEquals(reader:readline(), "one\n")
    t.assertEquals(reader:readline(), "two\n")
  end)
end

function TestReadline:test_returns_a_last_line_without_newline_and_then_nil()
  fed_all("one\ntwo", function(reader)
    t.assertEquals(reader:readline(), "one\n")
    t.assertEquals(reader:readline(), "two")
    t.assertNil(reader:readline())
    t.assertNil(reader:readline())
  end)
end

function TestReadline:test_tells_an_empty_line_from_the_end()
  fed_all("\n", function(reader)
    t.assertEquals(reader:readline(), "\n")
    t.assertNil(reader:readline())
  end)
end

function TestReadline:test_joins_a_line_that_comes_a_byte_at_a_time()
  fed("", function(reader, peer)
    local task = trickle(peer, "hello world\nand more\n")
    t.assertEquals(reader:readline(), "hello world\n")
    t.assertEquals(reader:readline(), "and more\n")
    asyncio.await(task)
  end)
end

function TestReadline:test_finds_the_newline_that_comes_first_in_a_later_piece()
  fed("one", function(reader, peer)
    local task = asyncio.create_task(reader.readline, reader)
    t.until_blocked()
    peer:send "\ntwo\n"
    t.assertEquals(asyncio.await(task), "one\n")
    t.assertEquals(reader:readline(), "two\n")
  end)
end

function TestReadline:test_passes_a_line_of_exactly_the_limit()
  fed(("x"):rep(10) .. "\nnext\n", function(reader)
    t.assertEquals(reader:readline(), ("x"):rep(10) .. "\n")
    t.assertEquals(reader:readline(), "next\n")
  end, { limit = 10 })
end

function TestReadline:test_raises_for_a_line_one_byte_over_the_limit_and_loses_nothing()
  local line = ("x"):rep(11) .. "\n"
  fed(line .. "next\n", function(reader)
    for _ = 1, 2 do t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader) end
    t.assertEquals(reader:readexactly(#line), line)
    t.assertEquals(reader:readline(), "next\n")
  end, { limit = 10 })
end

function TestReadline:test_raises_before_the_newline_has_come_and_loses_nothing()
  fed(("x"):rep(11), function(reader, peer)
    t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
    peer:send "\nnext\n"
    t.assertEquals(reader:readexactly(12), ("x"):rep(11) .. "\n")
    t.assertEquals(reader:readline(), "next\n")
  end, { limit = 10 })
end

function TestReadline:test_waits_while_exactly_the_limit_is_there_without_a_newline()
  fed(("x"):rep(10), function(reader, peer)
    local task = asyncio.create_task(reader.readline, reader)
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "\n"
    t.assertEquals(asyncio.await(task), ("x"):rep(10) .. "\n")
  end, { limit = 10 })
end

function TestReadline:test_has_a_limit_of_65536_where_none_is_given()
  local line = ("x"):rep(65536) .. "\n"
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write(line, "y", line)
      t.assertTrue(reader:readline() == line)
      t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
      t.assertTrue(reader:readexactly(#line + 1) == "y" .. line)
    end)
  end)
end

TestReadexactly = {}

function TestReadexactly:test_waits_for_all_of_it()
  fed("abc", function(reader, peer)
    local task = asyncio.create_task(reader.readexactly, reader, 5)
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "defg"
    t.assertEquals(asyncio.await(task), "abcde")
    t.assertEquals(reader:read(10), "fg")
  end)
end

function TestReadexactly:test_of_zero_bytes_returns_an_empty_string_even_at_the_end()
  fed_all("", function(reader)
    t.assertEquals(reader:readexactly(0), "")
    t.assertNil(reader:read(1))
    t.assertEquals(reader:readexactly(0), "")
  end)
end

function TestReadexactly:test_is_not_bounded_by_the_limit()
  local text = peers.text(t.count(5000000))
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write(text, "tail")
      t.assertTrue(reader:readexactly(#text) == text)
      t.assertEquals(reader:readexactly(4), "tail")
    end, { near = { limit = 10 } })
  end)
end

function TestReadexactly:test_raises_with_what_there_was_when_the_stream_ends_before()
  fed_all("abc", function(reader)
    local err = t.assert_raises(asyncio.IncompleteReadError, reader.readexactly, reader, 5)
    t.assertEquals(err.partial, "abc")
    t.assertEquals(err.expected, 5)
    t.assertNil(reader:readexactly(5))
  end)
end

--- The normal end of a protocol is a value, as for `readline`; only what was cut in its middle is an error.
function TestReadexactly:test_at_the_end_before_the_first_byte_returns_nil()
  fed_all("abc", function(reader)
    t.assertEquals(reader:readexactly(3), "abc")
    t.assertEquals(table.pack(reader:readexactly(1)), { nil, n = 1 })
    t.assertEquals(table.pack(reader:readexactly(1000000)), { nil, n = 1 })
    t.assertTrue(reader:at_eof())
  end)
end

function TestReadexactly:test_that_waits_returns_nil_when_the_stream_ends_before_the_first_byte()
  fed("abc", function(reader, peer)
    t.assertEquals(reader:readexactly(3), "abc")
    local task = asyncio.create_task(reader.readexactly, reader, 4)
    t.until_blocked()
    peer:shutdown "send"
    t.assertEquals(table.pack(asyncio.await(task)), { nil, n = 1 })
  end)
end

function TestReadexactly:test_that_waits_on_a_stream_that_is_closed_here_returns_nil()
  fed("", function(reader, _, writer)
    local task = asyncio.create_task(reader.readexactly, reader, 4)
    t.until_blocked()
    writer:close()
    t.assertNil(asyncio.await(task))
  end)
end

function TestReadexactly:test_joins_what_comes_a_byte_at_a_time()
  local text = peers.text(200)
  fed("", function(reader, peer)
    local task = trickle(peer, text)
    t.assertEquals(reader:readexactly(150), text:sub(1, 150))
    t.assertEquals(reader:readexactly(50), text:sub(151))
    asyncio.await(task)
  end)
end

function TestReadexactly:test_refuses_a_negative_count_and_none()
  fed("", function(reader)
    t.assertErrorMsgContains("bad argument", reader.readexactly, reader, -1)
    t.assertErrorMsgContains("number expected", reader.readexactly, reader)
  end)
end

TestReaduntil = {}

function TestReaduntil:test_reads_up_to_and_with_a_newline_where_no_separator_is_given()
  fed("one\ntwo\n", function(reader) t.assertEquals(reader:readuntil(), "one\n") end)
end

function TestReaduntil:test_takes_a_separator_of_several_bytes()
  fed("a\nb\rc\r\nd\r\n", function(reader)
    t.assertEquals(reader:readuntil "\r\n", "a\nb\rc\r\n")
    t.assertEquals(reader:readuntil "\r\n", "d\r\n")
  end)
end

function TestReaduntil:test_takes_a_separator_that_comes_in_pieces()
  for _, separator in ipairs { "\r\n", "<end>", "aab" } do
    fed("", function(reader, peer)
      local task = trickle(peer, "aaa" .. separator .. "bb" .. separator)
      local first = ("aaa" .. separator .. "bb" .. separator):find(separator, 1, true) + #separator - 1
      local all = "aaa" .. separator .. "bb" .. separator
      t.assertEquals(reader:readuntil(separator), all:sub(1, first))
      t.assertEquals(reader:readuntil(separator), all:sub(first + 1))
      asyncio.await(task)
    end)
  end
end

function TestReaduntil:test_a_separator_may_hold_zero_bytes_and_magic_characters()
  fed("a%d\0b.%\0\0rest", function(reader)
    t.assertEquals(reader:readuntil "\0", "a%d\0")
    t.assertEquals(reader:readuntil "%\0\0", "b.%\0\0")
  end)
end

function TestReaduntil:test_of_several_separators_the_one_that_ends_first_counts()
  fed("one;two\nthree\r\n", function(reader)
    t.assertEquals(reader:readuntil { "\n", ";" }, "one;")
    t.assertEquals(reader:readuntil { "\r\n", ";", "\n" }, "two\n")
    t.assertEquals(reader:readuntil { "\r\n", "\n" }, "three\r\n")
  end)
end

function TestReaduntil:test_several_separators_may_come_a_byte_at_a_time()
  fed("", function(reader, peer)
    local task = trickle(peer, "one--two==three--")
    t.assertEquals(reader:readuntil { "--", "==" }, "one--")
    t.assertEquals(reader:readuntil { "--", "==" }, "two==")
    t.assertEquals(reader:readuntil { "--", "==" }, "three--")
    asyncio.await(task)
  end)
end

function TestReaduntil:test_raises_with_what_there_was_when_the_stream_ends_before()
  fed_all("one;two", function(reader)
    t.assertEquals(reader:readuntil ";", "one;")
    local err = t.assert_raises(asyncio.IncompleteReadError, reader.readuntil, reader, ";")
    t.assertEquals(err.partial, "two")
    t.assertNil(err.expected)
    t.assertNil(reader:readuntil ";")
  end)
end

function TestReaduntil:test_at_the_end_with_nothing_left_returns_nil()
  fed_all("one;", function(reader)
    t.assertEquals(reader:readuntil ";", "one;")
    for _, separator in ipairs { ";", "\r\n", { "\n", ";" } } do
      t.assertEquals(table.pack(reader:readuntil(separator)), { nil, n = 1 })
    end
    t.assertNil(reader:readuntil())
  end)
end

function TestReaduntil:test_that_waits_returns_nil_when_the_stream_ends_with_nothing_left()
  for _, separator in ipairs { "\r\n", { ";", "\n" } } do
    fed("one\r\n", function(reader, peer)
      t.assertEquals(reader:readuntil "\r\n", "one\r\n")
      local task = asyncio.create_task(reader.readuntil, reader, separator)
      t.until_blocked()
      peer:shutdown "send"
      t.assertEquals(table.pack(asyncio.await(task)), { nil, n = 1 })
    end)
  end
end

function TestReaduntil:test_passes_a_piece_of_exactly_the_limit_and_no_more()
  fed(("x"):rep(10) .. "\r\n" .. ("y"):rep(11) .. "\r\n", function(reader)
    t.assertEquals(reader:readuntil "\r\n", ("x"):rep(10) .. "\r\n")
    t.assert_raises(asyncio.LimitOverrunError, reader.readuntil, reader, "\r\n")
    t.assertEquals(reader:read(100), ("y"):rep(11) .. "\r\n")
  end, { limit = 10 })
end

function TestReaduntil:test_passes_a_piece_of_exactly_the_limit_whose_separator_comes_in_halves()
  for _, separator in ipairs { "\r\n", { "\r\n", "\n\n" } } do
    fed(("x"):rep(10) .. "\r", function(reader, peer)
      local task = asyncio.create_task(reader.readuntil, reader, separator)
      t.until_blocked()
      t.assertFalse(task:done(), "half of the separator is not over the limit")
      peer:send "\n"
      t.assertEquals(asyncio.await(task), ("x"):rep(10) .. "\r\n")
    end, { limit = 10 })
  end
end

function TestReaduntil:test_after_an_overrun_what_is_to_be_consumed_does_not_cut_a_separator()
  fed(("x"):rep(20) .. "\r", function(reader, peer)
    local err = t.assert_raises(asyncio.LimitOverrunError, reader.readuntil, reader, "\r\n")
    peer:send "\nnext\r\n"
    local skipped = reader:readexactly(err.consumed)
    t.assertEquals(skipped .. reader:readuntil "\r\n", ("x"):rep(20) .. "\r\n")
    t.assertEquals(reader:readuntil "\r\n", "next\r\n")
  end, { limit = 10 })
end

function TestReaduntil:test_can_go_on_after_an_overrun_piece_by_piece()
  local text = peers.text(5000)
  fed("", function(reader, peer)
    local task = trickle(peer, text:sub(1, 500))
    asyncio.await(task)
    peer:send(text, 501)
    peer:send "|next|"
    local parts = {}
    while true do
      local ok, piece = pcall(reader.readuntil, reader, "|")
      if ok then
        parts[#parts + 1] = piece
        break
      end
      t.assert_isinstance(piece, asyncio.LimitOverrunError)
      parts[#parts + 1] = reader:readexactly(piece.consumed)
    end
    t.assertTrue(table.concat(parts) == text .. "|")
    t.assertEquals(reader:readuntil "|", "next|")
  end, { limit = 64 })
end

function TestReaduntil:test_refuses_what_is_no_separator()
  fed("", function(reader)
    for _, wrong in ipairs { "", {}, { "" }, { "a", 1 }, true, print } do
      t.assertErrorMsgContains("bad argument", reader.readuntil, reader, wrong)
    end
  end)
end

TestLines = {}

function TestLines:test_gives_each_line_without_its_newline()
  fed_all("one\n\ntwo\r\nlast", function(reader)
    local lines = {}
    for line in reader:lines() do lines[#lines + 1] = line end
    t.assertEquals(lines, { "one", "", "two\r", "last" })
  end)
end

function TestLines:test_of_an_empty_stream_gives_none()
  fed_all("", function(reader)
    for _ in reader:lines() do t.fail "a line" end
  end)
end

function TestLines:test_can_be_left_and_taken_up_again()
  fed_all("one\ntwo\nthree\n", function(reader)
    for line in reader:lines() do
      t.assertEquals(line, "one")
      break
    end
    t.assertEquals(reader:readline(), "two\n")
    for line in reader:lines() do t.assertEquals(line, "three") end
  end)
end

function TestLines:test_raises_for_a_line_over_the_limit_and_loses_nothing()
  fed_all("short\n" .. ("x"):rep(50) .. "\nnext\n", function(reader)
    local lines = {}
    local err = t.error_of(function()
      for line in reader:lines() do lines[#lines + 1] = line end
    end)
    t.assert_isinstance(err, asyncio.LimitOverrunError)
    t.assertEquals(lines, { "short" })
    t.assertEquals(reader:readexactly(51), ("x"):rep(50) .. "\n")
    t.assertEquals(reader:readline(), "next\n")
  end, { limit = 10 })
end

function TestLines:test_takes_another_separator()
  fed_all("one\n1\r\n\r\ntwo\r\nlast\r", function(reader)
    local lines = {}
    for line in reader:lines "\r\n" do lines[#lines + 1] = line end
    t.assertEquals(lines, { "one\n1", "", "two", "last\r" })
  end)
end

function TestLines:test_takes_any_string_as_separator()
  for _, separator in ipairs { "\0", "<end>", "%.", "aab" } do
    fed_all("1" .. separator .. "2" .. separator .. separator .. "3", function(reader)
      local lines = {}
      for line in reader:lines(separator) do lines[#lines + 1] = line end
      t.assertEquals(lines, { "1", "2", "", "3" }, separator)
    end)
  end
end

function TestLines:test_takes_a_separator_that_comes_in_pieces()
  fed("", function(reader, peer)
    local task, next_line = trickle(peer, "one<end>two<e<end>"), reader:lines "<end>"
    t.assertEquals(next_line(), "one")
    t.assertEquals(next_line(), "two<e")
    asyncio.await(task)
  end)
end

function TestLines:test_with_a_separator_of_several_bytes_pass_the_limit_exactly_and_lose_nothing_over_it()
  fed_all(("x"):rep(10) .. "\r\n" .. ("y"):rep(11) .. "\r\n", function(reader)
    local next_line = reader:lines "\r\n"
    t.assertEquals(next_line(), ("x"):rep(10))
    for _ = 1, 2 do t.assert_raises(asyncio.LimitOverrunError, next_line) end
    t.assertEquals(reader:readexactly(11), ("y"):rep(11))
    t.assertEquals(next_line(), "")
    t.assertNil(next_line())
  end, { limit = 10 })
end

function TestLines:test_refuses_what_is_no_separator()
  fed("", function(reader)
    t.assertErrorMsgContains("string expected, got number; blocks(n) gives pieces", reader.lines, reader, 80)
    t.assertErrorMsgContains("a separator that isn't empty expected", reader.lines, reader, "")
    for _, wrong in ipairs { {}, { "\n" }, false, print } do
      t.assertErrorMsgContains("string expected, got", reader.lines, reader, wrong)
    end
  end)
end

TestBlocks = {}

function TestBlocks:test_gives_what_comes_as_it_comes()
  fed("one", function(reader, peer)
    local next_piece = reader:blocks()
    t.assertEquals(next_piece(), "one")
    local task = asyncio.create_task(next_piece)
    t.until_blocked()
    t.assertFalse(task:done())
    peer:send "two"
    t.assertEquals(asyncio.await(task), "two")
    peer:shutdown "send"
    for _ = 1, 2 do t.assertEquals(table.pack(next_piece()), { nil, n = 1 }) end
  end)
end

function TestBlocks:test_has_pieces_of_at_most_n_bytes()
  fed_all("hello world", function(reader)
    local pieces = {}
    for piece in reader:blocks(4) do pieces[#pieces + 1] = piece end
    t.assertEquals(pieces, { "hell", "o wo", "rld" })
  end)
end

function TestBlocks:test_gives_all_of_a_long_message_in_pieces_of_up_to_65536_bytes()
  local text = peers.text(t.count(3000000))
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      local pieces = {}
      peer_writer:write(text)
      peer_writer:write_eof()
      for piece in reader:blocks() do
        t.assertTrue(#piece >= 1 and #piece <= 65536)
        pieces[#pieces + 1] = piece
      end
      t.assertTrue(table.concat(pieces) == text)
    end, { near = { limit = 100 } })
  end)
end

function TestBlocks:test_can_be_left_and_its_function_stored()
  fed_all("one\ntwo and more", function(reader)
    local next_piece = reader:blocks(3)
    t.assertEquals(next_piece(), "one")
    t.assertEquals(reader:readline(), "\n")
    t.assertEquals(next_piece(reader, "x", 99), "two")
    for piece in reader:blocks(100) do t.assertEquals(piece, " and more") end
  end)
end

function TestBlocks:test_waits_under_its_own_name()
  fed("", function(reader, peer)
    local task = asyncio.create_task(reader:blocks())
    t.until_blocked()
    t.assertStrContains(tostring(task), "blocks")
    peer:shutdown "send"
    asyncio.await(task)
  end)
end

function TestBlocks:test_refuses_what_is_no_size()
  fed("", function(reader)
    for _, wrong in ipairs { 0, -1 } do
      t.assertErrorMsgContains("a positive count expected", reader.blocks, reader, wrong)
    end
    t.assertErrorMsgContains("number expected, got string", reader.blocks, reader, "5")
    t.assertErrorMsgContains("integer", reader.blocks, reader, 1.5)
  end)
end

TestAtEof = {}

function TestAtEof:test_holds_only_once_all_has_been_read()
  fed("abc", function(reader, peer)
    t.assertFalse(reader:at_eof())
    peer:shutdown "send"
    t.assertEquals(reader:read(2), "ab")
    t.until_blocked()
    t.assertFalse(reader:at_eof())
    t.assertEquals(reader:read(2), "c")
    t.assertNil(reader:read(2))
    t.assertTrue(reader:at_eof())
  end)
end

TestCancelledRead = {}

--- Each way to read that would have to wait for more than "abc".
local WAYS = {
  readline = function(reader) return reader:readline() end,
  readexactly = function(reader) return reader:readexactly(6) end,
  readuntil = function(reader) return reader:readuntil "\r\n" end,
  several = function(reader) return reader:readuntil { "\n", ";" } end,
  lines = function(reader) return reader:lines()() end,
  crlf = function(reader) return reader:lines "\r\n"() end,
  peek = function(reader) return reader:peek(100, 6) end,
  all = function(reader) return reader:read(-1) end,
}

function TestCancelledRead:test_has_taken_nothing()
  for name, way in pairs(WAYS) do
    fed("abc", function(reader)
      local task = asyncio.create_task(way, reader)
      asyncio.sleep(0.005)
      t.assertTrue(task:cancel(), name)
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertEquals(reader:read(10), "abc", name)
    end)
  end
end

function TestCancelledRead:test_leaves_the_stream_to_the_next_reader()
  fed("", function(reader, peer)
    local task = asyncio.create_task(reader.read, reader, 10)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    local other = asyncio.create_task(reader.readline, reader)
    asyncio.sleep(0)
    peer:send "for you\n"
    t.assertEquals(asyncio.await(other), "for you\n")
  end)
end

--- `read(n)` takes what comes from the kernel itself; the others leave that to libuv.
function TestCancelledRead:test_leaves_the_stream_to_each_other_way()
  for name, way in pairs(WAYS) do
    fed("", function(reader, peer)
      local task = asyncio.create_task(reader.read, reader, 10)
      asyncio.sleep(0)
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      local other = asyncio.create_task(way, reader)
      asyncio.sleep(0)
      peer:send "abc"
      asyncio.sleep(0.002)
      t.assertFalse(other:done(), name)
      other:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, other)
      t.assertEquals(reader:readexactly(3), "abc", name)
    end)
  end
end

function TestCancelledRead:test_by_a_timeout_loses_nothing()
  fed("abc", function(reader, peer)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() return reader:readexactly(6) end, 0.01)
    peer:send "def"
    t.assertEquals(reader:readexactly(6), "abcdef")
  end)
end

function TestCancelledRead:test_at_whatever_moment_loses_and_doubles_nothing()
  local rounds = t.count(300)
  fed("", function(reader, peer)
    local got, sent = {}, {}
    for i = 1, rounds do
      local task = asyncio.create_task(reader.readexactly, reader, 3)
      for _ = 1, i % 3 do asyncio.sleep(0) end
      local text = ("%03d"):format(i)
      peer:send(text)
      sent[#sent + 1] = text
      for _ = 1, i % 5 do asyncio.sleep(0) end
      if i % 7 == 0 then asyncio.sleep(0.001) end
      task:cancel()
      local ok, data = pcall(asyncio.await, task)
      if ok then got[#got + 1] = data end
    end
    peer:shutdown "send"
    got[#got + 1] = reader:read(-1)
    t.assertEquals(table.concat(got), table.concat(sent))
  end)
end

TestTwoReaders = {}

function TestTwoReaders:test_the_second_gets_a_busy_error_that_names_the_first()
  local second = {
    function(reader) return reader:read(1) end,
    function(reader) return reader:readline() end,
    function(reader) return reader:readexactly(1) end,
    function(reader) return reader:readuntil ";" end,
    function(reader) return reader:lines()() end,
    function(reader) return reader:blocks()() end,
    function(reader) return reader:peek() end,
  }
  for _, way in ipairs(second) do
    fed("", function(reader, peer)
      local first = asyncio.create_task { reader.readline, reader, name = "the-first" }
      asyncio.sleep(0)
      local err = t.assert_raises(asyncio.BusyError, way, reader)
      t.assertStrContains(tostring(err), "the-first")
      peer:send "for the first\n"
      t.assertEquals(asyncio.await(first), "for the first\n")
      peer:send "x;\n"
      t.assertNotNil(way(reader))
    end)
  end
end

function TestTwoReaders:test_one_after_the_other_may_read()
  fed("one\ntwo\n", function(reader)
    t.assertEquals(asyncio.await(asyncio.create_task(reader.readline, reader)), "one\n")
    t.assertEquals(asyncio.await(asyncio.create_task(reader.readline, reader)), "two\n")
  end)
end

TestPausedReading = {}

--- Starts a task that sends n pieces with drain; returns it, and a function that tells how many went.
local function flood(writer, piece, n)
  local sent = 0
  local task = asyncio.create_task(function()
    for _ = 1, n do
      writer:write(piece)
      writer:drain()
      sent = sent + 1
    end
    writer:write_eof()
  end)
  return task, function() return sent end
end

function TestPausedReading:test_blocks_the_sender_and_goes_on_when_somebody_reads()
  local piece = peers.text(65536)
  local n = 1600 -- 100 MB: more than the kernel's buffers on both sides can hold
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      local task, sent = flood(peer_writer, piece, n)
      local last = -1
      while sent() > last do -- until nothing moves any more
        last = sent()
        asyncio.sleep(0.1)
      end
      t.assertFalse(task:done())
      t.assertTrue(sent() < n)
      local unread = tonumber(tostring(reader):match "(%d+) bytes unread")
      t.assertTrue(unread <= 3 * 65536, unread)
      for i = 1, n do
        if reader:readexactly(#piece) ~= piece then t.fail("piece " .. i .. " is not what was sent") end
      end
      asyncio.await(task)
      t.assertNil(reader:read(1))
    end)
  end)
end

function TestPausedReading:test_with_a_small_limit_loses_nothing()
  local text = peers.text(t.count(300000))
  t.real(function()
    peers.pair(function(reader, _, _, peer_writer)
      peer_writer:write(text)
      peer_writer:write_eof()
      local parts, i = {}, 0
      while true do
        local part = reader:read(1 + i * 37 % 200)
        if not part then break end
        i = i + 1
        parts[i] = part
        if i % 16 == 0 then asyncio.sleep(0) end
      end
      t.assertTrue(table.concat(parts) == text)
    end, { near = { limit = 32 } })
  end)
end

function TestPausedReading:test_still_sees_a_line_that_follows_a_full_buffer()
  local text = ("x"):rep(100)
  fed(text, function(reader, peer)
    t.until_blocked() -- the buffer is above twice the limit: reading pauses
    peer:send "line\n"
    t.assertEquals(reader:readexactly(100), text)
    t.assertEquals(reader:readline(), "line\n")
  end, { limit = 8 })
end

TestResetAfterData = {}

function TestResetAfterData:test_gives_the_data_first_and_then_the_error()
  fed("data", function(reader, peer)
    t.until_blocked()
    peers.reset(peer)
    t.until_blocked()
    t.assertEquals(reader:read(100), "data")
    for _ = 1, 2 do
      local err = t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 100)
      t.assertEquals(err.code, "ECONNRESET")
    end
  end)
end

function TestResetAfterData:test_gives_whole_lines_first_and_keeps_half_a_line()
  fed("one\ntwo\nhalf", function(reader, peer)
    t.until_blocked()
    peers.reset(peer)
    t.until_blocked()
    t.assertEquals(reader:readline(), "one\n")
    t.assertEquals(reader:readline(), "two\n")
    t.assert_raises(asyncio.ConnectionResetError, reader.readline, reader)
    t.assert_raises(asyncio.ConnectionResetError, reader.readexactly, reader, 10)
    t.assert_raises(asyncio.ConnectionResetError, reader.readuntil, reader, ";")
    t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, -1)
    t.assertEquals(reader:read(100), "half")
    t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 100)
  end)
end

function TestResetAfterData:test_wakes_a_task_that_reads()
  for name, way in pairs(WAYS) do
    fed("abc", function(reader, peer)
      local task = asyncio.create_task(way, reader)
      asyncio.sleep(0.005)
      peers.reset(peer)
      local err = t.assert_raises(asyncio.ConnectionResetError, asyncio.await, task)
      t.assertStrContains(tostring(err), "127.0.0.1", name)
    end)
  end
end

TestOwnClose = {}

function TestOwnClose:test_ends_a_read_that_waits()
  for _, how in ipairs { "close", "abort" } do
    fed("", function(reader, _, writer)
      local task = asyncio.create_task(reader.read, reader, 1)
      asyncio.sleep(0)
      writer[how](writer)
      t.assertNil(asyncio.await(task))
      t.assertNil(reader:readline())
    end)
  end
end

TestBudget = {}

--- Counts the turns that another task gets while fn runs.
local function turns_during(fn)
  local turns, over = 0, false
  local ticker = asyncio.create_task(function()
    while not over do
      turns = turns + 1
      asyncio.sleep(0)
    end
  end)
  asyncio.sleep(0)
  local before = turns
  fn()
  local during = turns - before
  over = true
  asyncio.await(ticker)
  return during
end

local READS = {
  readline = function(reader) return reader:readline() end,
  readuntil = function(reader) return reader:readuntil "\n" end,
  readexactly = function(reader) return reader:readexactly(2) end,
  read = function(reader) return reader:read(2) end,
  lines = function(reader) return reader:lines()() end,
  blocks = function(reader) return reader:blocks(2)() end,
}

function TestBudget:test_buffered_input_does_not_starve_the_others()
  for name, read in pairs(READS) do
    fed(("x\n"):rep(6000), function(reader)
      t.assertNotNil(read(reader))
      t.until_blocked()
      local during = turns_during(function()
        for _ = 1, 5000 do read(reader) end
      end)
      t.assertTrue(during >= 20, ("%s: %d turns"):format(name, during))
    end)
  end
end

function TestBudget:test_a_loop_that_never_has_to_wait_can_be_cancelled_and_has_taken_nothing_more()
  for name, read in pairs(READS) do
    fed(("x\n"):rep(6000), function(reader)
      local taken = 0
      t.until_blocked()
      local task = asyncio.create_task(function()
        while true do
          read(reader)
          taken = taken + 1
        end
      end)
      asyncio.sleep(0)
      t.assertTrue(taken > 0 and taken < 6000, ("%s: %d"):format(name, taken))
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertEquals(#reader:read(20000), 12000 - 2 * taken, name)
    end)
  end
end

TestImpossible = {}

function TestImpossible:test_a_read_that_cannot_wait_leaves_the_next_as_it_was()
  t.real(function()
    peers.pair(function(reader, _, _, peer)
      t.assertErrorMsgContains("cannot wait", string.gsub, "x", "x", function() reader:read(5) end)
      local task = asyncio.create_task(function() return reader:readline() end)
      asyncio.sleep(0)
      peer:send "hello "
      t.until_blocked()
      peer:send "world\n"
      t.assertEquals(asyncio.await(task), "hello world\n")
    end)
  end)
end

t.finish()
