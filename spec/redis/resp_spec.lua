-- Redis' protocol, without anybody at the other end: bytes into values, commands into bytes.
local t = require "helper"
local grammar = require "asyncio.grammar"

TestValues = {}
TestBrokenProtocol = {}
TestArrivals = {}
TestCommands = {}

--- A value in words, lists with their n, errors as such.
local function shown(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  if getmetatable(value) then return ("error(%s, %s)"):format(value.code, value.message) end
  local parts, keys = {}, {}
  if value.n then
    for i = 1, value.n do parts[i] = shown(value[i]) end
    return "[" .. table.concat(parts, " ") .. "]"
  end
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return shown(a) < shown(b) end)
  for i, key in ipairs(keys) do parts[i] = shown(key) .. "=" .. shown(value[key]) end
  return "{" .. table.concat(parts, " ") .. "}"
end

--- All that a parser says of a text that arrives in pieces of so many bytes.
local function told(text, size)
  local parser, out, at = grammar.resp(), {}, 1
  size = size or #text
  while true do
    local kind, value, where = parser:next()
    if not kind then
      if at > #text then return table.concat(out, " ") end
      parser:feed(text:sub(at, at + size - 1))
      at = at + size
    else
      out[#out + 1] = kind == "reply" and shown(value) or ("%s:%s"):format(kind, shown(value))
      if kind == "error" then return table.concat(out, " ") .. "@" .. where end
    end
  end
end

function TestValues:test_are_those_of_the_second_version()
  t.assertEquals(told "+OK\r\n:12\r\n:-9223372036854775808\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*-1\r\n+\r\n",
    [["OK" 12 -9223372036854775808 "a\13\]] .. "\n" .. [[bc" "" nil nil ""]])
end

function TestValues:test_have_lists_with_their_number_since_nil_may_be_last()
  t.assertEquals(told "*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$-1\r\n*0\r\n", [=[[1 ["a" []] nil] []]=])
end

function TestValues:test_are_those_of_the_third_version()
  t.assertEquals(told("%2\r\n+k\r\n:1\r\n:7\r\n*0\r\n~2\r\n#t\r\n#f\r\n,1.5\r\n,10\r\n,-inf\r\n,1e-7\r\n_\r\n"),
    [[{"k"=1 7=[]} [true false] 1.5 10.0 -inf 1e-07 nil]])
  t.assertEquals(told "(-123456789012345678901234567890\r\n=7\r\ntxt:a\r\n\r\n%0\r\n",
    [["-123456789012345678901234567890" "a\13\]] .. "\n" .. [[" {}]])
end

function TestValues:test_can_be_no_number()
  local parser = grammar.resp()
  parser:feed ",nan\r\n"
  local _, value = parser:next()
  t.assertTrue(value ~= value)
end

function TestValues:test_leave_attributes_away_wherever_they_stand()
  t.assertEquals(told "|1\r\n+ttl\r\n*2\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n*2\r\n+x\r\n|0\r\n+y\r\n:7\r\n",
    [=[["x" "y"] 7]=])
end

function TestValues:test_tell_pushes_from_replies()
  t.assertEquals(told ">2\r\n+message\r\n*1\r\n:1\r\n+OK\r\n", [=[push:["message" [1]] "OK"]=])
end

function TestValues:test_keep_errors_apart_with_their_codes()
  t.assertEquals(told "-WRONGTYPE no\r\n-ERR\r\n-no code\r\n!9\r\nBUSY a\r\nb\r\n*1\r\n-MY_ERR2 x\r\n",
    "error(WRONGTYPE, WRONGTYPE no) error(ERR, ERR) error(ERR, no code) error(BUSY, BUSY a\r\nb)"
    .. " [error(MY_ERR2, MY_ERR2 x)]")
end

function TestValues:test_have_the_class_that_errors_are_to_have()
  local class = {}
  local parser = grammar.resp(class)
  parser:feed "-ERR x\r\n"
  local _, err = parser:next()
  t.assertTrue(getmetatable(err) == class)
end

function TestValues:test_fill_a_list_without_its_owners_asking_for_each()
  local parser, list = grammar.resp(), {}
  parser:feed "+a\r\n$-1\r\n+c\r\n+d"
  t.assertEquals({ parser:fill(list, 1, 2) }, { 3 })
  t.assertEquals({ parser:fill(list, 3, 5) }, { 4 })
  t.assertEquals({ list[1], list[2], list[3], list[4] }, { "a", nil, "c" })
  parser:feed "\r\n>1\r\n+p\r\nx"
  local i, kind, push = parser:fill(list, 4, 5)
  t.assertEquals({ i, kind, push[1], list[4] }, { 5, "push", "p", "d" })
  t.assertEquals({ parser:fill(list, 5, 5) }, { 5, "error", "a byte that no value begins with", 25 })
end

function TestValues:test_of_one_reply_may_be_128_deep()
  local text = ("*1\r\n"):rep(128) .. ":1\r\n"
  t.assertEquals(told(text), ("["):rep(128) .. "1" .. ("]"):rep(128))
  t.assertEquals(told("*1\r\n" .. text), [[error:"more than 128 lists within each other"@512]])
end

local BROKEN = {
  { "x\r\n", "a byte that no value begins with" }, { "\0", "a byte that no value begins with" },
  { "+a\n", "a line that ends without CR" }, { "+a\rb\r\n", "a CR within a line" },
  { "+" .. ("a"):rep(70000), "a line without an end" },
  { ":\r\n", "an integer that is none" }, { ":01\r\n", "an integer that is none" },
  { ":--1\r\n", "an integer that is none" }, { ": 1\r\n", "an integer that is none" },
  { ":9223372036854775808\r\n", "an integer that is none" },
  { "$-2\r\n", "a length that is no number" }, { "$+1\r\na\r\n", "a length that is no number" },
  { "*1x\r\n", "a length that is no number" }, { "$99999999999999999999\r\n", "a length that is no number" },
  { "$2\r\nabc\r\n", "a string that goes on behind its length" },
  { "$2\r\nab\rx", "a string that goes on behind its length" },
  { "$?\r\n", "a streamed string: its length is not known, which no Redis sends" },
  { "*?\r\n", "a streamed list: its length is not known, which no Redis sends" },
  { "#x\r\n", "a boolean that is none" }, { "#tt\r\n", "a boolean that is none" },
  { ",1.\r\n", "a double that is none" }, { ",0x10\r\n", "a double that is none" },
  { ",\r\n", "a double that is none" },
  { "(1a\r\n", "a big number that is none" }, { "_x\r\n", "a null with something in it" },
  { "=3\r\nabc\r\n", "a verbatim string that doesn't say what it is" },
  { ">0\r\n", "a push of nothing" }, { "*1\r\n>1\r\n+a\r\n", "a push within a reply", 4 },
  { "|0\r\n>1\r\n+a\r\n", "an attribute of a push", 4 },
  { "%1\r\n_\r\n:1\r\n", "a map with a key that is null or no number", 4 },
  { "%1\r\n,nan\r\n:1\r\n", "a map with a key that is null or no number", 4 },
}

function TestBrokenProtocol:test_is_told_in_words_and_where()
  for _, case in ipairs(BROKEN) do
    t.assertEquals(told(case[1]), ("error:%q@%d"):format(case[2], case[3] or 0))
    t.assertEquals(told("+OK\r\n" .. case[1], 1), ([["OK" error:%q@%d]]):format(case[2], (case[3] or 0) + 5))
  end
end

function TestBrokenProtocol:test_stays_broken()
  local parser = grammar.resp()
  parser:feed "x+OK\r\n"
  t.assertEquals(parser:next(), "error")
  parser:feed "+OK\r\n"
  t.assertEquals(parser:next(), "error")
  t.assertStrContains(tostring(parser), "broken")
end

--- An announcement is no reason to have memory.
function TestBrokenProtocol:test_gets_no_memory_for_what_it_announces()
  for _, text in ipairs { "*2000000000\r\n", "$2000000000\r\n", "%1000000000\r\n", "*1000000\r\n*1000000\r\n" } do
    local parser = grammar.resp()
    collectgarbage()
    local before = collectgarbage "count"
    parser:feed(text)
    t.assertNil(parser:next())
    t.assertTrue(collectgarbage "count" - before < 4)
  end
end

local ALL = "+OK\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n*3\r\n:1\r\n$-1\r\n*2\r\n+a\r\n-ERR no\r\n"
  .. "%2\r\n+k\r\n:1\r\n+l\r\n*0\r\n"
  .. "~1\r\n#t\r\n,1.5\r\n(12\r\n=7\r\ntxt:abc\r\n|1\r\n+x\r\n*1\r\n+y\r\n:7\r\n>2\r\n+message\r\n+hi\r\n"
  .. "_\r\n!5\r\nERR a\r\n"
  .. "%1\r\n*1\r\n:1\r\n*1\r\n:2\r\n*2\r\n|1\r\n+ttl\r\n:3\r\n+a\r\n+b\r\n*0\r\n$3\r\nabc\r\n"

function TestArrivals:test_of_any_size_make_the_same()
  local whole = told(ALL):gsub("%[1%]=", "[1]=")
  for size = 1, #ALL do t.assertEquals(told(ALL, size), whole) end
end

function TestArrivals:test_in_thousands_make_one_large_string()
  local parser, text = grammar.resp(), ("0123456789"):rep(20000)
  local stream = ("*2\r\n$200000\r\n%s\r\n$200000\r\n%s\r\n+b"):format(text, text)
  for at = 1, #stream, 1000 do
    if at > 1 then t.assertNil(parser:next()) end
    parser:feed(stream:sub(at, at + 999))
  end
  local _, list = parser:next()
  t.assertTrue(list[1] == text and list[2] == text)
  t.assertEquals({ parser:pending() }, { 2, true })
end

function TestArrivals:test_know_whether_they_end_between_replies()
  local parser = grammar.resp()
  parser:feed "+a\r\n*1\r\n"
  t.assertEquals({ parser:pending() }, { 8, true })
  parser:next()
  parser:next()
  t.assertEquals({ parser:pending() }, { 0, false })
end

function TestCommands:test_are_lists_of_strings()
  t.assertEquals(grammar.resp_encode("SET", "k", "a\r\nb", ""),
    "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n$0\r\n\r\n")
  t.assertEquals(grammar.resp_encode(("x"):rep(5000)), "*1\r\n$5000\r\n" .. ("x"):rep(5000) .. "\r\n")
end

--- Redis reads them back as the same numbers.
function TestCommands:test_write_numbers_as_short_as_they_can_be()
  local function text(number) return grammar.resp_encode(number):match "\n([^\r]*)\r\n$" end
  t.assertEquals(text(1 // 1), "1")
  t.assertEquals(text(math.mininteger), "-9223372036854775808")
  t.assertEquals(text(3.0), "3")
  t.assertEquals(text(0.1), "0.1")
  t.assertEquals(text(0.1 + 0.2), "0.30000000000000004")
  t.assertEquals(text(1e300), "1e+300")
  t.assertEquals(text(-math.huge), "-inf")
end

function TestCommands:test_say_which_value_can_be_none()
  t.assertEquals({ grammar.resp_encode("SET", "k", {}) }, { nil, 3 })
  t.assertEquals({ grammar.resp_encode("SET", 0 / 0) }, { nil, 2 })
  t.assertEquals({ grammar.resp_encode("SET", true, nil) }, { nil, 2 })
  t.assertFalse(pcall(grammar.resp_encode))
end

function TestCommands:test_can_be_written_all_at_once()
  local one, other = grammar.resp_encode("GET", "k"), grammar.resp_encode("SET", "k", 1.5)
  t.assertEquals(grammar.resp_encode_all { { "GET", "k" }, { n = 3, "SET", "k", 1.5 } }, one .. other)
  t.assertEquals(grammar.resp_encode_all {}, "")
  t.assertEquals({ grammar.resp_encode_all { { "GET", "k" }, { "SET", false } } }, { nil, 2, 2 })
  t.assertEquals({ grammar.resp_encode_all { {} } }, { nil, 1, 1 })
end

function TestCommands:test_are_replies_of_the_same_strings()
  local words = {}
  for i = 0, 255 do words[i + 1] = string.char(i):rep(i) end
  local parser = grammar.resp()
  parser:feed(grammar.resp_encode(table.unpack(words)))
  local _, list = parser:next()
  t.assertEquals(list.n, 256)
  for i, word in ipairs(words) do t.assertTrue(list[i] == word) end
end

t.finish()
