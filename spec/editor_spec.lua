-- The C module asyncio.editor alone; how lines are edited is repl_spec's.
local t = require "helper"

TestEditor = {}

local LUA = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"

--- Runs a program in a terminal; what it prints.
local function in_terminal(source, term)
  local name = os.tmpname()
  do
    local file <close> = assert(io.open(name, "w"))
    file:write(source)
  end
  local pipe = assert(io.popen(("PATH=/usr/bin:$PATH TERM=%s INPUTRC=/dev/null python3 -c '%s' %s %s </dev/null 2>&1")
    :format(term or "xterm", "import pty, sys; pty.spawn(sys.argv[1:])", LUA, name)))
  local output = pipe:read "a":gsub("\r", "")
  pipe:close()
  os.remove(name)
  return (output:gsub("\27%[[0-9;?]*[A-Za-z]", ""))
end

function TestEditor:test_is_not_loaded_by_the_library()
  t.assertEquals(t.lua [[require "asyncio" require "asyncio.testing" print(package.loaded["asyncio.editor"])]],
    "nil\n")
end

function TestEditor:test_does_not_need_the_library()
  t.assertEquals(t.lua [[require "asyncio.editor" print(package.loaded["asyncio.core"])]], "nil\n")
end

function TestEditor:test_refuses_what_is_no_terminal()
  t.assertEquals(t.lua [[print(require "asyncio.editor".open(function() end))]], "nil\tnot a terminal\n")
end

function TestEditor:test_refuses_a_terminal_that_can_do_nothing()
  t.assertEquals(in_terminal([[print(require "asyncio.editor".open(function() end))]], "dumb"),
    "nil\tthe terminal can do nothing\n")
end

function TestEditor:test_is_one_at_a_time()
  t.assertEquals(in_terminal [[
    local editor = require "asyncio.editor"
    local function nothing() end
    local one = editor.open(nothing)
    print(math.type(one:getfd()), editor.open(nothing))
    one:close()
    one:close()
    print(pcall(one.getfd, one))
    local two = editor.open(nothing)
    print(two ~= nil, select(2, pcall(two.getfd, {})):match "%b()")
  ]], [[
integer	nil	there is one already
false	the editor is closed
true	(asyncio.Editor expected, got table)
]])
end

function TestEditor:test_that_is_garbage_makes_room_for_another()
  t.assertEquals(in_terminal [[
    local editor = require "asyncio.editor"
    editor.open(print)
    collectgarbage()
    print(editor.open(print) ~= nil)
  ]], "true\n")
end

function TestEditor:test_a_file_it_makes_is_the_users_alone()
  local name = os.tmpname()
  os.remove(name)
  t.assertEquals(t.lua(([[
    local append = require "asyncio.editor".append_private
    print(append(%q, "one\n"), append(%q, "two\n"), append("/nonexistent/file", "x"))
    for line in io.lines(%q) do print(line) end
  ]]):format(name, name, name)), "true\ttrue\tfalse\none\ntwo\n")
  local pipe <close> = assert(io.popen(("ls -l '%s'"):format(name)))
  t.assertEquals(pipe:read(10), "-rw-------")
  os.remove(name)
end

t.finish()
