-- pictures.lua FOLDER [virtual] - draws timelines of the lecture's programs, which doc/ and examples/lecture/ show: a
-- row for each task, what it waits for, who woke it. They run on the virtual clock with a trace. So the pictures are
-- the same each time, but for those with threads, which "virtual" leaves out.
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path
local asyncio = require "asyncio"
local json = require "json"
local svg = require "svg"
local testing = require "asyncio.testing"

local ROOT = arg[0]:match "^(.*)/[^/]*/[^/]*$" or "."
local LECTURE = "examples/lecture/"

-- What is drawn

local WIDTH, GUTTER, RIGHT = 780, 150, 22
local TOP, ROW, BAR, FLAT = 34, 36, 20, 10 -- pixels: above the first row, of a row, of what runs, of what waits
local STEP = 9 -- however short it ran: else nobody would see in which order
local GRAIN = 500000000 -- ns that times are rounded to: the programs sleep for whole seconds

--- Two clients that talk to the echo server, in memory.
local function two_clients(handler)
  local tasks = {}
  for i, pause in ipairs { 1, 2 } do
    local reader, writer, its_reader, its_writer = asyncio.stream_pair()
    tasks[2 * i - 1] = asyncio.create_task(handler, its_reader, its_writer)
    tasks[2 * i - 1]:set_name("connection " .. i)
    tasks[2 * i] = asyncio.create_task(function()
      for _, line in ipairs { "hello\n", "again\n" } do
        asyncio.sleep(pause)
        writer:send(line)
        reader:readline()
      end
      writer:close()
    end)
    tasks[2 * i]:set_name("client " .. i)
  end
  asyncio.gather(tasks)
end

--- start_server for a program that is drawn: its server is called by two clients, in memory, and ends with them.
local function start_server(handler)
  local server = setmetatable({}, { __close = function() end })
  function server.sockets() return { "memory" } end
  function server.serve_forever() two_clients(handler) end
  return server
end

--- One end of a connection in memory, as LuaSocket's sockets are used.
local function socket_of(reader, writer)
  return {
    receive = function() return (reader:readline() or ""):match "^(.*)\n" end,
    send = function(_, text) return writer:send(text) end,
    close = function() writer:close() end,
  }
end

--- The module `socket` for a program that is drawn, and a function that connects to its server.
local function sockets_in_memory()
  local waiting = asyncio.Queue()
  local function yes() return 1 end
  local listening = { setoption = yes, bind = yes, listen = yes, accept = function() return waiting:get() end }
  function listening.getsockname() return "memory", 0 end
  local function connect()
    local reader, writer, its_reader, its_writer = asyncio.stream_pair()
    waiting:put_nowait(socket_of(its_reader, its_writer))
    return socket_of(reader, writer)
  end
  return { tcp4 = function() return listening end }, connect
end

--- A program with LuaSocket as a task, called by two clients, each as if it were alone.
local function old_way(chunk, give_socket)
  local socket, connect = sockets_in_memory()
  give_socket(socket)
  asyncio.create_task(chunk):set_name "server"
  local clients = {}
  for i = 1, 2 do
    clients[i] = asyncio.create_task(function()
      local sock = connect()
      for _, line in ipairs { "hello\n", "again\n" } do
        asyncio.sleep(1)
        sock:send(line)
        sock:receive()
      end
      sock:close()
    end)
    clients[i]:set_name("client " .. i)
  end
  asyncio.gather(clients)
end

-- The programs, and what is drawn of them. `names`: what waits are called there.
local PROGRAMS = {
  { "13_double_sleep" }, { "21_one_after_the_other" }, { "22_create_task" }, { "33_future" },
  { "41_executor", threads = true }, { "51_queue" }, { "61_event" }, { "71_without_lock" }, { "72_lock" },
  { "73_semaphore" }, { "83_one_at_a_time", sockets = true, names = { ["queue get"] = "accept" } },
  { "01_async_tcp_server", with = { start_server = start_server } },
}

