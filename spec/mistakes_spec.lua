-- What a person sees of typical mistakes, word by word: spec/mistakes.txt has the programs and the texts.
local t = require "helper"
local program = require "program"

TestMistakes = {}

local ROOT = arg[0]:match "^(.*)/spec/" or "."
local COMMANDS = { ["lua5.4"] = program.lua, asyncio = program.lua .. " " .. ROOT .. "/bin/asyncio" }

--- { title, lines of the program, command → text } for each.
local function read_mistakes()
  local list, mistake, into = {}, nil, nil
  for line in io.lines(ROOT .. "/spec/mistakes.txt") do
    local title, command = line:match "^# (.*)", line:match "^> (%S+)"
    if title then
      into = {}
      mistake = { title = title, source = into, seen = {} }
      list[#list + 1] = mistake
    elseif command then
      into = {}
      mistake.seen[command] = into
    elseif into then
      into[#into + 1] = line
    end
  end
  return list
end

local function joined(lines) return (table.concat(lines, "\n"):gsub("\n*$", "\n")) end

local function literally(text) return (text:gsub("%p", "%%%0")) end

--- Less what differs from run to run, or from one version of the library to the next.
local function normalised(text, script)
  text = ("\n" .. text):gsub(literally(script), "script")
  text = text:gsub("\n" .. literally(program.lua) .. ":", "\nlua5.4:"):sub(2)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do
    local internal = line:find "asyncio/%a+%.lua:%d+: in " or line:find "^%s*%[C%]: in "
    if not internal and not line:find("(...tail calls", 1, true) then
      lines[#lines + 1] = line:gsub("0x%x+", "ADDRESS"):gsub("127%.0%.0%.1:%d%d%d%d+", "127.0.0.1:PORT")
        :gsub("%d+%.%d%d%d s", "TIME"):gsub(", TIME of it waiting for a processor", ""):gsub("'Task%-%d+'", "'Task-N'")
    end
  end
  return joined(lines)
end

local function see(mistake, command, expected)
  local script = program.file_with(joined(mistake.source))
  local errors = os.tmpname()
  os.execute(("timeout 30 %s %s >/dev/null 2>%s </dev/null"):format(COMMANDS[command], script, errors))
  local text = program.content(errors)
  if not expected:find "held the loop" then text = t.unhurried(text) end
  text = normalised(text, script)
  os.remove(script)
  os.remove(errors)
  return text
end

for _, mistake in ipairs(read_mistakes()) do
  for command, lines in pairs(mistake.seen) do
    local name = ("test_%s_under_%s"):format(mistake.title:gsub("%W+", "_"), command:gsub("%W", ""))
    TestMistakes[name] = function()
      local expected = joined(lines)
      local seen = see(mistake, command, expected)
      if os.getenv "MISTAKES" then
        io.stdout:write(("# %s\n> %s\n%s"):format(mistake.title, command, seen))
      else
        t.assertEquals(seen, expected)
      end
    end
  end
end

if t.lua55 then TestMistakes = nil end -- whose own words are others

t.finish()
