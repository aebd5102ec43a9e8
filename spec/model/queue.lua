--- Queue, LifoQueue, PriorityQueue: a list of items, and three lines: of those who get, those who put and
--- those who join. Every item is put once; what comes out is counted.
local asyncio = require "asyncio"
local outcome = require "model.outcome"

local Queue = { name = "Queue" }
Queue.__index = Queue

local function new(class, run, options)
  options = options or {}
  options.maxsize = run.random:one_of { 0, 1, 1, 2, 3 }
  return setmetatable({
    run = run, object = asyncio[class.name](options), maxsize = options.maxsize,
    items = {}, getters = {}, putters = {}, joiners = {}, unfinished = 0, shut = false,
    put = 0, got = 0, dropped = 0, seen = {},
  }, class)
end

function Queue.new(run) return new(Queue, run) end

--- The place of the item that comes out next.
function Queue.next_place() return 1 end

--- An item that has never been before; now and then nil, where nothing has to be compared.
function Queue:new_item(random)
  self.last = (self.last or 0) + 1
  if random:chance(6) then return random:chance(50) and nil end
  return random:chance(50) and self.last or "item " .. self.last
end

function Queue:full() return self.maxsize > 0 and #self.items >= self.maxsize end

function Queue:add(item)
  self.put, self.unfinished = self.put + 1, self.unfinished + 1
  table.insert(self.items, { value = item, number = self.put })
end

--- Takes an item out, and lets the first that waits to put one put it.
function Queue:take()
  local place = table.remove(self.items, self:next_place())
  if self.putters[1] then
    local putter = table.remove(self.putters, 1)
    self:add(putter.item)
    self.run:grant(putter, outcome.returns())
  end
  return place.value
end

--- Whether there was a place, or somebody to take it.
function Queue:try_put(item)
  local getter = table.remove(self.getters, 1)
  if getter then
    self.put, self.unfinished = self.put + 1, self.unfinished + 1
    self.run:grant(getter, getter.count and outcome.returns(getter.count, item) or outcome.returns(item))
  elseif self:full() then
    return false
  else
    self:add(item)
  end
  return true
end

function Queue:interrupt(actor)
  local _ = self.run:leave(actor, self.getters) or self.run:leave(actor, self.putters)
    or self.run:leave(actor, self.joiners)
  self.run:grant(actor, outcome.INTERRUPTED)
end

function Queue:finished()
  while self.unfinished == 0 and self.joiners[1] do
    self.run:grant(table.remove(self.joiners, 1), outcome.returns())
  end
end

