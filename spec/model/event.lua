--- Event: a flag.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Event = { name = "Event" }
Event.__index = Event

function Event.new(run)
  return setmetatable({ run = run, object = asyncio.Event(), line = {}, flag = false }, Event)
end

function Event:interrupt(actor)
  self.run:leave(actor, self.line)
  self.run:grant(actor, outcome.INTERRUPTED)
end

function Event.choose(_, random)
  return random:weighted { "wait", 8, "set", 2, "clear", 3, "is_set", 1 }
end

function Event:check() self.run:equal("is_set()", self.object:is_set(), self.flag) end

function Event:idle()
  if self.line[1] then self.run:equal("a task waits; is_set()", self.object:is_set(), false) end
end

Event.ops = {
  wait = {
    budgeted = true,
    begin = function(m, actor)
      if not m.flag then return m.run:join(actor, m.line) end
      return outcome.returns(true)
    end,
    real = function(m) return m.object:wait() end,
  },
  set = {
    begin = function(m)
      m.flag = true
      while m.line[1] do m.run:grant(table.remove(m.line, 1), outcome.returns(true)) end
      return outcome.returns()
    end,
    real = function(m) m.object:set() end,
  },
  clear = {
    begin = function(m)
      m.flag = false
      return outcome.returns()
    end,
    real = function(m) m.object:clear() end,
  },
  is_set = {
    begin = function(m) return outcome.returns(m.flag) end,
    real = function(m) return m.object:is_set() end,
  },
}

return { Event }
