-- The codec: what crosses between Lua states, what is refused, and that no bytes harm the decoder.
-- SPEC_SEED=n runs the fuzz with that seed alone. It asserts nothing: no bytes may crash the decoder.
local t = require "helper"
local asyncio = t.asyncio
local core = require "asyncio.core"
local encode, decode = core.codec_encode, core.codec_decode

--- n, or less where everything is slow; a collector that never rests is, too.
local function count(n) return os.getenv "SPEC_GC" == "incremental" and n // 20 or t.count(n) end

TestScalars = {}
TestTables = {}
TestFunctions = {}
TestNames = {}
TestErrorClasses = {}
TestRefusals = {}
TestOtherState = {}
TestMalformed = {}
TestMemory = {}
TestFuzz = {}

--- The values after one trip, within this state.
local function trip(...) return decode(encode(...), true) end

local function bits(x) return math.type(x) == "integer" and x or ("<d"):pack(x) end

-- scalars

function TestScalars:test_cross_as_they_are()
  t.assertEquals(table.pack(trip()), { n = 0 })
  t.assertEquals(table.pack(trip(nil)), { n = 1 })
  t.assertEquals(table.pack(trip(nil, true, false, nil)), { nil, true, false, nil, n = 4 })
end

function TestScalars:test_numbers_keep_their_kind_and_every_bit()
  local numbers = { 0, 0.0, -0.0, 1, 1.0, -1, math.maxinteger, math.mininteger, 2 ^ 53, 1e308, 5e-324, math.huge,
    -math.huge, 0 / 0, -(0 / 0), 0.1, math.pi, 127, 128, -128, -129, 255, 256, 1 << 31, 1 << 32, 1 << 62 }
  for i, x in ipairs(numbers) do
    local y = trip(x)
    t.assertEquals(math.type(y), math.type(x))
    t.assertEquals(bits(y), bits(x), "number " .. i)
  end
end

