--- Condition: a lock's line, whose places are taken by those who ask and by those whose wait is over;
--- and a line of those who wait.
--
-- Tasks that are cancelled between two calls ask for the lock again in an order that can't be seen from
-- here: they are a group, and the first of them to come back had the lock.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Condition = { name = "Condition", guard = true }
Condition.__index = Condition

--- A stranger, while one of a group has the lock and nobody knows which.
local SOMEONE = { name = "someone" }

function Condition.new(run)
  local lock = run.random:chance(50) and asyncio.Lock() or nil
  return setmetatable({
    run = run, object = asyncio.Condition(lock), waiting = {}, line = {}, ready = false,
  }, Condition)
end

--- Hands the lock on. A place in its line is {actor, what then, group}.
function Condition:pass()
  local place = self.line[1]
  self.owner = nil
  if not place then return end
  if place.group then
    self.owner = SOMEONE
    return
  end
  table.remove(self.line, 1)
  self.owner = place.actor
  self.run:grant(place.actor, place.outcome)
end

function Condition:ask(actor, result, group)
  table.insert(self.line, { actor = actor, outcome = result, group = group })
  if not self.owner then self:pass() end
end

--- This one came back first.
function Condition:resolve(actor)
  if self.owner ~= SOMEONE then return end
  for i, place in ipairs(self.line) do
    if place.group ~= self.line[1].group then return end
    if place.actor == actor then
      table.remove(self.line, i)
      self.owner = actor
      self.run:grant(actor, place.outcome)
      return
    end
  end
end

function Condition:interrupt(actor)
  if self.run:leave(actor, self.waiting) then
    return self:ask(actor, outcome.INTERRUPTED, self.run.syncs)
  end
  for i, place in ipairs(self.line) do
    if place.actor == actor and place.asked then
      table.remove(self.line, i)
      self.run:grant(actor, outcome.INTERRUPTED)
    end
  end -- one that waits for the lock again goes on doing so
end

function Condition:closed(actor)
  if self.owner == actor then self:pass() end
end

function Condition:holds(actor) return self.owner == actor end

function Condition:choose(random, actor)
  if self.owner == actor then
    return random:weighted {
      "wait", 5, "wait_for", 3, "notify", 4, "notify_all", 1, "set_ready", 1, "release", 4 }
  end
  return random:weighted { "acquire", 10, "with", 4, "wait", 1, "wait_for", 1, "notify", 1, "release", 1 }
end

function Condition.argument(_, random, name)
  if name == "notify" then return random:int(0, 3) end
  return random:chance(50)
end

function Condition:check()
  self.run:equal("locked()", self.object:locked(), self.owner ~= nil)
end

function Condition:idle()
  self.run:expect(self.owner ~= SOMEONE, "the lock was handed to a task that never ran")
  if self.line[1] then self.run:equal("a task waits for the lock; locked()", self.object:locked(), true) end
end

--- Releases the lock and waits.
function Condition:start_waiting(actor)
  self:pass()
  return self.run:join(actor, self.waiting)
end

local function with_lock(begin)
  return function(m, actor, argument)
    if m.owner ~= actor then return outcome.raises(asyncio.InvalidStateError) end
    return begin(m, actor, argument)
  end
end

local function notify(m, n)
  for _ = 1, math.min(n, #m.waiting) do m:ask(table.remove(m.waiting, 1), outcome.returns(true)) end
  return outcome.returns()
end

Condition.ops = {
  acquire = {
    budgeted = true,
    begin = function(m, actor)
      if m.owner == actor then return outcome.raises(asyncio.Error) end
      local got = outcome.returns(m.object)
      if m.owner then
        table.insert(m.line, { actor = actor, outcome = got, asked = true })
        return m.run:join(actor)
      end
      m.owner = actor
      return got
    end,
    real = function(m, actor)
      local condition = m.object:acquire()
      m.run:expect(m.owner == actor, "it has the lock out of turn")
      return condition
    end,
  },
  release = {
    begin = with_lock(function(m)
      m:pass()
      return outcome.returns()
    end),
    real = function(m) m.object:release() end,
  },
  wait = {
    begin = with_lock(Condition.start_waiting),
    real = function(m) return m.object:wait() end,
  },
  wait_for = {
    begin = function(m, actor)
      if m.ready or m.owner == actor then return outcome.returns(true) end
      return outcome.raises(asyncio.InvalidStateError)
    end,
    -- The predicate is called with the lock held, and each time that it fails the task waits again.
    real = function(m, actor)
      return m.object:wait_for(function()
        m.run:came_back(actor)
        if m.ready then return true end
        if m.owner == actor then m.run:wait_again(actor, m:start_waiting(actor)) end
        return false
      end)
    end,
  },
  notify = { begin = with_lock(function(m, _, n) return notify(m, n) end),
    real = function(m, _, n) m.object:notify(n) end },
  notify_all = { begin = with_lock(function(m) return notify(m, math.huge) end),
    real = function(m) m.object:notify_all() end },
  set_ready = {
    begin = function(m, _, ready)
      m.ready = ready
      return outcome.returns()
    end,
    real = function() end,
  },
}

return { Condition }
