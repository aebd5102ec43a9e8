-- MessagePack: values into bytes and back, what can't cross, and bytes that are none.
local t = require "helper"
local program = require "program"
local pack, unpack = t.asyncio.parsers.pack, t.asyncio.parsers.unpack

TestPack = {}
TestUnpack = {}
TestPackLimits = {}
TestPackAnything = {}
TestPackPeers = {}

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local function bytes(text) return (text:gsub("%s", ""):gsub("..", function(c) return string.char(tonumber(c,
  16)) end)) end

--- A value in words, in which an integer is no float, and tables have an order.
local function shown(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if math.type(value) == "float" then return ("float %a"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for k, v in pairs(value) do parts[#parts + 1] = ("[%s]=%s"):format(shown(k), shown(v)) end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

local function error_of(fn, ...)
  local err = t.error_of(fn, ...)
  return tostring(type(err) == "table" and err.message or err)
end

-- what is written ---------------------------------------------------------------------------------------------------

function TestPack:test_numbers_have_the_shortest_form()
  for number, expected in pairs {
    [0] = "00", [127] = "7f", [128] = "cc80", [255] = "ccff", [256] = "cd0100", [65535] = "cdffff",
    [65536] = "ce00010000", [0xFFFFFFFF] = "ceffffffff", [0x100000000] = "cf0000000100000000",
    [math.maxinteger] = "cf7fffffffffffffff", [-1] = "ff", [-32] = "e0", [-33] = "d0df", [-128] = "d080",
    [-129] = "d1ff7f", [-32768] = "d18000", [-32769] = "d2ffff7fff", [-2147483648] = "d280000000",
    [-2147483649] = "d3ffffffff7fffffff", [math.mininteger] = "d38000000000000000",
    [0.5] = "cb3fe0000000000000", [math.huge] = "cb7ff0000000000000",
  } do
    t.assertEquals(hex(pack(number)), expected)
    t.assertEquals(shown((unpack(bytes(expected)))), shown(number))
  end
  t.assertEquals(hex(pack(1.0)), "cb3ff0000000000000") -- no integer
end

function TestPack:test_strings_are_text_or_bytes()
  t.assertEquals({ hex(pack ""), hex(pack "a"), hex(pack "ü") }, { "a0", "a161", "a2c3bc" })
  t.assertEquals({ hex(pack "\xff"), hex(pack "\xed\xa0\x80") }, { "c401ff", "c403eda080" })
  for n, head in pairs { [31] = "bf", [32] = "d920", [255] = "d9ff", [256] = "da0100", [65535] = "daffff",
    [65536] = "db00010000" } do
    t.assertEquals(pack(("x"):rep(n)), bytes(head) .. ("x"):rep(n))
  end
  for n, head in pairs { [1] = "c401", [255] = "c4ff", [256] = "c50100", [65536] = "c600010000" } do
    t.assertEquals(pack(("\xff"):rep(n)), bytes(head) .. ("\xff"):rep(n))
  end
end

function TestPack:test_tables_are_lists_or_maps()
  t.assertEquals({ hex(pack {}), hex(pack { 1, 2 }), hex(pack { a = 1 }) }, { "90", "920102", "81a16101" })
  t.assertEquals({ hex(pack { [2] = 1 }), hex(pack { [1.5] = true }) }, { "810201", "81cb3ff8000000000000c3" })
  t.assertEquals({ hex(pack { [true] = false }), hex(pack { [0] = 1 }) }, { "81c3c2", "810001" })
  local list = {}
  for n = 1, 65536 do
    list[n] = n % 100
    if n == 15 then t.assertEquals(pack(list):byte(), 0x9F) end
    if n == 16 or n == 65535 then t.assertEquals(hex(pack(list):sub(1, 3)), ("dc%04x"):format(n)) end
  end
  t.assertEquals(hex(pack(list):sub(1, 5)), "dd00010000")
  list.x = 1
  t.assertEquals(hex(pack(list):sub(1, 5)), "df00010001")
end

function TestPack:test_a_list_with_a_hole_is_a_map_and_keeps_its_keys()
  for _, list in ipairs { { 1, nil, 3 }, { nil, 2 }, { 1, 2, nil, 4, x = 1 }, { [1] = 1, [1 << 40] = 2 } } do
    t.assertEquals(shown((unpack(pack(list)))), shown(list))
  end
  t.assertEquals(shown((unpack(pack { 1, 2, 3, n = 3 }))), shown { 1, 2, 3, n = 3 })
end

function TestPack:test_a_list_may_count_its_values()
  local list = { list = true }
  t.assertEquals(hex(pack(table.pack(1, nil, nil), list)), "9301c0c0")
  t.assertEquals(hex(pack({ 1, 2 }, list)), "920102")
  local back, next = unpack(pack(table.pack(nil, { 1 }, nil), list) .. "x", 1, list)
  t.assertEquals({ back.n, shown(back[2]), next }, { 3, "{[1]=1}", 6 })
  t.assertEquals((unpack(pack { n = "x" }, 1, list)), { n = "x" })
  t.assertStrContains(error_of(pack, 1, list), "list expected, got number")
end

function TestPack:test_what_is_no_value_is_told_with_its_place()
  local inner = {}
  inner.a = { b = inner }
  for what, value in pairs {
    ["a C function at value"] = print,
    ["a function at value.list[3].fn"] = { list = { 1, 2, { fn = function() end } } },
    ["a coroutine at value[\"a b\"]"] = { ["a b"] = coroutine.create(print) },
    ["a table with a metatable at value[1]"] = { setmetatable({}, {}) },
    ["a userdata at value.f"] = { f = io.stdout }, ["a table at value.x key"] = { x = { [{}] = 1 } },
    ["a function at value key"] = { [function() end] = 1 },
    ["a table that contains itself at value[1].a.b"] = { inner },
  } do
    t.assertStrContains(error_of(pack, value), "bad argument #1 to 'pack' (cannot pack " .. what)
  end
  t.assertStrContains(error_of(pack, { 1, nil, { x = print }, n = 3 }, { list = true }), "at value 3.x")
end

function TestPack:test_one_table_at_two_places_is_packed_twice()
  local one = { 1 }
  t.assertEquals(hex(pack { one, one, { one } }), "93910191019191" .. "01")
end

function TestPack:test_no_metamethod_runs()
  local names = setmetatable({}, { __pairs = error, __index = error, __len = error })
  t.assertStrContains(error_of(pack, names), "a table with a metatable at value")
end

-- what is read ------------------------------------------------------------------------------------------------------

function TestUnpack:test_reads_each_form_that_there_is()
  for text, expected in pairs {
    c0 = nil, c2 = false, c3 = true, cc01 = 1, cd0001 = 1, ce00000001 = 1, cf0000000000000001 = 1, d001 = 1,
    d1ffff = -1,
    d2ffffffff = -1, d3ffffffffffffffff = -1, ca3f800000 = 1.0, d90161 = "a", da000161 = "a", db0000000161 = "a",
    c40161 = "a", c5000161 = "a", c60000000161 = "a", ["dc000101"] = { 1 }, ["dd0000000101"] = { 1 },
    ["de0001a16101"] = { a = 1 }, ["df00000001a16101"] = { a = 1 }, ["a1ff"] = "\xff",
    ["82a161c0c302"] = { [true] = 2 },
  } do
    local value, next = unpack(bytes(text))
    t.assertEquals(shown(value), shown(expected), text)
    t.assertEquals(next, #text // 2 + 1)
  end
  t.assertEquals({ unpack(bytes "c0") }, { nil, 2 })
end

function TestUnpack:test_goes_on_behind_a_value()
  local all, at, got = pack(1) .. pack { 2 } .. pack "three", 1, {}
  while at <= #all do got[#got + 1], at = unpack(all, at) end
  t.assertEquals(got, { 1, { 2 }, "three" })
end

function TestUnpack:test_what_is_none_raises_an_error_that_says_where()
  for text, why in pairs {
    [""] = "an end where a value should begin, at byte 1", c1 = "a byte that means nothing, at byte 1",
    ["92c7"] = "an end inside of a list or map, at byte 1", ["91c7"] = "an extension, which is not read, at byte 2",
    d40100 = "an extension, which is not read, at byte 1", ["cd01"] = "an end inside of a number or a length",
    ["a261"] = "an end inside of a string", c4 = "an end inside of a number or a length",
    ["81a161"] = "an end inside of a list or map, at byte 2",
    ["8190c0"] = "a key that is a list or map, at byte 2", ["81c0c0"] = "a key that is nil, at byte 2",
    ["81cb7ff8000000000000c0"] = "a key that is no number, at byte 2",
    ["8201010102"] = "a key that was there before, at byte 4",
    ["82cb3ff00000000000000101" .. "02"] = "a key that was there before",
    cf8000000000000000 = "an integer of more than 63 bits",
  } do
    local err = t.assert_raises(t.asyncio.Error, unpack, bytes(text))
    t.assertStrContains(err.message, "these bytes are not MessagePack: " .. why)
  end
  t.assertStrContains(error_of(unpack, "\x01\xc1", 2), "at byte 2")
end

function TestUnpack:test_positions_are_in_the_string()
  for _, i in ipairs { 0, -1, 3, 1.5, "1" } do
    t.assertStrContains(error_of(unpack, "a", i), "bad argument #2 to 'unpack' (no position in a string of 1 bytes)")
  end
  t.assertStrContains(error_of(unpack, "a", 2), "an end where a value should begin, at byte 2")
end

-- limits ------------------------------------------------------------------------------------------------------------

local function nested(depth)
  local value = 1
  for _ = 1, depth do value = { value } end
  return value
end

function TestPackLimits:test_depth()
  t.assertEquals(shown((unpack(pack(nested(128))))), shown(nested(128)))
  t.assertStrContains(error_of(pack, nested(129)), "cannot pack a table nested more than 128 deep at value[1][1]")
  t.assertStrContains(error_of(unpack, ("\x91"):rep(129) .. "\x01"), "nested too deep, at byte 129")
  t.assertStrContains(error_of(pack, nested(3), { max_depth = 2 }), "nested more than 2 deep at value[1][1]")
  t.assertStrContains(error_of(unpack, pack(nested(3)), 1, { max_depth = 2 }), "nested too deep, at byte 3")
end

function TestPackLimits:test_size()
  local text = ("x"):rep(98)
  t.assertEquals(#pack(text, { max_size = 100 }), 100)
  for _, value in ipairs { text .. "x", { text }, nested(101), { ("x"):rep(50), ("x"):rep(50) } } do
    t.assertStrContains(error_of(pack, value, { max_size = 100 }), "the value takes more than 100 bytes")
  end
  t.assertEquals((unpack(pack(text), 1, { max_size = 100 })), text)
  t.assertStrContains(error_of(unpack, pack(text), 1, { max_size = 99 }), "a value of more than 99 bytes, at byte 1")
  t.assertEquals((unpack("\x01" .. ("\xc1"):rep(100), 1, { max_size = 10 })), 1) -- what is behind it doesn't count
end

function TestPackLimits:test_tables_that_would_be_large_when_written_out_end_soon()
  local value = {}
  for _ = 1, 100 do value = { value, value } end
  t.assertStrContains(error_of(pack, value, { max_size = 100000 }), "the value takes more than 100000 bytes")
  t.assertStrContains(error_of(pack, { n = 1 << 60 }, { list = true }), "the value takes more than 16777216 bytes")
end

function TestPackLimits:test_what_is_announced_takes_no_memory()
  local lists = ("\xdd\xff\xff\xff\xff"):rep(100)
  local honest = ("\xdc\x03\xe8"):rep(120) .. ("\xc0"):rep(2000) -- 1000 values in each, of which few come
  local maps, long = ("\x81\x01"):rep(50) .. "\xdf\xff\xff\xff\xff", "\xc6\xff\xff\xff\xffabc"
  for _, text in ipairs { lists, honest, maps, long } do
    t.collect()
    local before = collectgarbage "count"
    collectgarbage "stop"
    pcall(t.asyncio.parsers.unpack, text)
    local after = collectgarbage "count"
    collectgarbage "restart"
    t.assertTrue(after - before < 80, after - before)
  end
end

-- any values, any bytes ---------------------------------------------------------------------------------------------

local random = math.random

local function text()
  local s = {}
  for i = 1, random(3) == 1 and random(0, 300) or random(0, 6) do
    s[i] = string.char(random(random(2) == 1 and 127 or 255))
  end
  return table.concat(s)
end

local NUMBERS = { 0, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, -128, -129, math.maxinteger, math.mininteger,
  0.0, -0.0, 1.0, 0.1, math.huge, -math.huge, 0 / 0, 1e300, 2.0 ^ 53 }

local function number()
  local kind = random(3)
  if kind == 1 then return NUMBERS[random(#NUMBERS)] end
  return kind == 2 and random(0) or ("d"):unpack(("j"):pack(random(0)))
end

local function key(plain)
  local kind = random(plain and 2 or 4)
  if kind <= 2 then return kind == 1 and text() or random(2, 1 << 40) end
  if kind == 3 then return random(2) == 1 end
  local n = number()
  return n == n and n or 0
end

--- plain: with keys that are not the same in Python, as 1, 1.0 and True are
local function value(depth, plain)
  local kind = random(depth > 4 and 4 or 7)
  if kind <= 2 then return kind == 1 and text() or number() end
  if kind == 3 then return random(2) == 1 end
  if kind == 4 then return ("%d"):format(random(100)) end
  local new = {}
  for i = 1, kind == 5 and random(0, depth == 0 and 20 or 3) or 0 do new[i] = value(depth + 1, plain) end
  for _ = 1, kind >= 6 and random(0, depth == 0 and 20 or 3) or 0 do new[key(plain)] = value(depth + 1, plain) end
  return new
end

local function seeded()
  local seed = tonumber(os.getenv "SPEC_SEED") or os.time() + random(1 << 20)
  math.randomseed(seed)
  return ("SPEC_SEED=%d"):format(seed)
end

function TestPackAnything:test_arrives_as_it_was()
  local seed = seeded()
  for _ = 1, t.count(2000) do
    local one = value(0)
    local packed = pack(one)
    local back, next = unpack(packed)
    t.assertEquals(shown(back), shown(one), seed)
    t.assertEquals(next, #packed + 1, seed)
  end
end

function TestPackAnything:test_a_part_of_it_is_none()
  local seed = seeded()
  for _ = 1, t.count(100) do
    local packed = pack { value(0), value(0) }
    for n = 0, #packed - 1, #packed < 400 and 1 or 97 do
      t.assertStrContains(error_of(unpack, packed:sub(1, n)), "an end ", seed)
    end
  end
end

function TestPackAnything:test_other_bytes_are_a_value_or_an_error()
  local seed = seeded()
  for _ = 1, t.count(3000) do
    local packed, at = pack { value(0), value(0) }, 0
    at = random(#packed)
    packed = packed:sub(1, at - 1) .. string.char(random(0, 255)) .. packed:sub(at + 1)
    local ok, got, next = pcall(t.asyncio.parsers.unpack, packed)
    t.assertTrue(ok and next <= #packed + 1 or t.asyncio.isinstance(got, t.asyncio.Error), seed)
    if ok then t.assertEquals(shown((unpack(pack(got)))), shown(got), seed) end
  end
end

-- others ------------------------------------------------------------------------------------------------------------

local PYTHON = [[
import msgpack, struct, sys
data, out = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'wb')
unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, use_list=True)
unpacker.feed(data)
for value in unpacker: # text that is none would be an error
    out.write(msgpack.packb(value, use_bin_type=True))
for value in [None, 1.5, [b'', 'x' * 70000], {'a': [{}] * 17}, 2**63 - 1, -2**63,
              msgpack.packb(1.5, use_single_float=True)]:
    out.write(msgpack.packb(value, use_bin_type=True))
out.close()
]]

function TestPackPeers:test_python_reads_the_same_and_would_write_the_same()
  if not os.execute "/usr/bin/python3 -c 'import msgpack' 2>/dev/null" then
    t.skip "python3-msgpack is not installed"
  end
  local seed, values = seeded(), {}
  for i = 1, t.count(1000) do values[i] = pack(value(0, true)) end
  local all = table.concat(values)
  local script, from, to = program.file_with(PYTHON), program.file_with(all), program.file_with ""
  t.assertTrue(os.execute(("/usr/bin/python3 %s %s %s"):format(script, from, to)), seed)
  local file <close> = assert(io.open(to, "rb"))
  local got = file:read "a"
  for _, name in ipairs { script, from, to } do os.remove(name) end
  t.assertTrue(got:sub(1, #all) == all, seed)
  local at, others = #all + 1, {}
  for i = 1, 7 do others[i], at = unpack(got, at) end
  t.assertEquals(at, #got + 1)
  t.assertEquals(shown { table.unpack(others, 2, 7) },
    shown { 1.5, { "", ("x"):rep(70000) }, { a = (unpack("\xdc\x00\x11" .. ("\x90"):rep(17))) }, math.maxinteger,
      math.mininteger,
      "\xca\x3f\xc0\x00\x00" })
end

t.finish()
