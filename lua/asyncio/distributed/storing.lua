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

--- Takes the first ones of what is to be stored.
local function take_batch(self, batch)
  local pending, bytes, seen = self.pending, 0, 0
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
end

local function tell_stored(self, item, reply)
  if reply:sub(1, 1) == "=" then item.id = reply:sub(2) end
  if item.dropped or item.stored:done() then return self:cancel(item.id) end -- it was cancelled, or just now
  item.future = answers.expect(self, item.id)
  answers.settle_early(self, item.id)
  item.stored:set_result()
  if self.takes_back then self:take_back(item.id) end
end

--- What had no room waits for it, in its order.
local function wait_for_room(self, left)
  self.pending = table.move(self.pending, 1, #self.pending, #left + 1, table.move(left, 1, #left, 1, {}))
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

--- None of them is stored, or nobody knows.
local function fail_all(self, list, err)
  if core.isinstance(err, core.CancelledError) then
    err = core.ClosedError "the executor was closed before its job was stored"
  end
  for _, item in ipairs(list) do
    if not item.stored:done() then
      item.stored:set_exception(err)
      item.stored:exception() -- map looks at the first
    end
    item.dropped = item.dropped or not item.future -- it may be in `pending` still
  end
  for _, item in ipairs(list) do -- once all who wait were told, as it may lack memory
    if item.sent and not item.future then self.doubtful[#self.doubtful + 1] = item.id end
  end
end

local function store_next(self, batch)
  take_batch(self, batch)
  if not batch[1] then return end
  local left = store_batch(self, batch)
  if left[1] then wait_for_room(self, left) end
end

local function flush(self)
  while self.pending[1] do
    local batch = {}
    local ok, err = core.catch(store_next, self, batch)
    if not ok then
      fail_all(self, batch, err)
      if not batch[1] or core.isinstance(err, core.CancelledError) then error(err, 0) end
    end
  end
end

--- A flush has ended: if it has failed as a whole (no memory for its first step), nobody is left waiting.
local function give_up(self, task)
  if task:cancelled() or task:exception() == nil then return end
  fail_all(self, self.pending, task:exception())
  for i = #self.pending, 1, -1 do self.pending[i] = nil end
end

local function begin_flush(self)
  self.flushing = self:begin("submits", true, flush)
  self.flushing:add_done_callback(function(task) give_up(self, task) end)
end

--- Whether jobs are being stored.
function storing.goes_on(self) return self.flushing and not self.flushing:done() end

--- It will be stored; `item.stored` says when.
function storing.enqueue(self, item)
  item.stored = self.loop:create_future()
  self.pending[#self.pending + 1] = item
  if storing.goes_on(self) then return end
  local ok, err = pcall(begin_flush, self)
  if ok then return end
  item.dropped = true
  error(err, 0)
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
