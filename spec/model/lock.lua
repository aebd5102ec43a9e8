--- Lock: one owner; who asks while there is one stands in line.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Lock = { name = "Lock", guard = true }
Lock.__index = Lock

function Lock.new(run)
  return setmetatable({ run = run, object = asyncio.Lock(), line = {}, inside = 0 }, Lock)
end

function Lock:pass()
  self.owner = table.remove(self.line, 1)
  if self.owner then self.run:grant(self.owner, outcome.returns(self.object)) end
end

function Lock:interrupt(actor)
  self.run:leave(actor, self.line)
  self.run:grant(actor, outcome.INTERRUPTED)
end

--- The block of an `acquire` is left; without an error, whatever was released by hand.
function Lock:closed(actor)
  if self.owner ~= actor then return end
  self.inside = self.inside - 1
  self:pass()
end

function Lock:holds(actor) return self.owner == actor end

function Lock:choose(random, actor)
  if self.owner == actor then return random:weighted { "release", 6, "acquire", 1, "locked", 1 } end
  return random:weighted { "with", 6, "acquire", 5, "release", 1, "locked", 1 }
end

function Lock:check()
  self.run:equal("locked()", self.object:locked(), self.owner ~= nil)
end

function Lock:idle()
  if self.line[1] then self.run:equal("a task waits; locked()", self.object:locked(), true) end
end

Lock.ops = {
  acquire = {
    budgeted = true,
    begin = function(m, actor)
      if m.owner == actor then return outcome.raises(asyncio.Error) end
      if m.owner then return m.run:join(actor, m.line) end
      m.owner = actor
      return outcome.returns(m.object)
    end,
    real = function(m)
      local lock = m.object:acquire()
      m.inside = m.inside + 1
      m.run:equal("tasks that hold the lock", m.inside, 1)
      return lock
    end,
  },
  release = {
    begin = function(m, actor)
      if m.owner ~= actor then return outcome.raises(asyncio.InvalidStateError) end
      m.inside = m.inside - 1
      m:pass()
      return outcome.returns()
    end,
    real = function(m) m.object:release() end,
  },
  locked = {
    begin = function(m) return outcome.returns(m.owner ~= nil) end,
    real = function(m) return m.object:locked() end,
  },
}

return { Lock }
