--- A worker's talks. One task talks with Redis, for all queues in turn (`serve`): what has ended meanwhile
-- and what is taken go in one script. Others hear the bell, look for what is due or was left behind, listen
-- to the keeper and to the threads. Functions of the worker.
-- @module asyncio.distributed.serving
local core = require "asyncio.core"
local running = require "asyncio.distributed.running"
local timeouts = require "asyncio.timeouts"

local BATCH = 100     -- ends that one script is told
local PAUSE = 5       -- seconds between two looks for what was left behind, at most; and for the bell
local QUICKEST = 0.05 -- ... and at least
local CLOSER = 1000   -- ms without a renewal from which on a job is looked at closely

local serving = {}

-- Talking with Redis

local function turn(self, queue)
  local _ <close> = self.talking:acquire()
  local most, since = queue.hungry and self:room() or 0, core.time() -- else the bell tells of new ones
  if most > 0 then queue.hungry = false end -- it may ring meanwhile
  local ends = table.move(queue.ends, 1, math.min(#queue.ends, BATCH), 1, {})
  local words = { self.name, most, #ends }
  for i, said in ipairs(ends) do table.move(said, 1, 7, 4 + (i - 1) * 7, words) end
  local reply, again = self:ask("turn", queue, table.unpack(words))
  table.move(queue.ends, #ends + 1, #queue.ends + #ends, 1) -- those that came meanwhile, too
  queue.unsure = queue.unsure or again
  for i, heard in ipairs(reply[1]) do
    if heard == 0 and not again then
      self:tell("%s is another's by now: its end was not heard", ends[i][4])
    end
  end
  local taken = reply[2]
  queue.hungry = queue.hungry or reply[3] == 1
  for i = 1, #taken, 5 do
    local job = running.admit(self, queue, since, table.unpack(taken, i, i + 4))
    if job then running.start(self, job) end
  end
  running.send_orders(self)
end

--- Whether there is something to say, or to ask.
local function has_business(self, queue) return queue.ends[1] or queue.hungry and self:room() > 0 end

--- All has been said that there is to say.
local function is_idle(self)
  if self.busy > 0 then return false end
  for _, queue in ipairs(self.queues) do
    if queue.ends[1] then return false end
  end
  return true
end

function serving.serve(self)
  local first = 0
  while not (self.stopping and is_idle(self)) do
    self.changed:clear()
    local worked = false
    for i = 1, #self.queues do -- each of them is first in its turn
      local queue = self.queues[(first + i) % #self.queues + 1]
      if has_business(self, queue) then
        turn(self, queue)
        worked = true
      end
    end
    first = first + 1
    local lone = self.alone
    if lone and not lone.task and self.busy == #self.lones then
      running.start_alone(self, lone)
      worked = true
    end
    running.send_orders(self)
    if not worked then
      self.idle:set()
      self.changed:wait()
    end
  end
end

-- The bell

local function read_bell(self)
  local words = {}
  for i, queue in ipairs(self.queues) do words[i] = queue.base .. "bell" end
  words[#words + 1] = PAUSE
  local reply = self.link:get():call("BZPOPMIN", table.unpack(words))
  for _, queue in ipairs(self.queues) do
    if not reply then -- what was never rung for
      queue.hungry = true
    elseif reply[1] == queue.base .. "bell" then
      if reply[2] == "delay" then queue.look:set() else queue.hungry = true end
      if self:room() <= 0 then -- it was for another, then
        self.link:run(math.huge, "ring", queue.base, reply[2])
        queue.hungry = true
      end
    end
  end
  self.changed:set()
end

local function is_listening(self)
  if self:room() <= 0 then return false end
  for _, queue in ipairs(self.queues) do
    if queue.hungry then return false end
  end
  return true
end

--- Idle workers hear the bell, one each time it is rung.
function serving.hear(self)
  while true do
    while not is_listening(self) do
      self.idle:clear()
      self.idle:wait()
    end
    self.link:patiently(math.huge, function() read_bell(self) end)
  end
end

-- What was left behind, and what is due

local function claim(self, queue)
  local _ <close> = self.talking:acquire()
  local since, words = core.time(), {
    self.name, queue.claimed and math.ceil(math.min(CLOSER, self.shortest * 1000)) or 0, self:room(),
    (not self.stopping and not self.alone) and 1 or 0, queue.unsure and 1 or 0,
  }
  for _, job in pairs(self.running) do
    if job.queue == queue then words[#words + 1] = job.p .. job.entry end
  end
  for _, said in ipairs(queue.ends) do words[#words + 1] = said[1] .. said[2] end
  local reply, again = self:ask("claim", queue, table.unpack(words))
  queue.unsure, queue.claimed = again, true -- the first time one looks at all, and learns their leases
  if reply[2] > 0 then self.shortest = math.min(self.shortest, reply[2] / 1000) end
  local taken = reply[1]
  for i = 1, #taken, 6 do
    local job = running.admit(self, queue, since, table.unpack(taken, i, i + 4))
    if job and taken[i + 5] == "alone" then
      table.insert(self.lones, job)
      self.alone = self.lones[1]
      self.changed:set()
    elseif job then
      running.start(self, job)
    end
  end
  running.send_orders(self)
end

local function due(self, queue)
  local ms = self:ask("due", queue)
  queue.due = ms >= 0 and core.time() + ms / 1000 or math.huge
end

--- Between two looks for what was left behind.
local function pause(self) return math.max(QUICKEST, math.min(PAUSE, self.shortest / 3)) end

function serving.look_after(self, queue)
  local claimed = -math.huge
  while true do
    queue.look:clear()
    if core.time() >= claimed + pause(self) * (0.8 + 0.2 * math.random()) then
      claim(self, queue)
      claimed = core.time()
    end
    due(self, queue)
    local rest = math.min(pause(self), queue.due - core.time())
    timeouts.move_on_after(math.max(0.001, rest), queue.look.wait, queue.look)
  end
end

-- The keeper's news, and the threads' calls

local NEWS = {
  cancel = function(job) job.cancelled = true end,
  late = function(job) job.given_up = true end,
  lost = function(job) job.lost, job.said_lost = true, true end,
}

function serving.read_news(self)
  for _, item in self.news:iter() do
    local job = self.running[item.place]
    if job then
      NEWS[item.what](job)
      self:tell("%s %s: %s", job.id, job.facts.name, item.what)
      if job.task then
        job.task:cancel()
      elseif not job.beginning then -- reserved; start_alone looks, once it begins
        local what = item.what == "cancel" and "cancelled" or "back"
        if item.what ~= "lost" then running.say(self, job, what) end
        running.free(self, job)
      end
    end
  end
end

local function answer_call(_, job, message)
  local hands = job.hands
  if message.what == "begin" then
    message.answer:put { hands.begin(message.key) }
  else
    message.answer:put { hands.keep(message.key, message.results) }
  end
end

function serving.read_calls(self)
  for _, message in self.calls:iter() do
    local job = self.running[message.place]
    if message.what == "begun" then
      if job then job.has_begun = true end
    elseif message.what == "left" then
      if job then
        job.has_left = true
        if job.task:done() then running.free(self, job) end
      end
    elseif job and not job.task:done() then
      self:begin("once", answer_call, job, message)
    else
      message.answer:put { "lost" }
    end
  end
end

return serving
