-- embedding_spec.lua - the examples of doc/embedding.md: a host in C, luv's loop beside ours, ours beside luv's.
local t = require "helper"
local program = require "program"

local SOURCE = program.examples .. "embedding/host.c"

TestHostInC = {}
TestLuv = {}

-- a host under a tool (valgrind) runs as the specs do: the command without its Lua
local TOOL = (os.getenv "SPEC_LUA" or ""):gsub("%S+$", "")

--- Builds it as the example says, with the Lua that the specs run under; its path, and what removes it.
local function built()
  local line = program.content(SOURCE):match "\n%*%*   (cc [^\n]*) && %./host\n"
  t.assertNotNil(line, "no line that says how to build it")
  local name = os.tmpname()
  line = line:gsub("^cc ", "${CC:-cc} -Wall -Wextra -Werror "):gsub("%-o host ", "-o " .. name .. ".host ")
    :gsub("examples/embedding/host%.c", SOURCE):gsub("%$%(pkg%-config [^)]*%)", function()
      return t.cflags .. " " .. t.libs
    end)
  local output, status = program.shell("%s 2>&1", line)
  t.assertEquals({ output, status }, { "", 0 })
  return name .. ".host", setmetatable({}, { __close = function()
    os.remove(name)
    os.remove(name .. ".host")
  end })
end

function TestHostInC:test_is_short()
  t.assertTrue(select(2, program.content(SOURCE):gsub("\n", "")) < 80)
end

function TestHostInC:test_runs_tasks_beside_its_own_jobs_to_their_end()
  local host, _ <close> = built()
  local output, status = program.shell("timeout %d %s%s 2 2>&1", program.PATIENCE, TOOL, host)
  t.assertEquals(status, 0, output)
  t.assertStrMatches(output, ".*script: LINE 1\n.*script: LINE 2\n.*host: nothing can come any more\n")
  t.assertStrContains(output, "host: tick 1\n")
  local ticks = select(2, output:gsub("tick", ""))
  t.assertTrue(ticks >= 2 and (t.slow or ticks <= 20), output)
end

function TestHostInC:test_its_ctrl_c_is_its_own()
  local host, _ <close> = built()
  local started <close> = program.start("%s%s 100000", TOOL, host)
  started:expect "script: LINE 1\n"
  local output, status = started:interrupt()
  t.assertEquals(status, 0, output)
  t.assertStrContains(output, "host: stops\n")
end

-- luv

local function needs_luv()
  local found = pcall(require, "luv")
  if not found then t.skip "luv is not installed" end
end

local function run(name)
  return program.shell("timeout %d %s %sembedding/%s.lua 2>&1", program.PATIENCE, program.lua, program.examples, name)
end

function TestLuv:test_drives_our_loop()
  needs_luv()
  local output, status = run "luv_host"
  t.assertEquals(status, 0, output)
  t.assertStrMatches(output, ".*task: HELLO FROM A TASK\n.*")
  t.assertStrMatches(output, ".*luv: tick 3\n.*")
  t.assertStrMatches(output, ".*task: a thread's result\n")
end

function TestLuv:test_is_driven_by_a_task()
  needs_luv()
  local output, status = run "luv_guest"
  t.assertEquals(status, 0, output)
  t.assertEquals(output, "file\nfalse\tENOENT: no such file or directory: /no/such/file\n"
    .. ("luv's tick\n"):rep(3))
end

t.finish()