function Queue:shutdown(immediate)
  self.shut = true
  if immediate then
    self.dropped = self.dropped + #self.items
    self.unfinished = math.max(0, self.unfinished - #self.items)
    self.items = {}
    self:finished()
  end
  for _, line in ipairs { self.putters, self.getters } do
    while line[1] do
      local actor = table.remove(line, 1)
      self.run:grant(actor, actor.count and outcome.returns(nil) or outcome.raises(asyncio.QueueShutDown))
    end
  end
end

function Queue:choose(random)
  return random:weighted {
    "put", 10, "get", 10, "next", 4, "put_nowait", 3, "get_nowait", 3, "join", 3,
    "task_done", self.unfinished > #self.items and 10 or 1, -- something has been got, and is done
    "shutdown", self.run.operations > 20 and (self.joiners[1] and 2 or 1) or 0 }
end

function Queue:argument(random, name)
  if name == "shutdown" then return random:chance(50) end
  if name == "put" or name == "put_nowait" then return self:new_item(random) end
end

function Queue:check()
  local queue, run = self.object, self.run
  run:equal("qsize()", queue:qsize(), #self.items)
  run:equal("empty()", queue:empty(), #self.items == 0)
  run:equal("full()", queue:full(), self:full())
  run:equal("maxsize()", queue:maxsize(), self.maxsize)
  run:expect(self.maxsize == 0 or queue:qsize() <= self.maxsize, "it holds more than its maxsize")
end

function Queue:idle()
  local queue, run = self.object, self.run
  if self.getters[1] then run:expect(queue:empty() and not self.shut, "a task waits for what is there") end
  if self.putters[1] then run:expect(queue:full() and not self.shut, "a task waits for a place that is free") end
  if self.joiners[1] then run:expect(self.unfinished > 0, "a task waits for items that are done") end
end

--- Counts what came out.
function Queue:received(item)
  self.got = self.got + 1
  local id = item
  if type(item) == "table" then id = item.id end
  if not id then return end
  self.run:expect(not self.seen[id], "an item came twice")
  self.seen[id] = true
end

--- What is left comes out in order; then all that was put has come out once.
function Queue:final()
  while #self.items > 0 do
    local item = self.object:get_nowait()
    self:received(item)
    self.run:equal("an item at the end", item, self:take())
  end
  self.run:expect(self.object:empty(), "an item too many")
  self.run:equal("items that came out", self.got + self.dropped, self.put)
end

--- What takes items ends so when there is none.
local function nothing(m, actor, class)
  if m.shut then return outcome.raises(asyncio.QueueShutDown) end
  if class then return outcome.raises(class) end
  return m.run:join(actor, m.getters)
end

Queue.ops = {
  put = {
    budgeted = true,
    begin = function(m, actor, item)
      if m.shut then return outcome.raises(asyncio.QueueShutDown) end
      actor.item, actor.count = item, nil
      if not m:try_put(item) then return m.run:join(actor, m.putters) end
      return outcome.returns()
    end,
    real = function(m, _, item) m.object:put(item) end,
  },
  put_nowait = {
    begin = function(m, _, item)
      if m.shut then return outcome.raises(asyncio.QueueShutDown) end
      if not m:try_put(item) then return outcome.raises(asyncio.QueueFull) end
      return outcome.returns()
    end,
    real = function(m, _, item) m.object:put_nowait(item) end,
  },
  get = {
    budgeted = true,
    begin = function(m, actor)
      actor.count = nil
      if m.items[1] then return outcome.returns(m:take()) end
      return nothing(m, actor)
    end,
    real = function(m)
      local item = m.object:get()
      m:received(item)
      return item
    end,
  },
  get_nowait = {
    begin = function(m, actor)
      if m.items[1] then return outcome.returns(m:take()) end
      return nothing(m, actor, asyncio.QueueEmpty)
    end,
    real = function(m)
      local item = m.object:get_nowait()
      m:received(item)
      return item
    end,
  },
  next = { -- one round of `for n, item in queue:iter()`
    budgeted = true,
    begin = function(m, actor)
      actor.count = 1
      if m.items[1] then return outcome.returns(1, m:take()) end
      if m.shut then return outcome.returns(nil) end
      return m.run:join(actor, m.getters)
    end,
    real = function(m)
      for n, item in m.object:iter() do
        m:received(item)
        return n, item
      end
      return nil
    end,
  },
  task_done = {
    begin = function(m)
      if m.unfinished == 0 then return outcome.raises(asyncio.InvalidStateError) end
      m.unfinished = m.unfinished - 1
      m:finished()
      return outcome.returns()
    end,
    real = function(m) m.object:task_done() end,
  },
  join = {
    budgeted = true,
    begin = function(m, actor)
      actor.count = nil
      if m.unfinished == 0 then return outcome.returns() end
      return m.run:join(actor, m.joiners)
    end,
    real = function(m) m.object:join() end,
  },
  shutdown = {
    begin = function(m, _, immediate)
      m:shutdown(immediate)
      return outcome.returns()
    end,
    real = function(m, _, immediate) m.object:shutdown(immediate) end,
  },
}

local Lifo = setmetatable({ name = "LifoQueue" }, { __index = Queue })
Lifo.__index = Lifo
function Lifo.new(run) return new(Lifo, run) end
function Lifo:next_place() return #self.items end

local Priority = setmetatable({ name = "PriorityQueue" }, { __index = Queue })
Priority.__index = Priority

--- Items are pairs, of which the first element counts; or the other way round, with a comparison.
function Priority.new(run)
  local reverse = run.random:chance(30)
  local options = reverse and { compare = function(a, b) return a[1] > b[1] end } or {}
  local m = new(Priority, run, options)
  m.reverse = reverse
  return m
end

function Priority:new_item(random)
  self.last = (self.last or 0) + 1
  return { random:int(1, 3), id = self.last }
end

function Priority:next_place()
  local best = 1
  for i, item in ipairs(self.items) do
    local first = self.items[best]
    local a, b = item.value[1], first.value[1]
    if self.reverse then a, b = b, a end
    if a < b or a == b and item.number < first.number then best = i end
  end
  return best
end

return { Queue, Lifo, Priority }