-- Families of waits, as the page of a trace has them: the colours are its own.
local FAMILIES = {
  { "step", "runs" }, { "ready", "woken, not yet its turn" }, { "time", "sleeps" }, { "task", "waits for tasks" },
  { "items", "waits for items" }, { "sync", "waits to be let on" }, { "net", "waits for the network" },
  { "job", "a thread works" },
}
local FAMILY = {
  sleep = "time", await = "task", gather = "task", wait = "task", event = "sync", lock = "sync", semaphore = "sync",
  ["queue get"] = "items", ["queue put"] = "items", accept = "net", read = "net", readline = "net", drain = "net",
}

-- A program and its trace

--- A trace has microseconds with three places; whole numbers can be compared.
local function nanoseconds(us) return us and math.floor(us * 1000 + 0.5) end

--- A program, with a `run` and whatever else it has from us. What threads get a copy of must be the real thing.
local function load_with(program, run)
  local path = ("%s/%s%s.lua"):format(ROOT, LECTURE, program[1])
  if program.threads then
    asyncio.run = run
    return assert(loadfile(path))
  end
  local module = setmetatable({ run = run }, { __index = function(_, key)
    return program.with and program.with[key] or asyncio[key]
  end })
  local modules = { asyncio = module }
  local chunk = assert(loadfile(path, "t", setmetatable({
    arg = {}, print = function() end, require = function(what) return modules[what] or require(what) end,
  }, { __index = _G })))
  if not program.sockets then return chunk end
  return function()
    run(function() old_way(chunk, function(socket) modules.socket = socket end) end)
  end
end

--- Runs a program with a trace of its main function; the events.
local function trace(program)
  local path = os.tmpname()
  local function run(main, ...)
    testing.async(function(...)
      asyncio.current_task():set_name "main"
      local it <close> = asyncio.trace(path .. ".json")
      main(...)
      it:close()
      for _, task in ipairs(asyncio.all_tasks()) do
        if task ~= asyncio.current_task() then task:cancel() end
      end
      asyncio.sleep(0)
    end, { clock = "virtual", timeout = 60 })(...)
  end
  load_with(program, run)()
  local file <close> = assert(io.open(path .. ".json"))
  local events = json.decode(file:read "a").traceEvents
  for _, event in ipairs(events) do
    event.ts, event.dur = nanoseconds(event.ts), nanoseconds(event.dur)
    event.name = program.names and program.names[event.name] or event.name
  end
  os.remove(path)
  os.remove(path .. ".json")
  return events
end

--- "…/51_queue.lua:10" → "consumer", if a function of that name is defined there; and "51_queue.lua:10".
local function function_at(source)
  local path, number = source:match "^(.*):(%d+)$"
  local file, n = path and io.open(path), 0
  if not file then return nil, source end
  for line in file:lines() do
    n = n + 1
    if n == tonumber(number) then
      file:close()
      return line:match "function ([%w_]+)%(", path:match "[^/]*$" .. ":" .. number
    end
  end
  file:close()
end

