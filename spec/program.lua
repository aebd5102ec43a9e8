-- program.lua - for the specs of programs: starts them, types into them, waits for what they print.
local t = require "helper"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local program = {
  examples = here .. "/../examples/",
  PATIENCE = t.slow and 100 or 30, -- seconds that anything may take
  plain_lua = os.getenv "LUA" or "lua5.4",
}
program.checked_lua = os.getenv "SPEC_LUA" or program.plain_lua -- under whatever tool
program.lua = t.slow and program.plain_lua or program.checked_lua

function program.content(name)
  local file <close> = assert(io.open(name, "rb"))
  return (file:read "a")
end

function program.file_with(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "wb"))
  file:write(text)
  return name
end

--- What a shell command prints, and its exit status.
function program.shell(format, ...)
  local pipe = assert(io.popen(format:format(...)))
  local output = t.unhurried(pipe:read "a")
  local _, _, status = pipe:close()
  return output, status
end

--- A program that runs beside us: we type into it, and wait for what it prints.
local Program = {}
Program.__index = Program

function program.start(format, ...)
  local out = os.tmpname()
  local command = ([[{ sh -c 'echo "[pid $$]"; exec %s'; echo "[status $?]"; } >%s 2>&1]]):format(
    format:format(...), out)
  local self = setmetatable({ pipe = assert(io.popen(command, "w")), out = out, at = 1 }, Program)
  self.pid = self:expect "%[pid (%d+)%]\n"
  return self
end

--- All that it has printed, complaints too.
function Program:output() return t.unhurried(program.content(self.out)) end

--- Waits until it has printed something that matches, after what was waited for before.
function Program:expect(pattern)
  for _ = 1, program.PATIENCE * 50 do
    local first, last, capture = self:output():find(pattern, self.at)
    if first then
      self.at = last + 1
      return capture
    end
    os.execute "sleep 0.02"
  end
  t.fail(("%q never came; there was: %s"):format(pattern, program.content(self.out)))
end

function Program:type(text)
  self.pipe:write(text, "\n")
  self.pipe:flush()
end

--- What it has printed and was not waited for.
function Program:rest() return self:output():sub(self.at) end

--- Waits for its end; the rest of its output, and its status.
function Program:wait()
  local from = self.at
  local status = self:expect "%[status (%d+)%]\n"
  return (self:output():sub(from):gsub("%[status.*", "")), tonumber(status)
end

--- Ends it as Ctrl-C does; the rest of its output, and its status.
function Program:interrupt()
  os.execute("kill -INT " .. self.pid)
  return self:wait()
end

function Program:__close()
  if not program.content(self.out):find "%[status" then os.execute("kill -TERM " .. self.pid) end
  self.pipe:close()
  os.remove(self.out)
end

--- An example that serves, on a free port.
function program.serve(path)
  local server = program.start("%s %s 127.0.0.1 0", program.lua, program.examples .. path)
  server.port = server:expect "Listening on 127%.0%.0%.1:(%d+)\n"
  return server
end

local function needs(name, test)
  if not os.execute(test .. " >/dev/null 2>&1") then t.skip(name .. " is not installed") end
end

function program.needs_nc() needs("nc", "command -v nc") end
function program.needs_python() needs("Python's asyncio", "python3 -c 'import asyncio'") end
function program.needs_luasocket() needs("LuaSocket", program.plain_lua .. " -l socket -e ''") end

--- Sends text through nc; the answer.
function program.nc(server, text)
  local name = program.file_with(text)
  local output = program.shell("timeout %d nc -N 127.0.0.1 %s <%s", program.PATIENCE, server.port, name)
  os.remove(name)
  return output
end

--- A person at nc, who has seen the server's greeting if there is one.
function program.person(server, greeting)
  local self = program.start("timeout %d nc -N 127.0.0.1 %s", program.PATIENCE, server.port)
  if greeting then self:expect(greeting) end
  return self
end

--- What a Python program prints.
function program.python(source, ...)
  local script = program.file_with(source)
  local output, status = program.shell("timeout %d python3 %s %s 2>&1", program.PATIENCE, script,
    table.concat({ ... }, " "))
  os.remove(script)
  t.assertEquals(status, 0, output)
  return output
end

return program
