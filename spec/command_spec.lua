-- command_spec.lua - the command `asyncio`: its options and what it runs. The REPL itself is repl_spec.lua's.
local t = require "helper"
local program = require "program"

TestOptionsOfTheCommand = {}
TestScript = {}
TestPrompts = {}
TestSubcommands = {}
TestShow = {}

local ROOT = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/.."
local LUA = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local COMMAND = LUA .. " " .. ROOT .. "/bin/asyncio"

--- What the command prints, its errors, its status. input: on standard input
local function run(arguments, input, environment)
  local source, err = program.file_with(input or ""), os.tmpname()
  local output, status = program.shell("%s %s %s <%s 2>%s", environment or "", COMMAND, arguments, source, err)
  local errors = t.unhurried(program.content(err))
  os.remove(source)
  os.remove(err)
  return output, errors, status
end

local function assert_prints(expected, ...)
  local output, errors, status = run(...)
  t.assertEquals({ output, errors, status }, { expected, "", 0 })
end

--- A file with a script; its name, and what removes it.
local function script(source)
  local name = program.file_with(source)
  return name, setmetatable({}, { __close = function() os.remove(name) end })
end

-- -e

function TestOptionsOfTheCommand:test_e_runs_a_text_that_may_await()
  assert_prints("slept\n", [[-e 'print(asyncio.sleep(0.001, "slept"))']])
  assert_prints("slept\n", [[-e'print(asyncio.sleep(0.001, "slept"))']])
end

function TestOptionsOfTheCommand:test_several_run_in_their_order_before_the_script()
  local name, _ <close> = script "print(x, asyncio.sleep(0.001, ...))"
  assert_prints("1\n2\ta\n", ("-e 'x = 1 print(x)' -e 'asyncio.sleep(0) x = x + 1' %s a"):format(name))
  assert_prints("2\ta\n", "-e 'x = 2' - a", "print(x, ...)")
end

function TestOptionsOfTheCommand:test_after_e_alone_nothing_is_read_from_standard_input()
  assert_prints("1\n", "-e 'print(1)'", "print 'never'")
end

function TestOptionsOfTheCommand:test_a_task_goes_on_from_e_to_the_script()
  assert_prints("from a task\n", [[-e 'task = asyncio.create_task(asyncio.sleep, 0.001, "from a task")' -]],
    "print(asyncio.await(task))")
end

function TestOptionsOfTheCommand:test_an_error_in_e_ends_all_and_says_where()
  local output, errors, status = run("-e 'print(1)' -e 'local function f() error \"boom\" end f()' -e 'print(2)'")
  t.assertEquals({ output, status }, { "1\n", 1 })
  t.assertStrMatches(errors, "asyncio: %(command line%):1: boom\nstack traceback:\n.*in local 'f'\n.*")
  output, errors, status = run "-e 'print(1)' -e 'x x'"
  t.assertEquals({ output, errors, status }, { "", "asyncio: (command line):1: syntax error near 'x'\n", 1 })
end

-- -l

