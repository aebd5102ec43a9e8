-- WebSocket's frames without input and output: what asyncio.parsers.websocket reads and writes. The cases are the
-- Autobahn test suite's categories 1 to 7 and 9 to 10, as far as they are about frames.
local t = require "helper"
local parsers = require "asyncio.parsers"

local FIN = 0x80
local CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
local MASK = "\x01\x80\xFE\x37"

local function masked(data)
  return (data:gsub("()(.)", function(at, c)
    return string.char(c:byte() ~ MASK:byte((at - 1) % 4 + 1))
  end))
end

--- A client's frame, by hand. opts: fin=false, rsv, length (as announced), bytes (of the length), bare (no mask)
local function frame(opcode, data, opts)
  opts = opts or {}
  local first = (opts.fin == false and 0 or FIN) | (opts.rsv or 0) | opcode
  local n = opts.length or #data
  local mask = opts.bare and 0 or 0x80
  local bytes = opts.bytes or (n < 126 and 1 or n < 65536 and 2 or 8)
  local length = bytes == 1 and string.char(mask | n) or bytes == 2 and (">BI2"):pack(mask | 126, n)
    or (">BI8"):pack(mask | 127, n)
  return string.char(first) .. length .. (opts.bare and data or MASK .. masked(data))
end

--- All events, a list of lists. step: bytes at a time
local function read(bytes, opts, step)
  opts = opts or {}
  local connection = parsers.websocket { role = opts.role or "server", max_message = opts.max_message }
  local events = {}
  step = step or math.max(#bytes, 1)
  for at = 1, #bytes, step do
    local event = table.pack(connection:feed(bytes:sub(at, at + step - 1)))
    while event[1] do
      events[#events + 1] = { table.unpack(event, 1, event.n) }
      if event[1] == "error" then return events end
      event = table.pack(connection:next())
    end
  end
  return events
end

local function close(code, reason) return frame(CLOSE, (">I2"):pack(code) .. (reason or "")) end

--- The bytes give these events, at once and byte by byte.
local function expect(bytes, events, opts)
  t.assertEquals(read(bytes, opts), events)
  t.assertEquals(read(bytes, opts, 1), events)
end

--- They are refused with that code, and with words about it.
local function refuse(bytes, code, words, opts)
  for _, step in ipairs { #bytes, 1, 3 } do
    local events = read(bytes, opts, step)
    local last = events[#events]
    t.assertEquals({ last[1], last[2] }, { "error", code })
    t.assertStrContains(last[3], words)
  end
end

TestMessages = {}

function TestMessages:test_of_all_lengths_come_whole()
  for _, n in ipairs { 0, 1, 125, 126, 127, 128, 65535, 65536, t.count(200000) } do
    local text = ("*"):rep(n)
    t.assertEquals(read(frame(TEXT, text)), { { "text", text } })
    t.assertEquals(read(frame(BINARY, text), nil, 997), { { "binary", text } })
  end
end

function TestMessages:test_come_byte_by_byte()
  expect(frame(TEXT, "héllo") .. frame(BINARY, "\0\xFF"), { { "text", "héllo" }, { "binary", "\0\xFF" } })
end

function TestMessages:test_of_fragments_are_joined_and_pings_between_them_are_heard()
  local bytes = frame(TEXT, "frag", { fin = false }) .. frame(PING, "between") .. frame(CONT, "", { fin = false }) ..
    frame(CONT, "ment")
  expect(bytes, { { "ping", "between" }, { "text", "fragment" } })
end

function TestMessages:test_of_empty_fragments_are_empty()
  expect(frame(BINARY, "", { fin = false }) .. frame(CONT, ""), { { "binary", "" } })
end

function TestMessages:test_of_a_server_come_unmasked()
  expect(frame(TEXT, "bare", { bare = true }), { { "text", "bare" } }, { role = "client" })
end

function TestMessages:test_are_read_as_they_were_written()
  local client, server = parsers.websocket { role = "client" }, parsers.websocket { role = "server" }
  for _, n in ipairs { 0, 1, 125, 126, 16384, 16385, 65536 } do
    local data = ("äb\0"):rep(n // 4) .. ("x"):rep(n - n // 4 * 4)
    t.assertEquals({ server:feed(client:frame("text", data)) }, { "text", data })
    t.assertEquals({ client:feed(table.concat { server:frame("binary", data) }) }, { "binary", data })
  end
end

function TestMessages:test_of_a_client_have_masks_that_differ()
  local client, seen = parsers.websocket { role = "client" }, {}
  for _ = 1, 50 do
    local mask = client:frame("text", "x"):sub(3, 6)
    t.assertNil(seen[mask])
    seen[mask] = true
  end
end

TestControlFrames = {}

function TestControlFrames:test_carry_up_to_125_bytes()
  local most = ("p"):rep(125)
  expect(frame(PING, "") .. frame(PONG, most), { { "ping", "" }, { "pong", most } })
  refuse(frame(PING, most .. "x"), 1002, "125 bytes")
  refuse(frame(CLOSE, (">I2"):pack(1000) .. most), 1002, "125 bytes")
end

function TestControlFrames:test_are_never_fragmented()
  for _, opcode in ipairs { CLOSE, PING, PONG } do refuse(frame(opcode, "", { fin = false }), 1002, "fragmented") end
end

function TestControlFrames:test_a_close_has_a_code_and_a_reason_or_neither()
  expect(frame(CLOSE, ""), { { "close", 1005, "" } })
  expect(close(1000, "bye"), { { "close", 1000, "bye" } })
  expect(close(4999, ("é"):rep(61) .. "e"), { { "close", 4999, ("é"):rep(61) .. "e" } })
  refuse(frame(CLOSE, "x"), 1002, "one byte")
end

function TestControlFrames:test_a_closes_code_must_be_one_that_may_be_sent()
  for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
    4999 } do
    expect(close(code), { { "close", code, "" } })
  end
  for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 } do
    refuse(close(code), 1002, "code")
  end
end

function TestControlFrames:test_a_reason_is_text()
  refuse(close(1000, "\xCE\xBA\xE1\xBD\xED\xA0\x80"), 1007, "reason")
end

function TestControlFrames:test_nothing_is_read_after_a_close()
  expect(close(1000) .. frame(TEXT, "late") .. frame(PING, "x") .. "\xFF\xFF", { { "close", 1000, "" } })
end

TestFramesAgainstTheRules = {}

function TestFramesAgainstTheRules:test_reserved_bits()
  for _, rsv in ipairs { 0x10, 0x20, 0x40, 0x70 } do
    refuse(frame(TEXT, "x", { rsv = rsv }), 1002, "reserved")
    refuse(frame(CLOSE, "", { rsv = rsv }), 1002, "reserved")
  end
end

function TestFramesAgainstTheRules:test_unknown_opcodes()
  for _, opcode in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do refuse(frame(opcode, ""), 1002, "opcode") end
end

function TestFramesAgainstTheRules:test_the_wrong_side_masks()
  refuse(frame(TEXT, "x", { bare = true }), 1002, "not masked")
  refuse(frame(TEXT, "x"), 1002, "is masked", { role = "client" })
end

function TestFramesAgainstTheRules:test_lengths_that_take_more_bytes_than_they_need()
  refuse(frame(TEXT, ("x"):rep(125), { bytes = 2 }), 1002, "few bytes")
  refuse(frame(TEXT, ("x"):rep(300), { bytes = 8 }), 1002, "few bytes")
  refuse(frame(BINARY, "x", { bytes = 8, length = math.mininteger }), 1002, "highest bit")
end

function TestFramesAgainstTheRules:test_fragments_out_of_order()
  refuse(frame(CONT, "x"), 1002, "no message has begun")
  refuse(frame(TEXT, "a") .. frame(CONT, "b", { fin = false }), 1002, "no message has begun")
  refuse(frame(TEXT, "a", { fin = false }) .. frame(TEXT, "b"), 1002, "inside of another")
  refuse(frame(TEXT, "a", { fin = false }) .. frame(BINARY, "b", { fin = false }), 1002, "inside of another")
end

function TestFramesAgainstTheRules:test_an_error_is_final()
  local connection = parsers.websocket { role = "server" }
  local first = { connection:feed(frame(3, "")) }
  t.assertEquals({ connection:feed(frame(TEXT, "x")) }, first)
  t.assertEquals({ connection:next() }, first)
end

TestText = {}

local GOOD = {
  "κόσμε", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBD", "\xF4\x8F\xBF\xBF", "\xF0\x90\x80\x80", "\u{FFFE}",
  "\0", ("abcdefgh"):rep(9) .. "é",
}
local BAD = {
  "\x80", "\xBF", "\xC0\xAF", "\xC1\x81", "\xE0\x80\xAF", "\xF0\x80\x80\xAF", "\xED\xA0\x80", "\xED\xBF\xBF",
  "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80", "\xFE", "\xFF", "\xC3\x28", "\xE2\x28\xA1",
  "\xE2\x82\x28", "\xF0\x28\x8C\xBC", ("abcdefgh"):rep(3) .. "\xFF",
}

function TestText:test_that_is_utf_8_comes_however_it_is_cut()
  for _, text in ipairs(GOOD) do
    expect(frame(TEXT, text), { { "text", text } })
    local parts = {}
    for i = 1, #text do parts[i] = frame(i == 1 and TEXT or CONT, text:sub(i, i), { fin = i == #text }) end
    expect(table.concat(parts), { { "text", text } })
  end
end

function TestText:test_that_is_not_is_refused()
  for _, text in ipairs(BAD) do refuse(frame(TEXT, text), 1007, "UTF-8") end
end

function TestText:test_that_ends_in_a_character_is_refused()
  for _, text in ipairs { "\xC3", "\xE2\x82", "\xF0\x90\x80" } do
    refuse(frame(TEXT, text), 1007, "middle of a character")
  end
end

function TestText:test_is_refused_as_soon_as_no_text_can_go_on_so()
  local connection = parsers.websocket { role = "server" }
  local bytes = frame(TEXT, "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90", { fin = false, length = 100 })
  t.assertNil(connection:feed(bytes:sub(1, -2)))
  t.assertEquals({ connection:feed(bytes:sub(-1)) }, { "error", 1007, "a text message is not UTF-8" })
end

function TestText:test_binary_messages_may_be_anything()
  for _, text in ipairs(BAD) do expect(frame(BINARY, text), { { "binary", text } }) end
end

TestFinalisers = {}

function TestFinalisers:test_that_use_the_connection_meanwhile_do_no_harm()
  local connection = parsers.websocket { role = "server" }
  local bytes = frame(BINARY, ("x"):rep(5000), { fin = false }) .. frame(CONT, "y") .. frame(PING, "p")
  local meta = { __gc = function() pcall(connection.feed, connection, bytes) end }
  for _ = 1, t.count(300) do
    setmetatable({}, meta)
    local ok, kind = pcall(connection.feed, connection, bytes)
    while ok and kind do ok, kind = pcall(connection.next, connection) end
    if not ok then t.assertStrContains(kind, "finaliser") end
    setmetatable({}, meta)
    local _, event = pcall(connection.next, connection)
    if event == "error" then connection = parsers.websocket { role = "server" } end
  end
  t.assertEquals(read(bytes), { { "binary", ("x"):rep(5000) .. "y" }, { "ping", "p" } })
end

TestLimits = {}

function TestLimits:test_a_message_is_refused_before_it_comes()
  local opts = { max_message = 10 }
  expect(frame(BINARY, ("x"):rep(10)), { { "binary", ("x"):rep(10) } }, opts)
  refuse(frame(BINARY, "", { length = 11 }), 1009, "max_message", opts)
  refuse(frame(BINARY, "", { length = 1 << 62 }), 1009, "max_message", opts)
end

function TestLimits:test_fragments_count_together()
  local opts = { max_message = 10 }
  local bytes = frame(TEXT, "12345", { fin = false }) .. frame(CONT, "67890")
  expect(bytes .. bytes, { { "text", "1234567890" }, { "text", "1234567890" } }, opts)
  refuse(frame(TEXT, "123456", { fin = false }) .. frame(CONT, "78901"), 1009, "max_message", opts)
end

TestWritten = {}

function TestWritten:test_frames_are_refused_that_the_peer_would_refuse()
  local connection = parsers.websocket { role = "client" }
  t.assertNil(connection:frame("text", "\xFF"))
  t.assertErrorMsgContains("125 bytes", connection.frame, connection, "ping", ("x"):rep(126))
  t.assertErrorMsgContains("1000 to 1003", connection.close, connection, 1005)
  t.assertErrorMsgContains("UTF-8", connection.close, connection, 1000, "\xFF")
  t.assertErrorMsgContains("123 bytes", connection.close, connection, 1000, ("x"):rep(124))
  t.assertErrorMsgContains("needs a code", connection.close, connection, nil, "why")
end

function TestWritten:test_a_close_is_read_again()
  local client, server = parsers.websocket { role = "client" }, parsers.websocket { role = "server" }
  t.assertEquals({ server:feed(client:close(3001, "für heute")) }, { "close", 3001, "für heute" })
  t.assertEquals({ client:feed(server:close()) }, { "close", 1005, "" })
end

function TestWritten:test_the_handshakes_answer_is_the_rfcs()
  t.assertEquals(parsers.websocket_accept "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
  for _, key in ipairs { "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j!Q==" } do
    t.assertNil(parsers.websocket_accept(key))
  end
end

function TestWritten:test_keys_are_random_and_good()
  local a, b = parsers.websocket_key(), parsers.websocket_key()
  t.assertNotEquals(a, b)
  t.assertNotNil(parsers.websocket_accept(a))
end

t.finish()
