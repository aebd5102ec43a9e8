--- Leases are renewed on a thread of its own, with a loop and connections of its own: a job that computes,
-- and holds up its worker's loop, loses nothing by it.
--
-- The worker says what it has (`orders`), the keeper says what has become of it (`news`): `lost` to another,
-- `late`: not renewed in time, so that another may have it soon, `cancel`: somebody has cancelled it.
-- @module asyncio.distributed.keeper
local core = require "asyncio.core"
local link = require "asyncio.distributed.link"
local taskgroup = require "asyncio.taskgroup"
local tasks = require "asyncio.tasks"
local timeouts = require "asyncio.timeouts"

local REST = 5        -- seconds between two signs of life, of a worker that has nothing
local SHORTEST = 0.02 -- seconds between two renewals at least
local PATIENCE = 2    -- seconds for a connection, and for the last signs of life

local keeper = {}

--- What another loop of this process has as its time is this one's, too.
local now = core.time

-- Each queue: { name, base, held by place }. What is held: { place, p, entry, count, id, lease, renewed }

--- Whoever sleeps longer than this needs is woken.
local function hold(state, item)
  state.queues[item.queue].held[item.place] = item
  if item.renewed + item.lease / 3 < state.wakes then state.changed:set() end
end

local function obey(state, orders)
  for _, list in orders:iter() do
    for _, order in ipairs(list) do
      if order.drop then
        state.queues[order.queue].held[order.drop] = nil
      else
        hold(state, order)
      end
    end
  end
  state.stopped = true
  state.changed:set()
end

local function tell(state, queue, item, what)
  queue.held[item.place] = nil
  state.news:put { what = what, place = item.place }
end

--- Those who were not renewed in time are given up before another takes them.
local function give_up_late(state)
  local at = now()
  for _, queue in ipairs(state.queues) do
    for _, item in pairs(queue.held) do
      if at > item.renewed + item.lease * 5 / 6 then tell(state, queue, item, "late") end
    end
  end
end

--- Of all queues the least of `of(item)`, or `other`.
local function least(state, other, of)
  for _, queue in ipairs(state.queues) do
    for _, item in pairs(queue.held) do other = math.min(other, of(item)) end
  end
  return other
end

--- Sleeps so long, or until something has changed.
local function rest(state, seconds)
  timeouts.move_on_after(math.max(seconds, SHORTEST), state.changed.wait, state.changed)
end

local function due_of(item) return item.renewed + item.lease / 3 end

local function watch(state)
  while not state.stopped do
    local at = now()
    local due = least(state, at + REST, function(item) return item.renewed + item.lease * 5 / 6 end)
    state.changed:clear()
    state.wakes = math.min(due, least(state, at + REST, due_of))
    rest(state, state.wakes - at + 0.001)
    give_up_late(state)
  end
end

local function renew(state, queue)
  local words, items, at = { state.name }, {}, now()
  for _, item in pairs(queue.held) do
    items[#items + 1] = item
    table.move({ item.p, item.entry, item.count, item.id }, 1, 4, #words + 1, words)
  end
  local reply = state.link:run(0, "renew", queue.base, table.unpack(words))
  queue.due = at + REST
  for i, item in ipairs(items) do
    if queue.held[item.place] == item then
      if reply[i] == "l" then
        tell(state, queue, item, "lost")
      else
        item.renewed = at
        if reply[i] == "c" then state.news:put { what = "cancel", place = item.place } end
      end
    end
  end
end

local function due_at(queue)
  local due = queue.due
  for _, item in pairs(queue.held) do due = math.min(due, due_of(item)) end
  return due
end

local function beat(state, queue)
  while not state.stopped do
    local pause = due_at(queue) - now()
    if pause > 0 then
      rest(state, pause)
      core.sleep(0) -- all that were woken look, then the event is cleared
    else
      local ok, err = core.pcall(renew, state, queue)
      if not ok then
        if not link.is_passing(err) then error(err, 0) end
        local lease = least(state, REST, function(item) return item.lease end)
        core.sleep(math.min(0.5, lease / 10))
      end
    end
  end
end

--- Hears of cancellations at once; what it misses the next renewal finds.
local function listen(state)
  local channels, by_channel = {}, {}
  for i, queue in ipairs(state.queues) do
    channels[i] = queue.base .. "cancels"
    by_channel[channels[i]] = queue
  end
  for kind, channel, id in state.link:get():subscribe { channels = channels } do
    local queue = kind == "message" and by_channel[channel]
    for _, item in pairs(queue and queue.held or {}) do
      if item.id == id then state.news:put { what = "cancel", place = item.place } end
    end
  end
end

local function listen_on(state)
  while not state.stopped do
    local ok, err = core.pcall(listen, state)
    if not ok and not link.is_passing(err) then error(err, 0) end
    core.sleep(1)
  end
end

local function keep_all(state, orders)
  local group <close> = taskgroup()
  local beats = {}
  for i, queue in ipairs(state.queues) do beats[i] = group:create_task(beat, state, queue) end
  local all = { group:create_task(watch, state), group:create_task(listen_on, state), table.unpack(beats) }
  obey(state, orders)
  tasks.wait(beats, { timeout = PATIENCE }) -- what is under way would come after the worker's farewell
  for _, task in ipairs(all) do task:cancel() end
end

--- In a task, until `orders` is closed.
function keeper.keep(url, name, bases, orders, news)
  local state = {
    name = name, news = news, link = link.open(assert(link.read(url, PATIENCE))), queues = {},
    changed = core.Event(), wakes = 0, stopped = false,
  }
  for i, base in ipairs(bases) do state.queues[i] = { base = base, held = {}, due = 0 } end
  local ok, err = core.catch(keep_all, state, orders)
  state.link:close()
  if not ok then error(err, 0) end
end

--- The same in a thread.
function keeper.main(...)
  require "asyncio" -- a thread's state has nothing yet
  local ok, err = core.catch(require "asyncio.runner".run, keeper.keep, ...)
  if ok then return end
  error(core.isinstance(err, core.ExceptionGroup) and err.errors[1] or err, 0) -- which was the first
end

return keeper
