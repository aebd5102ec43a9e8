--- Semaphore and BoundedSemaphore: a number; who asks while it is 0 stands in line.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Semaphore = { name = "Semaphore", guard = true }
Semaphore.__index = Semaphore

local function new(class, run)
  local value = run.random:int(0, 3)
  if run.random:chance(70) and value == 0 then value = 1 end
  return setmetatable({
    run = run, object = asyncio[class.name] { value = value }, value = value, line = {},
    first = value, taken = 0, bound = class.name == "BoundedSemaphore" and value or nil,
  }, class)
end

function Semaphore.new(run) return new(Semaphore, run) end

--- What a release ends with.
function Semaphore:give()
  if self.bound and self.value >= self.bound then return outcome.raises(asyncio.InvalidStateError) end
  self.taken = self.taken - 1
  local next = table.remove(self.line, 1)
  if next then
    self.run:grant(next, outcome.returns(self.object))
  else
    self.value = self.value + 1
  end
  return outcome.returns()
end

function Semaphore:interrupt(actor)
  self.run:leave(actor, self.line)
  self.run:grant(actor, outcome.INTERRUPTED)
end

function Semaphore:closed(actor)
  actor.held = actor.held - 1
  return self:give()
end

function Semaphore:holds(actor) return actor.held > 0 end

function Semaphore:choose(random, actor)
  if actor.held > 0 then
    return random:weighted { "release", 6, "acquire", 2, "locked", 1 }
  end
  return random:weighted { "with", 6, "acquire", 6, "release", self.value == 0 and 2 or 1, "locked", 1 }
end

function Semaphore:check()
  self.run:equal("locked()", self.object:locked(), self.value == 0)
end

function Semaphore:idle()
  if self.line[1] then self.run:equal("a task waits; locked()", self.object:locked(), true) end
end

Semaphore.ops = {
  acquire = {
    budgeted = true,
    begin = function(m, actor)
      if m.value == 0 then return m.run:join(actor, m.line) end
      m.value = m.value - 1
      return outcome.returns(m.object)
    end,
    real = function(m, actor)
      local semaphore = m.object:acquire()
      m.taken = m.taken + 1
      actor.held = actor.held + 1
      m.run:expect(m.taken <= m.first, "more are inside than the semaphore lets in")
      return semaphore
    end,
  },
  release = {
    begin = function(m, actor)
      if actor.held > 0 then actor.held = actor.held - 1 end
      return m:give()
    end,
    real = function(m) m.object:release() end,
  },
  locked = {
    begin = function(m) return outcome.returns(m.value == 0) end,
    real = function(m) return m.object:locked() end,
  },
}

local Bounded = setmetatable({ name = "BoundedSemaphore" }, { __index = Semaphore })
Bounded.__index = Bounded
function Bounded.new(run) return new(Bounded, run) end

return { Semaphore, Bounded }
