--- Jobs are stored, in batches: those that are submitted while one is on its way go with the next. Functions
-- of an executor's state, executor[1].
-- @module asyncio.distributed.storing
local answers = require "asyncio.distributed.answers"
local core = require "asyncio.core"
local timeouts = require "asyncio.timeouts"

local BATCH = 100           -- jobs that are stored at once
local BATCH_BYTES = 1 << 20 -- ... and their bytes, about
local ROOM = 5              -- seconds after which one looks for room that was not announced

local storing = {}

--- Of what is to be stored the first ones.
local function next_batch(self)
  local pending, batch, bytes, seen = self.pending, {}, 0, 0
  while seen < #pending and #batch < BATCH and bytes < BATCH_BYTES do
    seen = seen + 1
    local item = pending[seen]
    if not item.dropped then
      batch[#batch + 1] = item
      bytes = bytes + #item.job
      item.sent = true
    end
  end
  table.move(pending, seen + 1, #pending + seen, 1) -- the others move once for all of it
  return batch
end

local function tell_stored(self, item, reply)
  if reply:sub(1, 1) == "=" then item.id = reply:sub(2) end
  if item.dropped then return self:cancel(item.id) end
  item.future = answers.expect(self, item.id)
  answers.settle_early(self, item.id)
  item.stored:set_result()
end

--- What had no room waits for it, in its order.
local function wait_for_room(self, left)
  table.move(self.pending, 1, #self.pending, #left + 1)
  table.move(left, 1, #left, 1, self.pending)
  timeouts.move_on_after(ROOM, self.room.wait, self.room)
end

local function store_batch(self, batch)
  local words = { self.name, self.max_queue or 0 }
  for i, item in ipairs(batch) do
    table.move({ item.id, item.job, item.p, item.lease, item.delay, item.key }, 1, 6, 3 + (i - 1) * 6, words)
  end
  self.room:clear()
  answers.start(self)
  local _ <close> = answers.while_asking(self)
  local replies = self:run(self.patience, "submit", table.unpack(words))
  local left = {}
  for i, item in ipairs(batch) do
    if replies[i] == "-" then left[#left + 1] = item else tell_stored(self, item, replies[i]) end
  end
  return left
end

local function fail_batch(self, batch, err)
  for _, item in ipairs(batch) do
    if not item.stored:done() then
      self.doubtful[#self.doubtful + 1] = item.id
      if not item.dropped then
        item.stored:set_exception(err)
        item.stored:exception() -- map looks at the first
      end
    end
  end
end

local function flush(self)
  while self.pending[1] do
    local batch = next_batch(self)
    if batch[1] then
      local ok, err = core.catch(function()
        local left = store_batch(self, batch)
        if left[1] then wait_for_room(self, left) end
      end)
      local cancelled = not ok and core.isinstance(err, core.CancelledError)
      if cancelled then
        fail_batch(self, batch, core.ClosedError "the executor was closed before its job was stored")
        error(err, 0)
      elseif not ok then
        fail_batch(self, batch, err)
      end
    end
  end
end

--- It will be stored; `item.stored` says when.
function storing.enqueue(self, item)
  item.stored = self.loop:create_future()
  self.pending[#self.pending + 1] = item
  if not self.flushing or self.flushing:done() then self.flushing = self:begin("submits", true, flush) end
end

--- Waits until it is stored; its future.
function storing.wait(self, item)
  local ok, err = core.catch(core.await, item.stored)
  if ok then return item.future end
  item.dropped = true
  if item.future and not item.future:done() then item.future:cancel() end
  if item.future == nil and not item.sent then
    for i, other in ipairs(self.pending) do
      if other == item then
        table.remove(self.pending, i)
        break
      end
    end
  end
  error(err, 0)
end

return storing