--- The rows of a trace, in the order in which their tasks were made; each has its stretches in order.
local function rows_of(events)
  local rows, by_id, used = {}, {}, {}
  for _, event in ipairs(events) do
    local args = event.args
    if event.name == "thread_name" and (args.what == "task" or args.what == "jobs") then
      local row = { id = event.tid, what = args.what, name = args.name, stretches = {}, marks = {} }
      if args.source then
        local name
        name, row.source = function_at(args.source)
        if not args.source:find(LECTURE, 1, true) then row.source = nil end
        if args.name:find "^Task%-" then row.name = name or row.name end
      end
      if args.what == "jobs" then row.name = "a thread" end
      rows[#rows + 1], by_id[event.tid] = row, row
    end
  end
  table.sort(rows, function(a, b) return a.id < b.id end)
  for _, row in ipairs(rows) do used[row.name] = (used[row.name] or 0) + 1 end
  local counts = {}
  for i, row in ipairs(rows) do
    row.index = i
    if used[row.name] > 1 then
      counts[row.name] = (counts[row.name] or 0) + 1
      row.name = row.name .. " " .. counts[row.name]
    end
  end
  for _, event in ipairs(events) do
    local row = by_id[event.tid]
    if row and event.ph == "X" then table.insert(row.stretches, event) end
    if row and event.ph == "i" then table.insert(row.marks, event) end
  end
  for _, row in ipairs(rows) do
    table.sort(row.stretches, function(a, b) return a.ts < b.ts or a.ts == b.ts and a.dur < b.dur end)
  end
  return rows, by_id
end

-- Where it stands

local function rounded(time) return (time + GRAIN // 2) // GRAIN * GRAIN end

--- All steps, in order: each has its own room, however short it was; what is between them is as long as it took.
local function steps_of(rows)
  local steps, last = {}, 0
  for _, row in ipairs(rows) do
    for _, event in ipairs(row.stretches) do
      if event.cat == "step" then steps[#steps + 1] = event end
      last = math.max(last, event.ts + event.dur)
    end
  end
  table.sort(steps, function(a, b) return a.ts < b.ts end)
  return steps, rounded(last)
end

--- A function from times to pixels.
local function placing(steps, duration)
  local scale = (WIDTH - GUTTER - RIGHT - #steps * STEP) / math.max(duration, GRAIN)
  return function(time)
    local before, within = 0, 0
    for _, step in ipairs(steps) do
      if step.ts + step.dur <= time then
        before = before + 1
      elseif step.ts < time then
        within, time = 0.5, step.ts
      end
    end
    return GUTTER + rounded(time) * scale + (before + within) * STEP
  end
end

-- The picture

local Picture = {}
Picture.__index = Picture

function Picture:add(format, ...)
  local values = table.pack(...)
  for i = 1, values.n do
    if math.type(values[i]) == "float" then values[i] = svg.number(values[i]) end
  end
  self[#self + 1] = format:format(table.unpack(values, 1, values.n))
end

function Picture:text(x, y, class, text, room)
  if room and #text * 6.2 > room then return end
  self:add('<text x="%s" y="%s" class="%s">%s</text>', x, y, class, svg.escaped(text))
end

function Picture:bar(x0, x1, middle, family, height)
  self.used[family] = true
  self:add('<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>', x0, middle - height / 2, math.max(x1 - x0, 1.0),
    height, family)
end

function Picture:row(row, by_id)
  local middle = TOP + (row.index - 0.5) * ROW
  if row.index % 2 == 0 then
    self:add('<rect x="0" y="%s" width="%s" height="%s" class="band"/>', middle - ROW / 2, WIDTH, ROW)
  end
  self:text(10, row.source and middle - 2 or middle + 4, "name", row.name)
  if row.source then self:text(10, middle + 12, "source", row.source) end
  for _, event in ipairs(row.stretches) do
    local x0, x1 = self.x(event.ts), self.x(event.ts + event.dur)
    if event.cat == "step" then
      self:bar(x0, x0 + STEP, middle, "step", BAR)
    elseif event.cat == "job" then
      self:bar(x0, x1, middle, "job", BAR)
      self:text(x0 + 6, middle + 4, "white", event.name, x1 - x0 - 8)
    elseif event.cat == "wait" then
      self:bar(x0, x1, middle, FAMILY[event.name] or error("no family for " .. event.name), FLAT)
      local on = event.args.on_task and by_id[event.args.on_task]
      local text = event.name .. (on and " · " .. on.name or "")
      self:text(x0 + 5, middle + 4, "what", #text * 6.2 < x1 - x0 - 8 and text or event.name, x1 - x0 - 8)
    elseif x1 - x0 > 1 then
      self:bar(x0, x1, middle, "ready", FLAT + 4)
    end
  end
  for _, mark in ipairs(row.marks) do
    local x = self.x(mark.ts + 1) + (mark.name == "done" and 0 or 6)
    self:add('<path d="M%s %sv%s" class="%s"/>', x, middle - BAR / 2 - 2, BAR + 4, mark.name)
  end
end

--- From whoever woke, or made, a task to that task's step.
function Picture:arrow(start, from, finish, to)
  local down = to.index > from.index
  local way, half = down and 1 or -1, BAR / 2
  local x0, y0 = self.x(start.ts), TOP + (from.index - 0.5) * ROW + way * half
  local x1, y1 = self.x(finish.ts) + STEP / 2, TOP + (to.index - 0.5) * ROW - way * half
  self:add('<path d="M%s %sC%s %s %s %s %s %s" class="arrow %s"/><path d="M%s %sl-3.5 %sh7z" class="head"/>',
    x0, y0, x0, y0 + way * 12, x1, y1 - way * 16, x1, y1 - way * 5, start.cat, x1, y1, -way * 6)
end

function Picture:arrows(events, by_id)
  local starts = {}
  for _, event in ipairs(events) do
    if event.ph == "s" then starts[event.id] = event end
  end
  for _, event in ipairs(events) do
    local start = event.ph == "f" and starts[event.id]
    local from, to = start and by_id[start.tid], by_id[event.tid]
    if start and from and to and from ~= to then self:arrow(start, from, event, to) end
  end
end

function Picture:axis(duration, height)
  local seconds = duration // 1000000000
  for second = 0, seconds, seconds > 12 and 2 or 1 do
    local x = second == 0 and GUTTER + 0.0 or self.x(second * 1000000000 - GRAIN // 2)
    self:add('<path d="M%s %sV%s" class="line"/>', x, TOP - 8, height)
    self:text(x + 3, TOP - 12, "axis", second .. " s")
  end
end

function Picture:legend(y)
  local x = 10
  for _, family in ipairs(FAMILIES) do
    if self.used[family[1]] then
      local tall = (family[1] == "step" or family[1] == "job") and 14 or 8
      self:add('<rect x="%s" y="%s" width="14" height="%s" class="%s"/>', x, y - tall / 2, tall, family[1])
      self:text(x + 19, y + 4, "axis", family[2])
      x = x + 36 + #family[2] * 6.1
    end
  end
  if self.arrowed then self:text(x, y + 4, "sign", "↷ wakes") end
end

local STYLE = [[
svg { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; background: var(--back); }
text { fill: var(--text); } .name { font-weight: 600; } .source { font-size: 10px; fill: var(--dim); }
.what { font-size: 11px; } .white { font-size: 11px; fill: var(--back); } .axis { font-size: 11px; fill: var(--dim); }
.band { fill: var(--band); } .line { stroke: var(--line); fill: none; } .back { fill: var(--back); }
.done { stroke: var(--dim); stroke-width: 1.5; } .failed { stroke: var(--error); } .cancelled { stroke: var(--dim); }
.arrow { stroke: var(--accent); fill: none; stroke-width: 1.3; opacity: .8; } .spawn { stroke-dasharray: 3 2; }
.head { fill: var(--accent); } .sign { font-size: 11px; fill: var(--accent); }
]]

local function styles()
  local rules = { STYLE }
  for _, family in ipairs(FAMILIES) do
    local opacity = (family[1] == "step" or family[1] == "job") and "" or " opacity: .62;"
    rules[#rules + 1] = (".%s { fill: var(--%s);%s }\n"):format(family[1], family[1], opacity)
  end
  return svg.styles(table.unpack(rules))
end

--- A trace's events as an SVG.
local function draw(name, events)
  local rows, by_id = rows_of(events)
  local steps, duration = steps_of(rows)
  local picture = setmetatable({ used = {}, x = placing(steps, duration) }, Picture)
  local height = TOP + #rows * ROW
  picture:axis(duration, height)
  for _, row in ipairs(rows) do picture:row(row, by_id) end
  local n = #picture
  picture:arrows(events, by_id)
  picture.arrowed = #picture > n
  picture:legend(height + 18)
  return svg.picture(WIDTH, height + 34, name .. ": when each task runs, and what it waits for", styles(), picture)
end

local folder = assert(arg[1], "pictures.lua FOLDER [virtual]")
for _, program in ipairs(PROGRAMS) do
  if not (program.threads and arg[2] == "virtual") then
    local picture = draw(program[1] .. ".lua", trace(program))
    svg.save(folder, program[1], picture)
  end
end