function TestScalars:test_strings_of_every_length_with_every_byte()
  local every = {}
  for i = 0, 255 do every[#every + 1] = string.char(i) end
  every = table.concat(every)
  for _, n in ipairs { 0, 1, 39, 40, 41, 62, 63, 64, 65, 127, 128, 129, 16383, 16384, 100000 } do
    local s = every:rep(n // 256 + 1):sub(1, n)
    t.assertTrue(trip(s) == s, "length " .. n)
  end
end

function TestScalars:test_a_long_string_is_sent_once()
  local long = ("x"):rep(10000)
  t.assertTrue(#encode(long, { long, [long] = long }) < 10200)
  local a, b = trip(long, { long, [long] = long })
  t.assertTrue(a == long and b[1] == long and b[long] == long)
end

function TestScalars:test_NULL_is_the_only_light_userdata()
  local null = decode("\2\4") -- one value, NULL
  if null == nil then t.skip "other tags" end
  t.assertEquals(type(null), "userdata")
  t.assertTrue(trip(null) == null and trip({ null })[1] == null)
end

function TestScalars:test_many_values()
  local many = {}
  for i = 1, 10000 do many[i] = i end
  t.assertEquals({ trip(table.unpack(many)) }, many)
end

-- tables

function TestTables:test_array_and_hash()
  local x = { 1, "two", 3.5, true, a = 1, [10] = "ten", [-1] = "minus", [1.5] = "half", [true] = "yes", [false] = 0 }
  t.assertEquals(trip(x), x)
  t.assertEquals(trip {}, {})
  t.assertEquals(trip { {}, { {} } }, { {}, { {} } })
end

function TestTables:test_keep_their_length_with_holes_and_without()
  local function grown(...)
    local x = {}
    for _, k in ipairs { ... } do x[k] = k end
    return x
  end
  local tables = { {}, { 1 }, { 1, nil, 3 }, { nil, nil, 3 }, { 1, nil }, { n = 2, nil, 2 }, grown(5), grown(3, 2, 1),
    grown(1, 2, 4, 8, 16, 32), grown(1 << 40), grown(1, 1 << 20), table.pack(nil, nil, nil, 4), grown(-1, 0, 1) }
  for i, x in ipairs(tables) do
    local y = trip(x)
    if not t.lua55 then t.assertEquals(#y, #x, "length of " .. i) end -- with holes, 5.5 promises less
    t.assertEquals(y, x)
  end
end

function TestTables:test_that_are_nearly_empty_are_small_messages()
  local x = { table.unpack({}, 1, 10000) }
  x[10000] = "last"
  t.assertTrue(#encode(x) < 100)
  t.assertEquals(trip(x)[10000], "last")
end

function TestTables:test_with_a_border_at_the_end_of_the_integers_cost_nothing()
  local x = {}
  for i = 0, 62 do x[1 << i] = i end
  t.assertEquals(trip(x), x)
end

function TestTables:test_shared_and_cyclic()
  local a, b = {}, {}
  a.self, a.b, b.a, a[a], a.list = a, b, a, b, { a, b, a, b }
  local c, d = trip(a, b)
  t.assertTrue(c.self == c and c.b == d and d.a == c and c[c] == d)
  t.assertTrue(c.list[1] == c and c.list[2] == d and c.list[3] == c and c.list[4] == d)
  t.assertFalse(c == a)
end

function TestTables:test_as_keys()
  local key = { 1 }
  local x, y = trip({ [key] = "value", [{ 2 }] = key }, key)
  t.assertEquals(x[y], "value")
  t.assertEquals(y, { 1 })
end

function TestTables:test_a_thousand_deep_and_no_deeper()
  local function chain(n)
    local list
    for _ = 1, n do list = { next = list } end
    return list
  end
  local list, n = trip(chain(1000)), 0
  while list do list, n = list.next, n + 1 end
  t.assertEquals(n, 1000)
  for _, deep in ipairs { chain(1001), chain(100000) } do
    local err = t.error_of(encode, 1, deep)
    t.assertStrContains(err, "cannot send a table nested more than 1000 deep at argument 2.next.next")
    t.assertTrue(#err < 600 and err:sub(-3) == "...")
  end
end

function TestTables:test_metamethods_are_not_called_and_finalisers_change_nothing()
  local class = asyncio.Error:subclass "Hooked"
  local function hook() error "called" end
  for _, event in ipairs { "__index", "__newindex", "__pairs", "__len", "__eq", "__call" } do class[event] = hook end
  local err = setmetatable({ message = "x" }, class)
  local ok, bytes = pcall(encode, err)
  t.assertTrue(ok, bytes)
  t.assertEquals(rawget(decode(bytes, true), "message"), "x")
end

function TestTables:test_changed_by_finalisers_while_they_are_sent()
  local shared, stop = {}, false
  local function spoil()
    setmetatable({}, { __gc = function()
      if stop then return end
      for k in pairs(shared) do shared[k] = nil end
      for _ = 1, 50 do shared[math.random(1000)] = { { {} }, ("x"):rep(math.random(100)) } end
      spoil()
    end })
  end
  for _ = 1, 5 do spoil() end
  for _ = 1, count(2000) do
    shared[math.random(1000)] = { math.random(), { math.random(9) } }
    t.assertEquals(type(trip(shared)), "table")
  end
  stop = true
end

-- functions

function TestFunctions:test_with_upvalues_by_value()
  local list, n = { 1 }, 2
  local function f(x)
    n = n + 1
    return list, n + x
  end
  local g = trip(f)
  t.assertEquals({ g(10) }, { { 1 }, 13 })
  t.assertEquals({ g(10) }, { { 1 }, 14 })
  t.assertFalse((g(1)) == list)
  t.assertEquals(n, 2)
end

function TestFunctions:test_upvalues_shared_by_two_stay_shared()
  local n = 0
  local function up() n = n + 1 return n end
  local function get() return n end
  local function pair(x) return { up, get, x } end
  local up2, got, all = trip(up, { nested = { get } }, pair)
  up2() up2()
  t.assertEquals(got.nested[1](), 2)
  local trio = all(7)
  t.assertTrue(trio[1] == up2 and trio[3] == 7)
  t.assertEquals(n, 0)
end

function TestFunctions:test_recursive_ones()
  local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
  t.assertEquals(trip(fib)(15), 610)
  local even, odd
  function even(n) return n == 0 or odd(n - 1) end
  function odd(n) return n ~= 0 and even(n - 1) end
  local even2, odd2 = trip(even, odd)
  t.assertTrue(even2(10) and odd2(7) and not odd2(10))
end

function TestFunctions:test_the_globals_wherever_they_stand()
  local x, y = 1, 2
  local function first() return tostring(x + y) end
  local function last() return x + y, tostring(x) end
  t.assertEquals(trip(first)(), "3")
  t.assertEquals({ trip(last)() }, { 3, "1" })
  t.assertTrue(trip(_G) == _G and trip({ _G })[1] == _G)
end

function TestFunctions:test_another_ENV_is_a_table_like_any()
  local function make()
    local _ENV = { value = 5 } -- luacheck: ignore
    return function()
      value = value + 1 -- luacheck: ignore
      return value -- luacheck: ignore
    end
  end
  local f = make()
  local g = trip(f)
  t.assertEquals({ g(), g(), f() }, { 6, 7, 6 })
end

function TestFunctions:test_of_every_size()
  t.assertEquals(trip(load "return ...")(1, nil, 3), 1)
  t.assertEquals(select("#", trip(load "")()), 0)
  local code = {}
  for i = 1, 250 do code[i] = ("local v%d = %d"):format(i % 100, i) end
  for i = 1, 100 do code[#code + 1] = ("local function f%d(x) return x + %d end"):format(i, i) end
  local big = load("do " .. table.concat(code, " ", 1, 90) .. " end return function() return 42 end")()
  t.assertEquals(trip(big)(), 42)
  local names, sum = {}, {}
  for i = 1, 120 do names[i], sum[i] = "local u" .. i .. " = " .. i, "u" .. i end
  local code_of_many = { table.concat(names, " "), "return function() return", table.concat(sum, "+"), "end" }
  local many = load(table.concat(code_of_many, " "))()
  t.assertEquals(trip(many)(), 7260)
end

function TestFunctions:test_stripped_ones_and_an_upvalue_that_is_nil_first()
  local nothing = nil
  local function f() return nothing end
  t.assertNil(trip(f)())
  t.assertEquals(trip(load(string.dump(load "return 7", true), "x", "b"))(), 7)
end

function TestFunctions:test_twice_in_a_message_are_one()
  local function f() return 1 end
  local a, b = trip(f, { f })
  t.assertTrue(a == b[1] and a ~= f)
end

function TestFunctions:test_keep_their_line_numbers()
  local function fail() error "here" end
  local _, err = pcall(fail)
  local _, there = pcall(trip(fail))
  t.assertEquals(there, err)
end

-- names

function TestNames:test_modules_and_functions_in_them()
  for _, x in ipairs { string, io, os, table, math, coroutine, utf8, package, debug, asyncio, core, io.read, print,
    string.format, math.floor, coroutine.wrap, require, pcall, asyncio.run, asyncio.gather, asyncio.create_task,
    asyncio.coroutine, asyncio.coroutine.wrap, t } do
    t.assertTrue(trip(x) == x)
    t.assertTrue(trip({ { x } })[1][1] == x)
  end
end

function TestNames:test_are_sent_and_not_what_they_stand_for()
  t.assertTrue(#encode(asyncio) < 30)
  t.assertStrContains(encode(print), "_G")
  t.assertStrContains(encode(io.read), "io")
  t.assertStrContains(encode(asyncio.sleep), "asyncio\5sleep") -- not asyncio.core
end

function TestNames:test_of_a_module_that_was_loaded_a_moment_ago()
  local name, secret = "codec_spec_module", coroutine.create(print)
  local module = { f = function() return secret end }
  t.assertStrContains(t.error_of(encode, module), "cannot send a coroutine at argument 1.f upvalue \"secret\"")
  package.loaded[name] = module
  t.assertTrue(trip(module) == module)
  t.assertTrue(trip(module.f) == module.f)
  function module.late() return secret end -- put there later: found since it can't cross otherwise
  t.assertTrue(trip(module.late) == module.late)
  package.loaded[name] = { f = print }
  t.assertStrContains(t.error_of(encode, module.f), "upvalue \"secret\"")
  t.assertEquals(encode(print), encode(package.loaded[name].f)) -- a standard name is better
  package.loaded[name] = nil
  t.assertStrContains(t.error_of(encode, module.f), "upvalue \"secret\"")
end

function TestNames:test_no_longer_lead_to_what_was_replaced()
  local sqrt, floor = math.sqrt, math.floor
  trip(sqrt)
  math.sqrt = floor -- luacheck: ignore
  local err = t.error_of(encode, sqrt)
  math.sqrt = sqrt -- luacheck: ignore
  t.assertStrContains(err, "cannot send a C function at argument 1")
  t.assertTrue(trip(sqrt) == sqrt)
end

function TestNames:test_of_modules_that_are_functions_or_userdata()
  package.loaded.codec_spec_function = function() return coroutine.create(print) end
  package.loaded.codec_spec_file = io.stdout
  t.assertTrue(trip(package.loaded.codec_spec_function) == package.loaded.codec_spec_function)
  t.assertTrue(trip(io.stdout) == io.stdout)
  package.loaded.codec_spec_function, package.loaded.codec_spec_file = nil, nil
  t.assertStrContains(t.error_of(encode, io.stdout), "cannot send a FILE* at argument 1")
end

function TestNames:test_functions_of_the_script_are_no_names()
  function _G.codec_spec_global() return 8 end
  local f = trip(_G.codec_spec_global)
  t.assertTrue(f ~= _G.codec_spec_global)
  t.assertEquals(f(), 8)
  _G.codec_spec_global = nil
end

-- error classes

function TestErrorClasses:test_errors_keep_their_class_and_their_fields()
  local err = asyncio.IncompleteReadError { message = "short", partial = "ab", expected = 5 }
  local got = trip(err)
  t.assertTrue(getmetatable(got) == asyncio.IncompleteReadError)
  t.assertTrue(asyncio.isinstance(got, asyncio.Error) and not asyncio.isinstance(got, asyncio.TimeoutError))
  t.assertEquals({ got.partial, got.expected, tostring(got) }, { "ab", 5, tostring(err) })
  local group = trip(asyncio.ExceptionGroup("several", { err, err, "text" }))
  t.assertTrue(asyncio.isinstance(group.errors[1], asyncio.IncompleteReadError))
  t.assertTrue(group.errors[1] == group.errors[2])
  t.assertEquals(tostring(group:subgroup(asyncio.Error)), tostring(group:subgroup(asyncio.Error)))
end

function TestErrorClasses:test_classes_cross_as_values()
  for name, class in pairs(asyncio) do
    if type(class) == "table" and type(name) == "string" and rawget(class, "super") then
      t.assertTrue(trip(class) == class, name)
    end
  end
  local Mine = asyncio.TimeoutError:subclass "Mine"
  t.assertTrue(trip(Mine) == Mine)
  local make = trip(function(...) return Mine(...) end)
  t.assertTrue(getmetatable(make "x") == Mine)
end

function TestErrorClasses:test_that_hold_each_other()
  local Parent = asyncio.Error:subclass "Parent"
  local Child = Parent:subclass "Child"
  Parent.Child, Child.default = Child, Child "default"
  local got = trip { Child, Child "x", Parent "y" }
  t.assertTrue(got[1] == Child and getmetatable(got[2]) == Child and getmetatable(got[3]) == Parent)
end

function TestErrorClasses:test_their_ids_are_not_used_again()
  local seen = {}
  for _ = 1, 100 do
    local id = encode(asyncio.Error:subclass "Same")
    t.assertNil(seen[id])
    seen[id] = true
  end
end

function TestErrorClasses:test_of_something_else_are_no_error_classes()
  local class = asyncio.Error:subclass "Odd"
  class.super = {}
  t.assertStrContains(t.error_of(encode, setmetatable({}, class)), "cannot send a table at argument 1 class.super")
end

-- refusals

local function refusal(...) return (t.error_of(encode, ...):gsub("^[^:]*:%d+: ", "")) end

function TestRefusals:test_say_what_and_where()
  local co = coroutine.create(print)
  local lock = asyncio.Lock()
  local function deep() return co end
  local cases = {
    { "a coroutine at argument 1", co },
    { "a coroutine at argument 2", 1, co },
    { "a coroutine at argument 1.cb.x", { cb = { x = co } } },
    { "a coroutine at argument 1[3]", { 1, 2, co } },
    { "a coroutine at argument 1[-1][1.5][true][false]", { [-1] = { [1.5] = { [true] = { [false] = co } } } } },
    { "a coroutine at argument 1[\"a b\"][\"\"][\"1x\"]", { ["a b"] = { [""] = { ["1x"] = co } } } },
    { "a coroutine at argument 1[\"q\\\"\\\\\\010\\000\"]", { ["q\"\\\n\0"] = co } },
    { "a coroutine at argument 1.a_1.B", { a_1 = { B = co } } },
    { "a coroutine at argument 1[\"" .. ("x"):rep(40) .. "...\"]", { [("x"):rep(39) .. "x-"] = co } },
    { "a coroutine at argument 1 key", { [co] = 1 } },
    { "a coroutine at argument 1.m key.x[1]", { m = { [{ x = { co } }] = 1 } } },
    { "a coroutine at argument 1[table]", { [{}] = co } },
    { "a coroutine at argument 1 upvalue \"co\"", deep },
    { "a coroutine at argument 1.f upvalue \"deep\" upvalue \"co\"", { f = function() return deep() end } },
    { "a C function at argument 1", ("").gmatch("", "") },
    { "a FILE* at argument 1.file", { file = io.stdout } },
    { "an asyncio.Queue at argument 1.q", { q = asyncio.Queue() } },
    { "an asyncio.Lock at argument 1 upvalue \"lock\"", function() return lock end },
    { "a table with a metatable at argument 1.x", { x = setmetatable({}, {}) } },
    { "a coroutine at argument 1.co", asyncio.Error { message = "x", co = co } },
  }
  for _, case in ipairs(cases) do
    t.assertEquals(refusal(table.unpack(case, 2)), "cannot send " .. case[1])
  end
  local Mine = asyncio.Error:subclass "Mine"
  Mine.handler = co
  t.assertEquals(refusal { Mine "x" }, "cannot send a coroutine at argument 1[1] class.handler")
end

function TestRefusals:test_have_the_position_of_the_caller()
  local line = debug.getinfo(1, "l").currentline + 1
  local _, err = pcall(function() encode(coroutine.create(print)) end)
  t.assertStrContains(err, ("codec_spec.lua:%d: cannot send a coroutine"):format(line))
end

function TestRefusals:test_leave_nothing_behind()
  local junk = { ("x"):rep(1000), coroutine.create(print) }
  for _ = 1, count(2000) do pcall(encode, junk) end
  t.assertEquals(trip { 1 }, { 1 })
end

-- other states

local library

--- Another Lua state, with the same modules; skips the test where no compiler is.
local function other_state()
  if library == nil then
    local here, name = arg[0]:match "^(.*)/[^/]*$" or ".", os.tmpname()
    local built = os.execute(("%s -shared -fPIC -o '%s' '%s/state.c' %s >/dev/null 2>&1"):format(
      os.getenv "CC" or "cc", name, here, t.cflags))
    library = built and package.loadlib(name, "luaopen_state")
    os.remove(name)
  end
  if not library then t.skip "no compiler for another Lua state" end
  return library().new(package.path, package.cpath)
end

local PRELUDE = "local core = require 'asyncio.core' local encode, decode = core.codec_encode, core.codec_decode "

--- Runs the chunk in the other state, with the values as its `...`; what it returns comes back.
local function call_there(other, chunk, ...)
  local ok, bytes = other:run(PRELUDE .. "local function f(...) " .. chunk
    .. " end return encode(f(decode(..., true)))", encode(...))
  if not ok then error(bytes, 0) end
  return decode(bytes, true)
end

function TestOtherState:test_values_and_functions()
  local other <close> = other_state()
  local n = 40
  local function f(x) return string.format("%d", n + x), _G ~= nil, math.type(1.0) end
  t.assertEquals({ call_there(other, "local f, x = ... return f(x)", f, 2) }, { "42", true, "float" })
  t.assertEquals(call_there(other, "return (...)", { 1, { 2, -0.0 } }), { 1, { 2, -0.0 } })
end

function TestOtherState:test_globals_are_those_of_the_receiver()
  local other <close> = other_state()
  other:run "here = 'there'"
  t.assertEquals({ call_there(other, "local g, f = ... return g == _G, g.here, f()", _G,
    function() return here end) }, { true, "there", "there" }) -- luacheck: ignore
end

function TestOtherState:test_modules_are_required_when_they_lack()
  local other <close> = other_state()
  local gather = asyncio.gather
  local there, is_there, got = call_there(other, [[
    local before = package.loaded["asyncio.tasks"]
    return before == nil, (...) == require("asyncio").gather, ...]], gather)
  t.assertFalse(there) -- decoded before the chunk runs: it is loaded by then
  t.assertTrue(is_there and got == gather)
  package.loaded.codec_spec_absent = { f = function() end }
  t.assertStrContains(t.error_of(call_there, other, "", package.loaded.codec_spec_absent),
    "module 'codec_spec_absent' not found")
  t.assertStrContains(t.error_of(call_there, other, "", package.loaded.codec_spec_absent.f),
    "module 'codec_spec_absent' not found")
  package.loaded.codec_spec_absent = nil
  other:run "string.rep = nil"
  t.assertStrContains(t.error_of(call_there, other, "", string.rep), "the module 'string' has no function 'rep' here")
  other:run "require = nil"
  package.loaded.codec_spec_absent = { f = function() end }
  t.assertStrContains(t.error_of(decode, "\2\15\3foo", false), "the module 'foo' is not loaded here")
  package.loaded.codec_spec_absent = nil
end

function TestOtherState:test_errors_come_back_with_their_class()
  local other <close> = other_state()
  local Mine = asyncio.TimeoutError:subclass "Mine"
  local Below = Mine:subclass "Below"
  function Mine:hello() return "hello " .. self.message end
  local err = call_there(other, [[
    local asyncio = require "asyncio"
    local class, err = ...
    assert(asyncio.isinstance(err, class.super) and asyncio.isinstance(err, asyncio.TimeoutError))
    assert(getmetatable(err) == class and err:hello() == "hello x" and tostring(err) == "Below: x", tostring(err))
    assert(tostring(class) == "class asyncio.Below" and class ~= asyncio.TimeoutError)
    assert(class.super.super == asyncio.TimeoutError and class:subclass("X").super == class)
    kept = class
    return class("made there")]], Below, Below "x")
  t.assertTrue(getmetatable(err) == Below and asyncio.isinstance(err, asyncio.TimeoutError))
  t.assertEquals(err:hello(), "hello made there")
  t.assertTrue(call_there(other, "return getmetatable(...) == kept", Below "again")) -- made once
  t.assertTrue(call_there(other, "return kept") == Below)
end

function TestOtherState:test_classes_made_there_are_told_apart()
  local one <close> = other_state()
  local two <close> = other_state()
  local make = "local asyncio = require 'asyncio' Mine = Mine or asyncio.Error:subclass 'Mine' return Mine 'a'"
  local a, b, c = call_there(one, make), call_there(two, make), call_there(one, make)
  t.assertTrue(getmetatable(a) == getmetatable(c) and getmetatable(a) ~= getmetatable(b))
  t.assertTrue(asyncio.isinstance(a, asyncio.Error) and tostring(a) == "Mine: a")
  t.assertTrue(call_there(two, "return getmetatable(...) == Mine", b))
  t.assertFalse(call_there(two, "return getmetatable(...) == Mine", a))
  local through = call_there(one, "return ...", b) -- B, A, C, A
  t.assertTrue(getmetatable(through) == getmetatable(b))
end

-- bytes that no encoder made

function TestMalformed:test_bytes_raise()
  for _, bytes in ipairs { "", "\1", "\2", "\4\1", "\2\99", "\2\5", "\2\7\10abc", "\2\8", "\2\17" .. ("\0"):rep(8),
    "\255\255\255\255\255\255\255\255\255\255\255", ("\255"):rep(9) .. "\1", "\2\1\1",
    "\2\8" .. ("<I8I8"):pack(0, 1) .. "\1\2", "\2\8" .. ("<I8I8BdB"):pack(0, 1, 6, 0 / 0, 2) } do
    t.assertFalse((pcall(decode, bytes)), ("%q"):format(bytes))
    t.assertFalse((pcall(decode, bytes, true)), ("%q"):format(bytes))
  end
end

function TestMalformed:test_truncated_anywhere()
  local whole = encode({ 1, { x = "y" }, ("z"):rep(100) }, asyncio.Error "x", print, asyncio.Error:subclass "S")
  for i = 0, #whole - 1 do t.assertFalse((pcall(decode, whole:sub(1, i)))) end
  t.assertTrue((pcall(decode, whole)))
  t.assertFalse((pcall(decode, whole .. "\1")))
end

function TestMalformed:test_functions_are_refused_unless_trusted()
  local bytes = encode { { function() end } }
  t.assertStrContains(t.error_of(decode, bytes), "a function in a message that is not trusted")
end

function TestMalformed:test_counts_beyond_the_bytes_allocate_nothing()
  local huge = ("<I8I8"):pack(1 << 40, 1 << 40)
  t.assertStrContains(t.error_of(decode, "\2\8" .. huge), "malformed")
  local n = 100000 -- each table claims all bytes that are left
  local nested = {}
  for i = 1, 900 do nested[i] = "\8" .. ("<I8I8"):pack(n, 0) end
  collectgarbage()
  local before = collectgarbage "count"
  pcall(decode, "\2" .. table.concat(nested) .. ("\1"):rep(n))
  t.assertTrue(collectgarbage "count" - before < 20000)
end

function TestMalformed:test_depth_is_limited()
  local nested = ("\8" .. ("<I8I8"):pack(1, 0)):rep(100000)
  t.assertStrContains(t.error_of(decode, "\2" .. nested), "malformed")
end

-- memory

function TestMemory:test_running_out_of_it_while_decoding_loses_nothing()
  local other <close> = other_state()
  local Mine = asyncio.Error:subclass "Mine"
  local shared = { ("x"):rep(100) }
  local function f() return shared, Mine end
  local bytes = encode({ f, f, Mine "x", shared, print }, { a = { b = { c = shared } } })
  assert(other:run(PRELUDE .. "encode({}) function try(b) return decode(b, true) end try(...)", bytes))
  local before, failed, tries = other:bytes(), 0, 0
  repeat
    other:fail_after(tries)
    local ok, err = other:run("try(...)", bytes)
    other:fail_after(-1)
    if not ok then
      failed = failed + 1
      t.assertStrContains(err or "not enough memory", "not enough memory")
    end
    tries = tries + 1
  until ok
  t.assertTrue(failed > 10)
  t.assertTrue(other:bytes() < before + 2000)
end

-- fuzz

--- Values of all kinds, by chance; with functions or without. What was made before comes again now and then.
local function generator(seed, with_functions)
  math.randomseed(seed)
  local random, made, names = math.random, {}, 0
  local classes = { asyncio.Error, asyncio.TimeoutError, asyncio.OSError, asyncio.Error:subclass "Fuzzed" }
  classes[5] = classes[4]:subclass "Below"
  local named = { print, io.read, string, math.floor, asyncio, asyncio.gather, _G, asyncio.ClosedError, classes[5] }
  local value

  local function number()
    local kind = random(6)
    if kind == 1 then return random(-3, 3) end
    if kind == 2 then return random(0) end
    if kind == 3 then return ("<d"):unpack(("<I8"):pack(random(0))) end
    if kind == 4 then return random() end
    local odd = { math.huge, -math.huge, 0 / 0, -0.0, 0.0, math.maxinteger, math.mininteger, 1 << 53, 2.0 ^ 53 }
    return odd[random(#odd)]
  end

  local function text()
    local length = random(4) == 1 and random(0, 300) or random(0, 8)
    local s = {}
    for i = 1, length do s[i] = string.char(random(0, 255)) end
    return table.concat(s)
  end

  local function fill(x, depth)
    names = names + 1
    if random(2) == 1 then x.id = names end -- so that tables that are keys can be told apart
    for i = 1, random(0, 4) do x[i] = value(depth + 1) end
    for _ = 1, random(0, 4) do
      local k = random(3) == 1 and number() or text()
      if k == k then x[k] = value(depth + 1) end
    end
    if random(4) == 1 then x[{ id = "key " .. names }] = value(depth + 1) end
    return x
  end

  local function closures(depth)
    local a, b, c = value(depth + 1), value(depth + 1), nil
    local function one() return a, b, c end
    local function two(...) a, c = b, ... return one, tostring(a) end
    c = value(depth + 1)
    made[#made + 1] = two
    return random(2) == 1 and one or two
  end

  function value(depth)
    local kind = random(depth > 5 and 5 or 12)
    if kind == 1 then return random(2) == 1 end
    if kind == 2 then return nil end
    if kind == 3 then return number() end
    if kind == 4 then return text() end
    if kind <= 6 and #made > 0 then return made[random(#made)] end
    if kind == 7 then return named[random(#named)] end
    local x = {}
    if kind == 8 and with_functions then return closures(depth) end
    if kind == 9 then setmetatable(x, classes[random(#classes)]) end
    made[#made + 1] = x
    return fill(x, depth)
  end
  return value
end

local same

--- The key of y that is as k of x is; tables are told apart by their ids.
local function key_like(y, k)
  if type(k) ~= "table" or rawget(y, k) ~= nil then return k end
  for other in next, y do
    if type(other) == "table" and rawget(other, "id") == rawget(k, "id") then return other end
  end
end

local function same_tables(x, y, pairs_seen, path)
  if getmetatable(x) ~= getmetatable(y) then return false, path .. " metatable" end
  if rawlen(x) ~= rawlen(y) and not t.lua55 then return false, path .. " length" end
  local n, m = 0, 0
  for k, v in next, x do
    n = n + 1
    local other = key_like(y, k)
    if other == nil then return false, path .. " key " .. tostring(k) end
    local ok, where = same(v, rawget(y, other), pairs_seen, path .. "." .. tostring(k))
    if not ok then return false, where end
  end
  for _ in next, y do m = m + 1 end
  return n == m, path .. " number of keys"
end

local function same_functions(f, g, pairs_seen, path)
  if string.dump(f) ~= string.dump(g) then return false, path .. " code" end
  for i = 1, 255 do
    local name, x = debug.getupvalue(f, i)
    if not name then break end
    local id, other = debug.upvalueid(f, i), debug.upvalueid(g, i)
    if pairs_seen[id] == nil and pairs_seen[other] == nil then pairs_seen[id], pairs_seen[other] = other, id end
    if pairs_seen[id] ~= other then return false, path .. " variable " .. name end
    local _, y = debug.getupvalue(g, i)
    local ok, where = same(x, y, pairs_seen, path .. "^" .. name)
    if not ok then return false, where end
  end
  return true
end

--- Whether x and y are equal, sharing and cycles included: what is one object there is one here. Else where not.
function same(x, y, pairs_seen, path)
  if type(x) ~= type(y) or math.type(x) ~= math.type(y) then return false, path .. " kind" end
  if type(x) == "number" then return bits(x) == bits(y), path end
  if rawequal(x, y) then return true end
  if type(x) ~= "table" and type(x) ~= "function" then return false, path end
  if pairs_seen[x] or pairs_seen[y] then return pairs_seen[x] == y, path .. " sharing" end
  pairs_seen[x], pairs_seen[y] = y, x
  return (type(x) == "table" and same_tables or same_functions)(x, y, pairs_seen, path)
end

local function seeds(n)
  local one = tonumber(os.getenv "SPEC_SEED" or nil)
  return one or 1, one or n
end

function TestFuzz:test_random_values_are_equal_after_the_trip()
  local first, last = seeds(count(2000))
  for seed = first, last do
    local value = generator(seed, true)
    local x, y = value(0), value(0)
    local ok, c, d = pcall(trip, x, y)
    local equal, where = ok, c
    if ok then equal, where = same({ x, y }, { c, d }, {}, "") end
    if not equal then t.fail(("SPEC_SEED=%d: %s"):format(seed, where)) end
  end
end

--- The bytes with a few changes.
local function mutate(bytes, other)
  local random = math.random
  for _ = 1, random(4) do
    local i, kind = random(#bytes + 1), random(6)
    local head, tail = bytes:sub(1, i - 1), bytes:sub(i)
    if kind == 1 then bytes = head .. string.char(random(0, 255)) .. tail:sub(2) end
    if kind == 2 and #tail > 0 then bytes = head .. string.char(tail:byte() ~ (1 << random(0, 7))) .. tail:sub(2) end
    if kind == 3 then bytes = head .. tail:sub(random(10)) end
    if kind == 4 then bytes = head .. ("<I8"):pack(random(0) >> random(0, 63)) .. tail:sub(9) end
    if kind == 5 then bytes = head .. other:sub(random(#other)) end
    if kind == 6 then bytes = head .. string.char(random(1, 20)) .. tail end
  end
  return bytes
end

--- What came out can be worked with: it is walked, printed and sent again.
local function exercise(ok, ...)
  if not ok then return end
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    if type(x) == "table" then
      for _ in next, x do end
      pcall(tostring, x)
      pcall(asyncio.isinstance, x, asyncio.Error)
    end
    pcall(encode, x)
  end
end

function TestFuzz:test_no_bytes_crash_the_decoder()
  local first, last = seeds(count(300))
  local other = encode { 1, { 2, x = "y" }, asyncio.Error "z" }
  for seed = first, last do
    local value = generator(seed, seed % 4 == 0)
    local bytes = encode(value(0), value(0), value(0))
    for _ = 1, 80 do exercise(pcall(decode, mutate(bytes, other))) end
    other = bytes
  end
end

function TestFuzz:test_random_bytes()
  local random = math.random
  for _ = 1, count(20000) do
    local bytes = { string.char(random(1, 3) * 2) }
    for i = 2, random(40) do bytes[i] = string.char(random(4) == 1 and random(0, 255) or random(0, 19)) end
    exercise(pcall(decode, table.concat(bytes)))
  end
end

t.finish()
