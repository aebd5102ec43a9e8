-- The command `asyncio` and the REPL, in a terminal of their own (Python's pty): what is typed next waits
-- for what appears, never for the clock. `session` fails for a text that does not appear.
local t = require "helper"

TestRepl = {}
TestReplCtrlC = {}
TestReplEditing = {}
TestPlainRepl = {}
TestRunner = {}

local ROOT = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/.."
local LUA = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local COMMAND = LUA .. " " .. ROOT .. "/bin/asyncio"

-- Steps come as lines "type  HEX", "expectHEX": that text among what has appeared since the last one.
local DRIVER = [==[
import fcntl, os, pty, re, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", sys.argv[2]])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
seen, place, ended = b"", 0, False
raw = sys.argv[2].startswith("RAW=1 ") # what goes back to the first column shows
def more(limit):
    global seen, ended
    if not select.select([fd], [], [], limit)[0]:
        return False
    try:
        data = os.read(fd, 65536)
    except OSError:
        data = b""
    seen += data
    ended = data == b""
    return not ended
def taken(): # a signal that is sent while the same one is pending is lost
    time.sleep(0.05)
    while re.search(rb"(?:SigPnd|ShdPnd):.*[1-9a-f]", open("/proc/%d/status" % pid, "rb").read()):
        time.sleep(0.01)
def clean():
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x07", b"", seen)
    return text.replace(b"\r\n" if raw else b"\r", b"\n" if raw else b"")
failed = None
for line in open(sys.argv[1]):
    word, text = line[:6], bytes.fromhex(line[6:])
    if word == "type  ":
        os.write(fd, text)
        if text == b"\x03":
            taken()
        continue
    while text not in clean()[place:]:
        if not more(float(sys.argv[3])):
            failed = text
            break
    if failed is not None:
        break
    place = clean().index(text, place) + len(text)
if failed is None:
    deadline = time.monotonic() + float(sys.argv[3])
    while not ended and time.monotonic() < deadline:
        if not more(5) and not ended and text == b"\x04":
            os.write(fd, text) # what is typed while the terminal changes its mode may be lost
    if not ended:
        failed = "its end"
if failed is not None:
    os.kill(pid, 9)
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(clean())
if failed is not None:
    sys.exit("never appeared: %r after %r" % (failed, clean()[place:]))
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
]==]

local function file_with(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
  return name
end

local function content(name)
  local file <close> = assert(io.open(name))
  return file:read "a"
end

local function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

--- Runs a command in a terminal. steps: what to expect and what to type in turn; it begins with what to
-- expect. Returns what appeared and the status.
local function in_terminal(command, steps)
  local lines = {}
  for i, text in ipairs(steps) do
    lines[i] = i % 2 == 1 and "expect" .. hex(text) or "type  " .. hex(text)
  end
  local script, driver = file_with(table.concat(lines, "\n") .. "\n"), file_with(DRIVER)
  local out, err = os.tmpname(), os.tmpname()
  local quoted = command:gsub("'", "'\\''")
  local _, how, code = os.execute(("PATH=/usr/bin:$PATH python3 '%s' '%s' '%s' %d >'%s' 2>'%s' </dev/null"):format(
    driver, script, quoted, t.slow and 300 or 60, out, err))
  local output, errors = content(out), content(err)
  for _, name in ipairs { script, driver, out, err } do os.remove(name) end
  if errors ~= "" then t.fail(errors .. "\n" .. output) end
  return output, how == "exit" and code
end

local gc = os.getenv "SPEC_GC" -- the collector of the processes, too
local COLLECTOR = gc == "incremental" and 'LUA_INIT="collectgarbage([[incremental]], 1, 1000, 1)" '
  or gc and 'LUA_INIT="collectgarbage([[generational]])" ' or ""
local EDITING = COLLECTOR .. "TERM=xterm INPUTRC=/dev/null ASYNCIO_HISTORY= exec "
local PLAIN = "TERM=dumb exec "
local CTRL_C, CTRL_D = "\3", "\4"

--- Types the steps into a REPL, leaves it, and sees that it ended well; what appeared.
local function session(steps, environment)
  if not steps[#steps]:find "[>:] $" then -- typed before the prompt is there, Ctrl-D would be lost
    table.move({ "", "> " }, 1, 2, #steps + 1, steps)
  end
  steps[#steps + 1] = CTRL_D
  local output, code = in_terminal((environment or EDITING) .. COMMAND, steps)
  t.assertEquals(code, 0, output)
  return output
end

-- each test of the REPL's ways runs with line editing and (where that doesn't take too long) without
local function both_ways(name, fn, class, prefix)
  class = class or TestRepl
  class["test_" .. name] = function() fn(EDITING) end
  if not t.slow and not gc then TestPlainRepl["test_" .. (prefix or "") .. name] = function() fn(PLAIN) end end
end

both_ways("prints_the_results_of_expressions_as_lua_does", function(environment)
  session({ "> ", "1 + 1, nil, 'a'\r", "\n2\tnil\ta\n> ", "x = 5\r", "> ", "=x\r", "\n5\n> ", "\r", "> ",
    "nil\r", "\nnil\n> " }, environment)
end)

both_ways("goes_on_reading_while_the_input_is_incomplete", function(environment)
  session({ "> ", "for i = 1, 2 do\r", ">> ", "print(i * 10)\r", ">> ", "end\r", "\n10\n20\n> ",
    "f = function(x)\r", ">> ", "return x\r", ">> ", "end\r", "> ", "f(1)\r", "\n1\n> " }, environment)
end)

both_ways("has_asyncio_run_run_main_in_the_input", function(environment)
  session({ "> ", "asyncio.run(function(x) asyncio.sleep(0.01) return 'ran ' .. x end, 'here')\r", "\nran here\n> " },
    environment)
end)

both_ways("forgets_locals_after_their_input", function(environment)
  session({ "> ", "local y = 7; print(y)\r", "\n7\n> ", "y\r", "\nnil\n> " }, environment)
end)

both_ways("shows_errors_with_their_traceback_and_goes_on", function(environment)
  session({ "> ", "function f() error 'boom' end\r", "> ", "f()\r",
    "stdin:1: boom\nstack traceback:", "", "in function 'f'", "", "> ",
    "error {}\r", "(error object is a table value)", "", "> ",
    "error(asyncio.TimeoutError 'late')\r", "TimeoutError: late", "", "> ",
    "f(\r", ">> ", "* 2)\r", "stdin:2: unexpected symbol near '*'", "", "> ",
    "'still ' .. 'here'\r", "\nstill here\n" }, environment)
end)

both_ways("awaits_at_the_top_level", function(environment)
  session({ "> ", "asyncio.sleep(0.01, 'slept', 2)\r", "\nslept\t2\n> ",
    "task = asyncio.create_task(function() asyncio.sleep(0.01) return 'first', 'second' end)\r", "> ",
    "asyncio.await(task)\r", "\nfirst\tsecond\n> ",
    "asyncio.current_task():get_name()\r", "\ninput 4\n> " }, environment)
end)

both_ways("lets_background_tasks_print_while_the_prompt_waits", function(environment)
  session({ "> ",
    "asyncio.create_task(function() for i = 1, 3 do asyncio.sleep(0.02) print('tick ' .. i) end end) and nil\r",
    "tick 1\n", "", "tick 2\n", "", "tick 3\n", "'and ' .. 'here'\r", "\nand here\n" }, environment)
end)

both_ways("cancels_what_is_left_when_it_is_left", function(environment)
  local output = session({ "> ",
    "asyncio.create_task(function() local _ <close> = setmetatable({}, {__close = function() print 'cleaned ' end}) "
      .. "asyncio.sleep(1000) end) and nil\r", "> ", "asyncio.sleep(0)\r", "> " }, environment)
  t.assertStrContains(output, "cleaned \n")
end)

both_ways("ends_with_the_status_of_os_exit", function(environment)
  local _, code = in_terminal(environment .. COMMAND, { "> ", "os.exit(7)\r" })
  t.assertEquals(code, 7)
end)

both_ways("reports_lost_errors_and_goes_on", function(environment)
  session({ "> ", "asyncio.create_task(function() error 'lost' end) and nil\r", "never looked at", "",
    "lost", "", "> ", "2 * 3\r", "\n6\n" }, environment)
end)

both_ways("tells_soon_of_a_task_that_fails_and_that_only_the_last_result_holds", function(environment)
  local output = session({ "> ", "asyncio.create_task(function() asyncio.sleep(0.1) error 'lost' end)\r",
    "asyncio.Task", "", "never looked at", "", "lost", "", "> ",
    "_:exception()\r", ": lost\ttrue\n> ", -- it is told, and at hand
    "asyncio.create_task(function() error 'during' end)\r", "\nasyncio.Task", "", "never looked at", "", "during", "",
    "> ", "2 * 3\r", "\n6\n> " }, environment)
  t.assertEquals(select(2, output:gsub("never looked at", "")), 2)
end)

both_ways("leaves_a_failed_task_alone_that_others_hold_or_that_somebody_looked_at", function(environment)
  local output = session({ "> ", "held = asyncio.create_task(function() error 'kept' end)\r", "> ", "held\r",
    "asyncio.Task", "", "> ", "_ == held, pcall(asyncio.await, _)\r", "\ntrue\tfalse\t", "", "kept", "", "> ",
    "held\r", "asyncio.Task", "", "> ", "collectgarbage() print(_ == held)\r", "\ntrue\n> " }, environment)
  t.assertNotStrContains(output, "never looked at")
end)

both_ways("uses_the_prompts_that_are_set", function(environment)
  session({ "> ", "_PROMPT = 'one: '; _PROMPT2 = 'two: '\r", "\none: ", "do\r", "\ntwo: ",
    "end\r", "end\none: " }, environment)
end)

-- Ctrl-C

local function interrupts(name, fn) both_ways(name, fn, TestReplCtrlC, "ctrl_c_") end

interrupts("cancels_the_running_input", function(environment)
  session({ "> ", "print 'waits' asyncio.sleep(1000)\r", "\nwaits\n", CTRL_C, "interrupted\n> ",
    "'still ' .. 'here'\r", "\nstill here\n" }, environment)
end)

interrupts("at_the_prompt_gives_the_line_up", function(environment)
  session({ "> ", "error 'never", "never", CTRL_C, "\n> ", "if true then\r", ">> ", "print 'never'", "never'",
    CTRL_C, "\n> ", "'still ' .. 'here'\r", "\nstill here\n" }, environment)
end)

-- what is typed belongs to who asks for it: a reader of standard input takes nothing in advance
both_ways("shares_the_terminal_with_a_reader_of_an_input", function(environment)
  session({ "> ", "input = asyncio.stdin()\r", "> ",
    "print 'reads' for line in input:lines() do if line == 'stop' then break end print('got ' .. line) end\r",
    "\nreads\n", "one\r", "got one\n", "stop\r", "\n> ", "'my ' .. 'own'\r", "\nmy own\n> ",
    "print 'waits' input:readline()\r", "\nwaits\n", CTRL_C, "interrupted\n> ", "'my ' .. 'own'\r", "\nmy own\n> ",
    "print 'again' return (input:readline())\r", "\nagain\n", "two\r", "two\n", "", "> " }, environment)
end)

interrupts("leaves_background_tasks_alone", function(environment)
  session({ "> ", "event = asyncio.Event()\r", "> ",
    "task = asyncio.create_task(function() event:wait() return 'lives ' end)\r", "> ",
    "print 'waits' asyncio.sleep(1000)\r", "\nwaits\n", CTRL_C, "interrupted\n> ", "x", "x", CTRL_C, "\n> ",
    "event:set()\r", "> ", "asyncio.await(task)\r", "\nlives \n" }, environment)
end)

interrupts("twice_breaks_an_input_that_does_not_await", function(environment)
  local output = session({ "> ", "print 'spins' while true do end\r", "\nspins\n", CTRL_C, "^C", CTRL_C,
    "KeyboardInterrupt: interrupted by Ctrl-C at stdin:1\n", "", "> ", "'still ' .. 'here'\r", "\nstill here\n" },
    environment)
  t.assertNotStrContains(output, "traceback")
end)

interrupts("twice_breaks_an_input_that_swallows_it", function(environment)
  session({ "> ", "print 'loops' while true do pcall(asyncio.sleep, 0.05) end\r", "\nloops\n", CTRL_C, "^C", CTRL_C,
    "KeyboardInterrupt: interrupted by Ctrl-C at stdin:1\n", "", "> ", "'still ' .. 'here'\r", "\nstill here\n" },
    environment)
end)

interrupts("of_each_input_is_the_first", function(environment)
  session({ "> ", "print 'one' pcall(asyncio.sleep, 1000)\r", "\none\n", CTRL_C, "> ",
    "print 'two' asyncio.sleep(1000)\r", "\ntwo\n", CTRL_C, "interrupted\n> ",
    "print 'three' asyncio.sleep(1000)\r", "\nthree\n", CTRL_C, "interrupted\n> " }, environment)
end)

interrupts("twice_breaks_a_background_task_that_does_not_await", function(environment)
  session({ "> ", "asyncio.create_task(function() asyncio.sleep(0) print 'spins' while true do end end) and nil\r",
    "spins\n", CTRL_C, "", CTRL_C, "interrupted\n", "", "> ", "'still ' .. 'here'\r", "\nstill here\n" },
    environment)
end)

-- line editing

function TestReplEditing:test_leaves_a_half_typed_line_as_it_is_while_tasks_print()
  session({ "> ", "event = asyncio.Event()\r", "> ",
    "asyncio.create_task(function() asyncio.sleep(0.3) print 'tick' event:set() end) and nil\r", "> ",
    "event:wait() and 'half ' ..", "tick\n> event:wait() and 'half ' ..", " 'typed'\r", "\nhalf typed\n> " })
end

function TestReplEditing:test_leaves_a_line_that_is_given_up_on_the_screen()
  local output = session({ "> ", "'never '", "'never '", CTRL_C, "> " }, "RAW=1 " .. EDITING)
  t.assertStrContains(output, "'never '^C")
end

function TestReplEditing:test_keeps_the_prompt_off_what_io_write_has_written()
  session({ "> ", "event = asyncio.Event()\r", "> ",
    "asyncio.create_task(function() event:wait() io.write 'no newline' end) and nil\r", "> ", "event:set()\r",
    "no newline\n> ", "io.write 'same'\r", "\nsamefile (", "", "> " })
end

function TestReplEditing:test_completes_globals_fields_and_methods()
  session({ "> ", "asyncio.Priori\t", "asyncio.PriorityQueue", "(3):maxsize()\r", "\n3\n> ",
    "queue = asyncio.Queue(4)\r", "> ", "que\t", "queue", ":maxs\t", ":maxsize", "()\r", "\n4\n> ",
    "('x'):re\t", "('x'):re", CTRL_C, "\n> ", "asyncio.rac\t", "asyncio.race", CTRL_C, "\n> ",
    "trap = setmetatable({}, {__index = function() error 'called' end})\r", "> ",
    "trap.x\t", "trap.x", " == rawget(trap, 'x')\r", "called", "", "> " })
end

function TestReplEditing:test_lists_what_is_possible()
  local output = session({ "> ", "asyncio.wait\t\t", "asyncio.wait_for", "", "> asyncio.wait", CTRL_C, "\n> " })
  t.assertNotStrContains(output, "asyncio._VERSION")
end

function TestReplEditing:test_brings_back_earlier_lines_also_from_the_last_session()
  local history = os.tmpname()
  local environment = ("TERM=xterm INPUTRC=/dev/null ASYNCIO_HISTORY=%s exec "):format(history)
  local up = "\27[A"
  session({ "> ", "'line ' .. 'one'\r", "\nline one\n> ", up, "'line ' .. 'one'", "\r", "\nline one\n> " },
    environment)
  t.assertEquals(content(history), "'line ' .. 'one'\n")
  session({ "> ", up, "'line ' .. 'one'", " .. '!'\r", "\nline one!\n> " }, environment)
  os.remove(history)
end

function TestReplEditing:test_an_input_of_several_lines_is_one_entry_of_the_history()
  local history = os.tmpname()
  local environment = ("TERM=xterm INPUTRC=/dev/null ASYNCIO_HISTORY=%s exec "):format(history)
  local up = "\27[A"
  session({ "> ", "'first'\r", "\nfirst\n> ", "\27[200~local a = 20\nlocal b = 1\nreturn a + b\27[201~\r", "\n21\n> " },
    environment)
  t.assertEquals(content(history), "'first'\nlocal a = 20\r\nlocal b = 1\r\nreturn a + b\n")
  session({ "> ", up, "return a + b", "\r", "\n21\n> " }, environment)
  os.remove(history)
end

function TestReplEditing:test_the_history_is_cut_to_its_last_entries()
  local history = os.tmpname()
  local file <close> = assert(io.open(history, "w"))
  for i = 1, 1005 do file:write(i, "\r\n+ 0\n") end
  file:close()
  session({ "> " }, ("TERM=xterm INPUTRC=/dev/null ASYNCIO_HISTORY=%s exec "):format(history))
  local text = content(history)
  t.assertEquals({ select(2, text:gsub("\r\n%+ 0\n", "")), text:match "^%d+" }, { 1000, "6" })
  os.remove(history)
end

function TestReplEditing:test_takes_a_pasted_text_of_several_lines_as_one_input()
  session({ "> ", "\27[200~local a = 20\nlocal b = 1\nreturn a + b\27[201~\r", "\n21\n> " })
end

function TestReplEditing:test_gives_the_terminal_back_whatever_way_it_ends()
  for _, input in ipairs {
    CTRL_D, "os.exit(0)\r", "asyncio.create_task(function() asyncio.sleep(0) os.exit(0) end) and nil\r",
    "asyncio.create_task(function() asyncio.sleep(0) os.exit(0, true) end) and nil\r",
  } do
    local output = in_terminal("TERM=xterm ASYNCIO_HISTORY= " .. COMMAND .. "; stty -a", { "> ", input, "icanon" })
    t.assertStrContains(output, " icanon")
    t.assertStrContains(output, " echo ")
  end
end

function TestReplEditing:test_is_there_again_after_the_process_was_stopped()
  session({ "> ", "event = asyncio.Event()\r", "> ",
    "asyncio.create_task(function() event:wait() os.execute 'stty sane; kill -CONT $PPID' end) and nil\r", "\nnil\n> ",
    "event:set()\r", "> ", "", "> ", "fter'\1'a' .. '\r", "\nafter\n> " }) -- \1: to the line's beginning
end

function TestReplEditing:test_changes_no_flag_of_standard_input()
  session({ "> ", "flags = io.open('/proc/self/fdinfo/0'):read('a'):match 'flags:%s*(%d+)'\r", "> ",
    "tonumber(flags, 8) & tonumber('4000', 8)\r", "\n0\n> " }) -- O_NONBLOCK
end

function TestReplEditing:test_leaves_standard_input_to_the_running_input()
  session({ "> ", "print 'reads' return io.read()\r", "\nreads\n", "typed\r", "\ntyped\n> " })
end

-- the lecture's cells

--- The notebook's cells in Lua, with what they print.
local function cells()
  local list = {}
  for cell, output in content(ROOT .. "/examples/lecture/notebook.md")
    :gmatch "\n```lua cell\n(.-\n)```\n\n```text\n(.-\n)```\n" do
    list[#list + 1] = { (cell:gsub("sleep%((%d+)%)", "sleep(%1 * 0.02)")), output }
  end
  return list
end

--- Pastes them one after the other, and awaits the lines that each prints, without numbers of its own.
local function paste_cells(list, environment, paste)
  local program = require "program"
  local server <close> = program.serve "lecture/01_async_tcp_server.lua"
  local steps = { "> " }
  for _, cell in ipairs(list) do
    local text, output = cell[1]:gsub("12345", server.port), cell[2]
    table.insert(steps, paste(text))
    if not text:find ":acquire" then output = output:gsub("task1 is done!\n", "") end -- at any moment
    for line in (output:gsub("%d+%.%d+s\n", ""):gsub("0x%x+.*", "")):gmatch "[^\n]+\n?" do
      table.insert(steps, line) -- its end tells it from the cell's text
      table.insert(steps, "")
    end
    table.insert(steps, "> ")
  end
  session(steps, environment)
end

TestNotebook = {}

function TestNotebook:test_its_cells_can_be_pasted_one_after_the_other()
  local list = cells()
  t.assertTrue(#list >= 15)
  if t.slow then list = table.move(list, 1, 5, 1, {}) end
  paste_cells(list, EDITING, function(text) return "\27[200~" .. text:gsub("\n$", "") .. "\27[201~\r" end)
end

-- Each line is an input of its own then: not those with local variables, or whose tasks would begin earlier.
function TestNotebook:test_its_cells_can_be_pasted_line_by_line_without_line_editing()
  if t.slow or gc then return end -- the other one has shown it
  local list = {}
  for _, cell in ipairs(cells()) do
    if not ("\n" .. cell[1]):find "\nlocal" and not cell[1]:find "create_task" then list[#list + 1] = cell end
  end
  paste_cells(list, PLAIN, function(text) return text end)
end

-- as a module

function TestRepl:test_starts_when_its_module_is_required()
  local output, code = in_terminal(EDITING .. LUA .. " -l asyncio.repl -e 'print(\"not reached\")'",
    { "> ", "asyncio.sleep(0, 'awaited')\r", "\nawaited\n> ", CTRL_D })
  t.assertEquals(code, 0)
  t.assertNotStrContains(output, "not reached")
end

function TestRepl:test_refuses_to_run_in_a_loop()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function() require "asyncio.repl" end)
  ]]
  t.assertEquals(out, "")
  t.assertStrContains(err, "an event loop is already running")
  t.assertEquals(code, 1)
end

--- Runs a command with that standard input; output, errors, status.
local function piped(arguments, input, command)
  local source, out, err = file_with(input or ""), os.tmpname(), os.tmpname()
  local _, _, code = os.execute(("%s %s <'%s' >'%s' 2>'%s'"):format(command or COMMAND, arguments, source, out, err))
  local output, errors = content(out), t.unhurried(content(err))
  for _, name in ipairs { source, out, err } do os.remove(name) end
  return output, errors, code
end

function TestRepl:test_reads_inputs_from_a_pipe_without_a_word_of_its_own()
  local output, errors, code = piped("", "x = 1\n=x\nfor i = 1, 2 do\nprint(i)\nend\nasyncio.sleep(0.01, 'slept')",
    LUA .. " -l asyncio.repl")
  t.assertEquals({ output, errors, code }, { "1\n1\n2\nslept\n", "", 0 })
end

-- the last result must not hold the failure back, however long ago that was
function TestRepl:test_tells_after_an_input_of_a_task_that_failed_during_it()
  local output, errors, code = piped("-i", "asyncio.create_task(function() error 'boo' end)\nasyncio.sleep(1.5)\n"
    .. "print(_:exception())\n")
  t.assertStrMatches(output, "asyncio.Task [^\n]*\nstdin:1: boo\ttrue\n")
  t.assertStrMatches(errors, "asyncio: the error of a task was never looked at\n  task: [^\n]*\n"
    .. "  exception: stdin:1: boo\nstack traceback:\n.*")
  t.assertNotStrContains(errors, "handler failed")
  t.assertEquals(code, 0)
end

function TestRepl:test_tells_at_its_end_what_is_held_and_failed()
  local _, errors, code = piped("-i", "held = asyncio.create_task(function() error 'boo' end)\nasyncio.sleep(0.1)\n")
  t.assertStrMatches(errors, "asyncio: the error of a task was never looked at\n.*")
  t.assertNotStrContains(errors, "handler failed")
  t.assertEquals(code, 0)
end

-- scripts

local function script(source)
  local name = file_with(source)
  return name, setmetatable({}, { __close = function() os.remove(name) end })
end

function TestPlainRepl:test_does_without_the_module_for_line_editing()
  if gc then t.skip "LUA_INIT is the collector's" end
  session({ "> ", "package.loaded['asyncio.editor']\r", "\nnil\n> ", "asyncio.sleep(0, 1)\r", "\n1\n> " },
    'LUA_INIT="package.preload[ [[asyncio.editor]] ] = error" ' .. EDITING)
end

function TestRunner:test_runs_a_script_that_awaits_at_its_top_level()
  local name, _ <close> = script [[
    local asyncio = require "asyncio"
    local a, b = ...
    print(arg[0] == debug.getinfo(1, "S").short_src, arg[1], arg[2], #arg, a, b, select("#", ...), arg[-1] ~= nil)
    print(asyncio.sleep(0.01, "slept"))
    return 5
  ]]
  local output, errors, code = piped(name .. " one 'two words'")
  t.assertEquals({ output, errors, code }, { "true\tone\ttwo words\t2\tone\ttwo words\t2\ttrue\nslept\n", "", 0 })
end

function TestRunner:test_runs_standard_input()
  local source = "print(..., arg[0], require 'asyncio'.sleep(0.01, 'slept'))"
  t.assertEquals({ piped("- one", source) }, { "one\t-\tslept\n", "", 0 })
  t.assertEquals({ piped("", source) }, { "nil\t-\tslept\n", "", 0 })
  t.assertEquals({ piped("--", source) }, { "nil\t-\tslept\n", "", 0 })
end

function TestRunner:test_fails_with_the_error_and_its_traceback()
  local output, errors, code = piped("-", "local function f() error 'boom' end\nf()")
  t.assertEquals({ output, code }, { "", 1 })
  t.assertStrMatches(errors, "asyncio: stdin:1: boom\nstack traceback:\n.*stdin:2: in main chunk.*")
  output, errors, code = piped("-", "error(require 'asyncio'.TimeoutError 'late')")
  t.assertEquals({ output, code }, { "", 1 })
  t.assertStrMatches(errors, "asyncio: TimeoutError: late\nstack traceback:\n.*stdin:1: in main chunk.*")
  output, errors, code = piped("-", "error {}")
  t.assertEquals({ output, code }, { "", 1 })
  t.assertStrMatches(errors, "asyncio: %(error object is a table value%)\nstack traceback:\n.*stdin:1: in main chunk\n")
  output, errors, code = piped("-", "x x")
  t.assertEquals({ output, errors, code }, { "", "asyncio: stdin:1: syntax error near 'x'\n", 1 })
  output, errors, code = piped "/nonexistent/script.lua"
  t.assertEquals({ output, code }, { "", 1 })
  t.assertStrMatches(errors, "asyncio: cannot open /nonexistent/script.lua.*")
end

function TestRunner:test_ends_with_130_after_ctrl_c()
  local name, _ <close> = script [[
    local _ <close> = setmetatable({}, { __close = function() print "cleaned" end })
    print "waits"
    require "asyncio".sleep(1000)
  ]]
  local output, code = in_terminal("exec " .. COMMAND .. " " .. name, { "waits\n", CTRL_C, "cleaned" })
  t.assertStrMatches(output, "waits\n^Ccleaned\nasyncio: KeyboardInterrupt: interrupted by Ctrl%-C: main waited "
    .. "%(sleep%) at .*:3\nstack traceback:\n.*")
  t.assertEquals(code, 130)
end

function TestRunner:test_has_asyncio_run_run_main_in_the_task_that_is_there()
  local output, errors, code = piped("-", [[
    local asyncio = require "asyncio"
    local go = asyncio.Event()
    local left = asyncio.create_task(function() go:wait() print "goes on" end)
    local me = asyncio.current_task()
    print(asyncio.run(function(...)
      asyncio.sleep(0)
      return asyncio.current_task() == me, ...
    end, "a", nil, 3))
    print(pcall(asyncio.run, function() error("boom", 0) end))
    print(asyncio.run(asyncio.create_task(function() return "a task's" end)))
    print(asyncio.run(coroutine.create(function() return "a coroutine's" end)))
    go:set()
    asyncio.await(left)
    print(select(2, asyncio.await(asyncio.create_task(function() return pcall(asyncio.run, print) end))))
    print((select(2, pcall(asyncio.run, 42)):gsub("^.*bad", "bad")))
  ]])
  t.assertEquals({ output, errors, code }, { [[
true	a	nil	3
false	boom
a task's
a coroutine's
goes on
stdin:14: an event loop is already running in this Lua state: call main() itself, or create_task(main)
bad argument #1 to 'run' (function or coroutine expected, got number; write run(main, x), not run(main(x)))
]], "", 0 })
end

function TestRunner:test_tells_what_it_takes()
  local output, errors, code = piped "--help"
  t.assertStrMatches(output, "usage: asyncio .*")
  t.assertEquals({ errors, code }, { "", 0 })
  output, errors, code = piped "--version"
  t.assertStrMatches(output, "lua%-asyncio .*, Lua 5.%d, libuv 1%.%d+%.%d+\n")
  t.assertEquals({ errors, code }, { "", 0 })
  output, errors, code = piped "--nonsense"
  t.assertStrMatches(errors, "asyncio: unrecognized option '%-%-nonsense'\nusage: .*")
  t.assertEquals({ output, code }, { "", 1 })
end

t.finish { sampled = true }
