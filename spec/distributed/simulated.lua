-- simulated.lua - machines, and the network between them and a Redis in memory, on the virtual clock: for specs that
-- run executors and workers as they are, and have the network and the machines fail.
--
-- Who connects to `redis://NAME` is a process of the machine NAME. A command may be late, or lost with its connection
-- before or after it was carried out; a machine may stand still, for the network, or die.
local asyncio = require "asyncio"
local grammar = require "asyncio.grammar"
local memory = require "distributed.memory"
local opening = require "asyncio.redis.opening"

local simulated = {}

local random = math.random

local World = {}
World.__index = World

local NULL = memory.NULL

-- The network

local Link = {}
Link.__index = Link

--- Reads commands as they come; one that waits is given up when its client goes, what he had said is done.
local function receive(world, link)
  while true do
    local ok, data = asyncio.pcall(link.reader.read, link.reader, 65536)
    if not ok and not asyncio.isinstance(data, asyncio.TimeoutError) then break end
    if ok and not data then break end
    if ok then link.parser:feed(data) end
    for kind, value in link.parser.next, link.parser do
      assert(kind == "reply", value)
      link.commands:put_nowait(value)
    end
  end
  link.left = true
  link.commands:shutdown()
  world.changed:set()
end

function Link:cut()
  self.gone, self.left = true, true
  self.writer:abort()
end

--- Nothing gets through while its machine stands still.
local function wait_for(link)
  local machine = link.machine
  while machine.frozen > asyncio.get_running_loop():time() and not link.gone do asyncio.sleep(0.01) end
end

local function say(link, bytes)
  wait_for(link)
  if not link.left then link.writer:write(bytes) end
end

