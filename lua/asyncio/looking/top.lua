--- `asyncio top PID`: the busiest tasks, and how the loop is, again and again.
-- @module asyncio.looking.top
local asyncio = require "asyncio"
local client = require "asyncio.looking.client"
local core = require "asyncio.core"

local INTERVAL = 1 -- seconds
local MOST_TASKS = 100
local LINES_OF_PIPE = 50

local Top = {}
Top.__index = Top

-- What is shown

local function percent(part, all) return all > 0 and math.min(100 * part / all, 100) or 0 end

local function per_second(self, key)
  local now, before = self.answer.numbers, self.before
  local seconds = before and now.uptime - before.uptime or now.uptime
  if not now[key] then return 0 end
  return seconds > 0 and (now[key] - (before and before[key] or 0)) / seconds or 0
end

--- The lines above the tasks.
local function head_of(self)
  local n, facts = self.answer.numbers, client.facts(self.process.pid)
  local busy = math.min(100 * per_second(self, "busy"), 100)
  local of = #self.loops > 1 and (" of %d"):format(#self.loops) or ""
  return {
    ("%s  %s"):format(self.process.pid or self.process.name, facts.command),
    ("loop %d%s, up %s: %.0f %% busy, %.0f turns/s, %.0f steps/s, lag %.1f ms (at most %.1f), " ..
      "longest step %.1f ms"):format(self.number, of, client.duration(n.uptime or 0), busy,
      per_second(self, "turns"), per_second(self, "steps"), 1000 * (n.lag or 0),
      1000 * (n.max_lag or 0), 1000 * (n.longest_step or 0)),
    ("%d tasks (%.0f new/s), %d timers, %d jobs; %d streams, %s/s in, %s/s out"):format(n.tasks or 0,
      per_second(self, "tasks_made"), n.timers or 0, n.jobs or 0, n.streams or 0,
      client.bytes(per_second(self, "bytes_in")), client.bytes(per_second(self, "bytes_out"))),
    ("Lua %s%s%s"):format(client.bytes(n.memory or 0),
      facts.memory and (", process %s"):format(client.bytes(facts.memory)) or "",
      facts.threads and (", %d threads"):format(facts.threads) or ""),
    self.note or "",
    (" BUSY%  SCHED%   IDLE%   STEPS  TASK"),
  }
end

local function line_of(task)
  local times = task.busy
  local all = times.busy + times.scheduled + times.idle
  local waits = task.wait ~= "" and task.wait or task.state
  local at = task.places[1] and "  " .. task.places[1].place or ""
  return ("%6.1f  %6.1f  %6.1f  %6d  %s  (%s)%s"):format(percent(times.busy, all),
    percent(times.scheduled, all), percent(times.idle, all), times.steps, task.name, waits, at)
end

local function lines_of(self)
  local lines = head_of(self)
  for _, task in ipairs(self.answer.tasks) do
    if task.busy then lines[#lines + 1] = line_of(task) end
  end
  return lines
end

-- A text of UTF-8 that is no wider than that; what is no UTF-8 counts by bytes.
local function cut(text, width)
  local length = utf8.len(text)
  if not length then return text:sub(1, width) end
  return length <= width and text or text:sub(1, utf8.offset(text, width + 1) - 1)
end

local function terminal_size()
  local pipe <close> = io.popen "stty size 2>/dev/null </dev/tty"
  local rows, columns = pipe:read("n", "n")
  return rows and rows > 0 and rows or 24, columns and columns > 0 and columns or 80
end

local function paint(self)
  local rows, columns = terminal_size()
  local lines, parts = lines_of(self), { "\27[H" }
  for i = 1, math.min(#lines, rows) do
    local text = cut(lines[i], columns)
    if i == 6 then text = "\27[7m" .. text .. (" "):rep(columns - #text) .. "\27[0m" end
    parts[#parts + 1] = text .. "\27[K" .. (i < rows and i < #lines and "\r\n" or "")
  end
  parts[#parts + 1] = "\27[J"
  io.stdout:write(table.concat(parts))
  io.stdout:flush()
end

-- Asking

local function look(self)
  if not self.connection then
    self.connection = client.connect(self.process)
    self.loops = self.connection:loops()
  end
  local number = self.loops[(self.chosen - 1) % #self.loops + 1]
  local text = self.connection:ask(("top %d %d"):format(number, self.most))
  self.before = self.number == number and self.answer and self.answer.numbers or nil
  self.number, self.answer, self.note = number, client.parse(text), nil
end

--- Where the process is silent for a while top waits for it.
local function look_again(self)
  local ok, err = asyncio.pcall(look, self)
  if ok then return end
  local silent = asyncio.isinstance(err, client.Failure) and err.message:find "does not answer"
  if not silent then error(err, 0) end
  self.note = "*** " .. err.message .. " ***"
  self.connection:close()
  self.connection = nil
end

-- Keys

local KEYS = {
  q = function(self) self.ends = true end,
  Q = function(self) self.ends = true end,
  p = function(self) self.paused = not self.paused end,
  l = function(self) self.chosen = self.chosen + 1 end,
  [" "] = function() end,
}

local function read_keys(self)
  local reader = asyncio.stdin()
  while not self.ends do
    local key = reader:read(1)
    if not key then return end
    if KEYS[key] then
      KEYS[key](self)
      self.key:set()
    end
  end
end

local function wait_for_key(self)
  self.key:clear()
  asyncio.move_on_after(INTERVAL, self.key.wait, self.key)
end

--- The terminal gives single keys, shows none of them, and another screen; what was there comes back.
local function take_terminal()
  local pipe <close> = io.popen "stty -g 2>/dev/null </dev/tty"
  local saved = (pipe:read "a"):match "^[%w:=]+"
  os.execute "stty -icanon -echo min 1 2>/dev/null </dev/tty"
  io.stdout:write "\27[?1049h\27[?25l"
  return setmetatable({}, { __close = function()
    io.stdout:write "\27[?25h\27[?1049l"
    io.stdout:flush()
    if saved then os.execute("stty " .. saved .. " 2>/dev/null </dev/tty") end
  end })
end

local function show(self)
  local _ <close> = take_terminal()
  self.key = asyncio.Event()
  local _ <close> = asyncio.create_task(read_keys, self)
  while not self.ends do
    if not self.paused then look_again(self) end
    if self.answer then paint(self) end
    wait_for_key(self)
  end
end

--- Once: what happens within a second.
local function print_once(self)
  look(self)
  asyncio.sleep(INTERVAL)
  look(self)
  for _, line in ipairs(lines_of(self)) do
    if line ~= "" then io.stdout:write(line, "\n") end
  end
end

local function main(name)
  local terminal = core.isatty(1) and core.isatty(0)
  local self = setmetatable({ process = client.find(name), chosen = 1, loops = {} }, Top)
  self.most = terminal and MOST_TASKS or LINES_OF_PIPE
  if terminal then show(self) else print_once(self) end
  if self.connection then self.connection:close() end
end

return function(name) return client.run(main, name) end
