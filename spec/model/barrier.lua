--- Barrier: the last of so many lets all go on.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Barrier = { name = "Barrier" }
Barrier.__index = Barrier

function Barrier.new(run)
  local parties = run.random:int(1, 4)
  return setmetatable({
    run = run, object = asyncio.Barrier(parties), parties = parties, line = {}, broken = false,
  }, Barrier)
end

function Barrier:interrupt(actor)
  self.run:leave(actor, self.line)
  self.run:grant(actor, outcome.INTERRUPTED)
end

function Barrier.choose(_, random)
  return random:weighted { "wait", 16, "abort", 1, "reset", 2, "n_waiting", 1 }
end

function Barrier:check()
  self.run:equal("n_waiting()", self.object:n_waiting(), #self.line)
  self.run:equal("broken()", self.object:broken(), self.broken)
  self.run:equal("parties()", self.object:parties(), self.parties)
end

function Barrier:idle()
  self.run:expect(self.object:n_waiting() < self.parties, "all parties have come, and wait")
end

function Barrier:break_line()
  while self.line[1] do
    self.run:grant(table.remove(self.line, 1), outcome.raises(asyncio.BrokenBarrierError))
  end
end

Barrier.ops = {
  wait = {
    budgeted = true,
    begin = function(m, actor)
      if m.broken then return outcome.raises(asyncio.BrokenBarrierError) end
      if #m.line + 1 < m.parties then return m.run:join(actor, m.line) end
      for i = 1, #m.line do m.run:grant(table.remove(m.line, 1), outcome.returns(i)) end
      return outcome.returns(m.parties)
    end,
    real = function(m) return m.object:wait() end,
  },
  abort = {
    begin = function(m)
      m.broken = true
      m:break_line()
      return outcome.returns()
    end,
    real = function(m) m.object:abort() end,
  },
  reset = {
    begin = function(m)
      m.broken = false
      m:break_line()
      return outcome.returns()
    end,
    real = function(m) m.object:reset() end,
  },
  n_waiting = {
    begin = function(m) return outcome.returns(#m.line) end,
    real = function(m) return m.object:n_waiting() end,
  },
}

return { Barrier }