function TestOptionsOfTheCommand:test_l_requires_into_a_global()
  assert_prints("true\ttrue\ttrue\n", [[-l string -lS=string -l math-2=math -e 'print(S == string, _G["math-2"] == math,
    package.loaded.string == S)']])
  local dir = os.tmpname()
  os.remove(dir)
  os.execute("mkdir " .. dir)
  do
    local file <close> = assert(io.open(dir .. "/mod-1.lua", "w"))
    file:write "return 'the module'"
  end
  assert_prints("the module\n", "-l mod-1 -e 'print(mod)'", nil, ("LUA_PATH='%s/?.lua;'\"$LUA_PATH\""):format(dir))
  os.execute("rm -r " .. dir)
end

function TestOptionsOfTheCommand:test_l_of_what_is_not_there_is_told_as_the_command_lines()
  local output, errors, status = run("-l no.such.module -", "print 'never'")
  t.assertEquals({ output, status }, { "", 1 })
  t.assertStrMatches(errors, "asyncio: %(command line%):1: module 'no.such.module' not found:.*")
end

function TestOptionsOfTheCommand:test_l_alone_goes_on_with_standard_input()
  assert_prints("true\n", "-l S=string", "print(S == string)")
end

-- -W, -v

function TestOptionsOfTheCommand:test_W_turns_warnings_on()
  local output, errors = run "-W -e 'warn \"careful\"'"
  t.assertEquals({ output, errors }, { "", "Lua warning: careful\n" })
  output, errors = run "-e 'warn \"careful\"'"
  t.assertEquals({ output, errors }, { "", "" })
end

function TestOptionsOfTheCommand:test_v_shows_the_versions_and_goes_on()
  local versions = "lua%-asyncio .*, Lua 5%.%d, libuv 1%.%d+%.%d+\n"
  t.assertStrMatches(run "-v", versions)
  t.assertStrMatches(run "--version -e 'print(1)'", versions)
  t.assertStrMatches(run "-v -e 'print(1)'", versions .. "1\n")
  local name, _ <close> = script "print(...)"
  t.assertStrMatches(run("-v " .. name .. " a"), versions .. "a\n")
  t.assertStrMatches(run("-v", "print 'not read'"), versions)
end

-- mistakes

function TestOptionsOfTheCommand:test_mistakes_are_told_with_the_usage()
  for option, complaint in pairs {
    ["-e"] = "'-e' needs an argument", ["-l"] = "'-l' needs an argument", ["-e -v"] = "'-e' needs an argument",
    ["-x"] = "unrecognized option '-x'", ["-ix"] = "unrecognized option '-ix'", ["-vv"] = "unrecognized option '-vv'",
    ["--e"] = "unrecognized option '--e'", ["-v --help"] = "unrecognized option '--help'",
  } do
    local output, errors, status = run(option)
    t.assertEquals({ output, status }, { "", 1 })
    t.assertStrContains(errors, "asyncio: " .. complaint .. "\nusage: asyncio [options] [script [args]]\n")
    t.assertNotStrContains(errors, "\n\n")
  end
end

-- scripts

function TestScript:test_has_asyncio_as_a_global()
  assert_prints("true\n", "-", "print(asyncio == require 'asyncio')")
end

function TestScript:test_what_follows_its_name_is_its_own()
  local name, _ <close> = script "print(...) print(arg[0] == NAME, arg[-1], arg[-2], #arg)"
  assert_prints("-e\t-x\t--\ntrue\tNAME='" .. name .. "'\t-e\t3\n", ("-e \"NAME='%s'\" %s -e -x --"):format(name, name))
end

function TestScript:test_its_name_may_begin_with_a_minus_after_two()
  local dir = os.tmpname()
  os.remove(dir)
  os.execute("mkdir " .. dir)
  local file <close> = assert(io.open(dir .. "/-e", "w"))
  file:write "print 'the script -e'"
  file:close()
  local root = program.shell("cd %s && pwd", ROOT):gsub("\n", "")
  local output = program.shell("cd %s && %s %s/bin/asyncio -- -e 2>&1", dir, LUA, root)
  t.assertEquals(output, "the script -e\n")
  os.execute("rm -r " .. dir)
end

--- Runs a script and sends it a signal once it says that it waits; what it printed, and its status.
local function signalled(source, signal)
  local name, _ <close> = script(source)
  local started <close> = program.start("%s %s", COMMAND, name)
  started:expect "waits\n"
  os.execute(("kill -%s %d"):format(signal, started.pid))
  return started:wait()
end

local WAITS = [[
  local _ <close> = setmetatable({}, { __close = function()
    asyncio.sleep(0.001)
    print "cleaned up"
  end })
  print "waits"
  io.stdout:flush()
  asyncio.sleep(1000)
]]

function TestScript:test_SIGTERM_stops_it_as_Ctrl_C_does_and_the_status_says_so()
  for signal, status in pairs { TERM = 143, INT = 130 } do
    local output, code = signalled(WAITS, signal)
    t.assertStrContains(output, "cleaned up\n")
    t.assertStrContains(output, "KeyboardInterrupt: interrupted by " .. (signal == "INT" and "Ctrl-C" or "SIGTERM"))
    t.assertEquals(code, status)
  end
end

function TestScript:test_one_that_hears_SIGTERM_and_ends_well_ended_well()
  local output, code = signalled([[
    local ok, err = pcall(function() ]] .. WAITS .. [[ end)
    print(ok, asyncio.isinstance(err, asyncio.CancelledError))
  ]], "TERM")
  t.assertEquals({ output, code }, { "cleaned up\nfalse\ttrue\n", 0 })
end

-- -i

function TestPrompts:test_i_goes_on_after_the_script_in_the_same_loop()
  local name, _ <close> = script "task = asyncio.create_task(asyncio.sleep, 0.01, 'from ' .. ...) print 'script'"
  assert_prints("script\nfrom it\n", "-i " .. name .. " it", "asyncio.await(task)\n")
end

function TestPrompts:test_i_goes_on_after_e()
  assert_prints("7\n", "-i -e 'x = 7'", "x\n")
  assert_prints("7\n", "-e 'asyncio.sleep(0) x = 7' -i", "x\n")
end

function TestPrompts:test_i_alone_is_the_REPL()
  assert_prints("2\n", "-i", "1 + 1\n")
end

function TestPrompts:test_none_come_after_a_failure()
  local output, errors, status = run("-i -e 'error \"boom\"'", "print 'never'\n")
  t.assertEquals({ output, status }, { "", 1 })
  t.assertStrContains(errors, "(command line):1: boom")
end

function TestPrompts:test_the_last_result_is_at_hand()
  assert_prints("5\n6\n6\t1\n6\n6\nnil\n6\n", "-i", "2 + 3\n_ + 1\n_, 1\nlocal y = 1\n_\n=_\nnil\n_\n")
end

function TestPrompts:test_tables_are_shown_with_their_content()
  assert_prints("{ 1, 2, x = { y = \"z\" } }\n{ 1 }\t2\tnil\ntext\n", "-i",
    "{ 1, 2, x = { y = 'z' } }\n{ 1 }, 2, nil\nsetmetatable({}, { __tostring = function() return 'text' end })\n")
end

-- subcommands: there are none yet; what one would be is put there by LUA_INIT

local GREET = [[LUA_INIT='require "asyncio.command".subcommands.greet = function(...)
  print("hello", ...)
  return 3
end']]

function TestSubcommands:test_a_first_word_that_is_one_gets_the_rest()
  local output, errors, status = run("greet -v you", nil, GREET)
  t.assertEquals({ output, errors, status }, { "hello\t-v\tyou\n", "", 3 })
end

function TestSubcommands:test_anything_else_is_a_script()
  for _, arguments in ipairs { "greeting", "./greet", "-- greet", "greet.lua", "-W greet" } do
    local output, errors, status = run(arguments, nil, GREET)
    t.assertEquals({ output, status }, { "", 1 })
    t.assertStrMatches(errors, "asyncio: cannot open .*")
  end
end

-- how a table is shown

local show = require "asyncio.show".table

function TestShow:test_lists_and_fields_as_Lua_writes_them()
  t.assertEquals(show {}, "{}")
  t.assertEquals(show { 1, "two", 3.5, true }, '{ 1, "two", 3.5, true }')
  t.assertEquals(show { x = 1, ["a b"] = 2, ["end"] = 3, [10] = 4, [false] = 5 },
    '{ [10] = 4, ["a b"] = 2, ["end"] = 3, x = 1, [false] = 5 }')
  t.assertEquals(show { 1, nil, 3 }, "{ 1, [3] = 3 }")
end

function TestShow:test_keys_are_in_order()
  local keys = {}
  for i = 1, 9 do keys["k" .. 10 - i], keys[-i], keys[i + 0.5] = i, i, i end
  local text = show(keys):gsub(" = %d+", "")
  t.assertStrMatches(text, "{.%s*%[%-9%],.*%[%-1%],%s*%[1%.5%],.*%[9%.5%],%s*k1,%s*k2,.*k9%s*}")
end

function TestShow:test_strings_stay_on_their_line()
  t.assertEquals(show { "a\nb\r\t\0\27[31m\"\\é" }, [[{ "a\nb\r\t\0\27[31m\"\\é" }]])
  t.assertEquals(show { ("x"):rep(1000) }, "{\n  \"" .. ("x"):rep(200) .. "\"... 800 more\n}")
end

function TestShow:test_what_is_too_wide_is_broken_into_lines()
  local t20 = ("x"):rep(20)
  t.assertEquals(show { a = t20, b = t20, c = { t20, t20, 1 } },
    ('{\n  a = "%s",\n  b = "%s",\n  c = { "%s", "%s", 1 }\n}'):format(t20, t20, t20, t20))
  local numbers = {}
  for i = 1, 60 do numbers[i] = i end
  for line in show(numbers):gmatch "[^\n]+" do t.assertTrue(#line <= 80, line) end
  t.assertTrue(select(2, show(numbers):gsub("\n", "")) < 6)
end

function TestShow:test_cycles_end()
  local x = { name = "x" }
  x.self, x.list = x, { x, { x } }
  t.assertEquals(show(x), '{ list = { <cycle>, { <cycle> } }, name = "x", self = <cycle> }')
  local shared = { 1 }
  t.assertEquals(show { shared, shared }, "{ { 1 }, { 1 } }")
end

function TestShow:test_depth_number_and_all_together_are_limited()
  t.assertEquals(show { { { { { 1 } } } } }, "{ { { { {...} } } } }")
  t.assertEquals(show { { { { {} } } } }, "{ { { { {} } } } }")
  local many = {}
  for i = 1, 1000 do many[i] = i end
  t.assertStrMatches(show(many), "{.*99, 100, %.%.%. 900 more.*}")
  local wide = {}
  for i = 1, 50 do
    wide[i] = {}
    for j = 1, 50 do wide[i]["key" .. j] = { j } end
  end
  t.assertTrue(select(2, show(wide):gsub("\n", "")) < 400)
  t.assertStrMatches(show(wide), "{.*{%.%.%.}.*}")
end

function TestShow:test_metatables_speak_and_nothing_else_of_theirs_is_called()
  local function trap() error "called" end
  local meta = { __index = trap, __pairs = trap, __len = trap, __eq = trap, __lt = trap, __call = trap }
  t.assertEquals(show(setmetatable({ 1, x = 2 }, meta)), "{ 1, x = 2 }")
  t.assertEquals(show { setmetatable({}, { __tostring = function() return "me" end }) }, "{ me }")
  t.assertEquals(show { [setmetatable({}, { __tostring = function() return "me" end })] = 1 }, "{ [me] = 1 }")
  t.assertEquals(show(setmetatable({ 1 }, { __name = "Point" })), "Point { 1 }")
  t.assertEquals(show { setmetatable({}, { __name = "Point" }) }, "{ Point {} }")
  t.assertEquals(show { setmetatable({}, { __tostring = function() error("no words", 0) end }) },
    "{ <error in __tostring: no words> }")
  t.assertEquals(show { setmetatable({}, { __metatable = "locked", __name = 5 }) }, "{ {} }")
end

function TestShow:test_large_tables_take_no_longer_than_one_can_wait()
  local large = {}
  for i = 1, t.count(300000) do large["k" .. i] = i end
  t.assertStrMatches(show(large), "{.*more.*}")
end

t.finish { sampled = true }