--- Seconds for which a command waits for what it reads.
local function patience(command)
  local name = command[1]:upper()
  if name == "BZPOPMIN" then return tonumber(command[#command]) end
  if name ~= "XREAD" then return nil end
  for i = 2, #command do
    if command[i]:upper() == "BLOCK" then return tonumber(command[i + 1]) / 1000 end
  end
end

--- Leaves "BLOCK ms" out, as memory.lua waits for nothing.
local function without_block(command)
  local copy = {}
  for i, word in ipairs(command) do
    local skip = word:upper() == "BLOCK" or i > 1 and command[i - 1]:upper() == "BLOCK"
    if command[1]:upper() ~= "XREAD" or not skip then copy[#copy + 1] = word end
  end
  return table.unpack(copy)
end

local function carry_out(world, link, command)
  local loop = asyncio.get_running_loop()
  local seconds = patience(command)
  local reply = world.db:reply(without_block(command))
  local deadline = seconds and loop:time() + (seconds == 0 and math.huge or seconds)
  while seconds and reply == NULL and deadline - loop:time() > 1e-6 and not link.left do
    world.changed:clear()
    asyncio.move_on_after(deadline - loop:time(), world.changed.wait, world.changed)
    if not link.left then reply = world.db:reply(without_block(command)) end
  end
  world.changed:set()
  return reply
end

local function subscribe(world, link, command)
  for i = 2, #command do
    world.subscribers[link] = world.subscribers[link] or {}
    world.subscribers[link][command[i]] = true
    say(link, ("*3\r\n$9\r\nsubscribe\r\n%s:%d\r\n"):format(memory.encode(command[i]), i - 1))
  end
end

--- What happens to a command: nothing, as a rule. A spec may decide, by world.decide(script or command, link).
local function fate(world, link, command)
  if world.decide then
    local script = command[1]:upper() == "EVALSHA" and world.db.scripts[command[2]]
    local what, seconds = world.decide(script and script.text or command[1], link)
    return what or "none", seconds
  end
  if not world.faulty or link.machine.safe then return "none" end
  if random() > world.faults.rate then return "none" end
  local kinds = world.faults.kinds
  return kinds[random(#kinds)]
end

local function serve(world, link)
  for _, command in link.commands:iter() do
    wait_for(link)
    local what, seconds = fate(world, link, command)
    seconds = seconds or random() * world.faults.late
    asyncio.sleep(random() * world.latency)
    if what == "late" then asyncio.sleep(seconds) end
    if link.gone or link.machine.dead or what == "lost" then return end
    local name = command[1]:upper()
    if name == "SUBSCRIBE" then
      subscribe(world, link, command)
    elseif name == "PING" and world.subscribers[link] then
      say(link, "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
    else
      local reply = carry_out(world, link, command)
      if what == "unanswered" then return end
      if what == "silent" then -- half open: nobody answers any more, nor closes
        while not link.left do asyncio.sleep(1) end
        return
      end
      if what == "answered late" then asyncio.sleep(seconds) end
      if link.gone then return end
      say(link, memory.encode(reply))
    end
  end
end

local function accept(world, machine, read_timeout)
  if machine.dead or world.down then error(asyncio.ConnectionRefusedError "connect: refused", 0) end
  asyncio.sleep(random() * world.latency)
  if machine.dead or world.down then error(asyncio.ConnectionRefusedError "connect: refused", 0) end
  local pair = table.pack(asyncio.stream_pair { read_timeout = read_timeout })
  local link = setmetatable({
    machine = machine, reader = pair[3], writer = pair[4], parser = grammar.resp(), gone = false,
    left = false, commands = asyncio.Queue(),
  }, Link)
  machine.links[link] = true
  world.tasks[asyncio.create_task(receive, world, link)] = true
  world.tasks[asyncio.create_task(function()
    local ok, err = asyncio.pcall(serve, world, link)
    if not ok and not asyncio.isinstance(err, asyncio.OSError) then world:violated("the network: " .. tostring(err)) end
    link:cut()
    machine.links[link], world.subscribers[link] = nil, nil
  end)] = true
  return pair[1], pair[2]
end

-- Machines

--- The machine of that name; it is made when it is first asked for.
function World:machine(name)
  local machine = self.machines[name] or { name = name, links = {}, dead = false, frozen = 0, safe = false, runs = {} }
  self.machines[name] = machine
  return machine
end

--- Its power fails: nothing of it is heard any more.
function World:kill(name)
  local machine = self:machine(name)
  machine.dead = true
  for link in pairs(machine.links) do link:cut() end
end

--- For so many seconds nothing comes from it or to it; what was under way arrives then.
function World:freeze(name, seconds)
  local machine = self:machine(name)
  machine.frozen = math.max(machine.frozen, asyncio.get_running_loop():time() + seconds)
end

--- Redis ends, and is back so many seconds later, with what it knew or with what it had saved before.
function World:restart(seconds, keys)
  self.down = true
  keys = keys or self.db:save()
  for _, machine in pairs(self.machines) do
    for link in pairs(machine.links) do link:cut() end
  end
  asyncio.sleep(seconds)
  self.db:restore(keys)
  self.down = false
end

-- The world

--- Something that must not be.
function World:violated(text) self.violations[#self.violations + 1] = text end

function World:__close()
  opening.stream = self.former
  for _, machine in pairs(self.machines) do
    machine.dead = true
    for link in pairs(machine.links) do link:cut() end
  end
  for task in pairs(self.tasks) do task:stop() end
end

--- Makes one, in a task. opts: `latency` (0.002) seconds at most; `faults`: { rate, kinds, late }, from the moment on
-- when `world.faulty` is set; kinds: "lost", "unanswered", "silent", "late", "answered late"
function simulated.world(opts)
  local loop = asyncio.get_running_loop()
  local self = setmetatable({
    machines = {}, tasks = {}, subscribers = {}, violations = {}, changed = asyncio.Event(), down = false,
    faulty = false, faults = opts.faults or { rate = 0, kinds = {}, late = 0 }, latency = opts.latency or 0.002,
    former = opening.stream, skew = 0,
  }, World)
  self.db = memory.new(function() return math.floor((loop:time() + self.skew) * 1000) + 1700000000000 end)
  self.db.on_publish = function(channel, text)
    local n = 0
    for link, channels in pairs(self.subscribers) do
      if channels[channel] then
        n = n + 1
        if link.machine.frozen < loop:time() and not link.gone then
          link.writer:write("*3\r\n$7\r\nmessage\r\n" .. memory.encode(channel) .. memory.encode(text))
        end
      end
    end
    return n
  end
  self.db.on_script_error = function(text) self:violated("a script failed: " .. text) end
  opening.stream = function(settings, read_timeout) return accept(self, self:machine(settings.host), read_timeout) end
  return self
end

return simulated
