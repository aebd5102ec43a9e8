--- Pool: what is dear to make is used again.
--
-- Lending what is idle, taking it back, and the line are C's; sync/pool.c says what a place is. Here is what
-- has to be decided or may wait: making, checking and destroying.
-- @module asyncio.pool
local check = require "asyncio.check"
local core = require "asyncio.core"
local scopes = require "asyncio.scopes"

local get_running_loop, record_of = core.get_running_loop, core.item_record

local MAX = 10           -- how many there are, unless it is said
local FIRST_SHIELD = 1   -- the number of a task's first
local PATIENCE = 5       -- seconds for which cancellations wait for `destroy`
local OVERDUE = 5        -- seconds after which a pool that waits for leases is reported
local SLACK = 1e-6       -- seconds: the clock counts nanoseconds, and a sum of seconds may be one more
local LEASH = 1          -- seconds that somebody waits in vain before forgotten leases are looked for ...
local LARGE_HEAP = 51200 -- ... by a whole collection, in heaps of so many KiB at most

local WEAK = { __mode = "k" }

local OPTIONS = check.options {
  "Pool", 1, { "create", "callable", required = true }, { "check", "callable" }, { "destroy", "callable" },
  { "max", "integer", 1 }, { "max_idle", "integer", 0 }, { "idle_timeout", "seconds" },
}

--- What is used again: connections, say. `asyncio.Pool` makes it.
-- @type Pool
-- @usage
-- local pool <close> = asyncio.Pool {
--   create = function() return { queries = 0 } end, -- stands for a connection
--   max = 2,
-- }
-- local function query()
--   local lease <close> = pool:acquire()
--   lease.value.queries = lease.value.queries + 1
--   asyncio.sleep(1)
--   return lease.value.queries
-- end
-- print(asyncio.gather(query, query, query)) --> 1  1  2
-- print(pool:stats().created) --> 2
local class = core.pool_class
local Pool = class.methods

-- In what follows `pool` is the state of one, a table; users have its `face`.

--- All has gone that the pool had: tells those who wait for its end.
local function tell_of_end(pool)
  local closers = pool.closers
  pool.closers = {}
  for _, answer in ipairs(closers) do core.give_answer(answer) end
end

--- The item's place is free, unless it is of a loop that is closed.
local function free_place(pool, item)
  if item and record_of(item).loop ~= pool.loop then return end
  if core.free_in_pool(pool.face) == 0 and pool.closed then tell_of_end(pool) end
end

-- Destroying

local function report(pool, message, err, traceback, place)
  if not pool.loop or pool.loop:is_closed() and not pool.ending then return end
  pool.loop:call_exception_handler {
    message = message, exception = err, traceback = traceback, source_traceback = place,
  }
end

local function report_failure(pool)
  return function(err, traceback) report(pool, "a pool could not destroy what it had", err, traceback) end
end

--- The item has gone, but for its place.
local function bury(pool, item)
  core.bury_item(item)
  pool.items[item] = nil
  if record_of(item).loop == pool.loop then pool.destroyed = pool.destroyed + 1 end
end

--- In a task: what it is asked meanwhile waits, so long at most.
local function destroy_patiently(pool, item)
  local _ <close> = scopes.shielded(PATIENCE)
  local record = record_of(item)
  if record.alone then core.current_task():_unshield(FIRST_SHIELD) end
  pool.destroy(record.value)
end

--- Without its errors, but for Ctrl-C.
local function destroy_quietly(pool, item)
  if pool.destroy then scopes.aside(report_failure(pool), destroy_patiently, pool, item) end
end

-- Here and below pcall, since what needs memory before it begins might leave the place taken for ever.
local function destroy_in_task(pool, item)
  local record = record_of(item)
  record.doomed, record.begun = true, true
  local ok, err = core.catch(destroy_quietly, pool, item)
  bury(pool, item)
  if not ok then error(err, 0) end
end

--- Its place is the caller's.
local function destroy_in_place(pool, item)
  local ok, err = core.catch(destroy_in_task, pool, item)
  if ok then return end
  free_place(pool)
  error(err, 0)
end

local function destroy_and_free(pool, item)
  local ok, err = core.catch(destroy_in_task, pool, item)
  free_place(pool, item)
  if not ok then error(err, 0) end
end

--- In a task of its own, which is shielded from its birth: cancelled before its first step, as the end of a
-- run does it, it runs all the same.
local function start_to_destroy(pool, item)
  local record = record_of(item)
  local task = pool.loop:create_task { destroy_and_free, pool, item, name = "pool" }
  record.doomed, record.alone = true, pcall(task._shield, task)
  return task
end

local function destroy_here(pool, item)
  local record = record_of(item)
  record.begun = true
  if pool.destroy then pcall(pool.destroy, record.value) end
  bury(pool, item)
  free_place(pool, item)
end

--- Where nothing can wait: a task does it, which is returned, or what needs none is done here.
local function destroy_elsewhere(pool, item)
  if pool.destroy and not pool.loop:is_closed() then
    local ok, task = pcall(start_to_destroy, pool, item)
    if ok then return task end
  end
  destroy_here(pool, item)
end

--- Destroys it and frees its place. In a task returns once that is done; raises none of its errors.
local function destroy(pool, item)
  if pool.destroy and core.can_wait() then return destroy_and_free(pool, item) end
  return destroy_elsewhere(pool, item)
end

-- What is idle

local expire

local function due(pool, item) return record_of(item).since + pool.idle_timeout end

local function arm(pool) pool.timer = pool.loop:call_at(due(pool, pool.idle[1]), expire, pool) end

--- The oldest n that are nobody's go. The table stays: C has it, too.
local function take_oldest(pool, n)
  local idle, all = pool.idle, #pool.idle
  local gone = table.move(idle, 1, n, 1, {})
  table.move(idle, n + 1, all, 1)
  for i = all, all - n + 1, -1 do idle[i] = nil end
  return gone
end

--- How many are idle and nobody's, how many tasks wait.
local function count(pool)
  local _, waiting, idle = core.pool_counts(pool.face)
  return idle, waiting
end

--- The oldest have been idle for too long.
function expire(pool)
  pool.timer = false
  local idle, old, most, now = pool.idle, 0, count(pool), pool.loop:time()
  while old < most and due(pool, idle[old + 1]) <= now + SLACK do old = old + 1 end
  for _, item in ipairs(take_oldest(pool, old)) do destroy_elsewhere(pool, item) end
  if idle[1] and not pool.timer and not pool.closed then arm(pool) end
end

--- It has come back, and is no one's. What C could do it has done.
local function give_back(pool, item, broken)
  local idle, waiting = count(pool)
  if broken or pool.closed or waiting == 0 and idle >= pool.max_idle then return destroy(pool, item) end
  core.put_in_pool(pool.face, item)
  if not pool.idle_timeout then return end
  record_of(item).since = pool.loop:time()
  if not pool.timer and pool.idle[1] then arm(pool) end
end

local function report_forgotten(pool, item)
  pcall(report, pool, "a pool's lease was never given back (local lease <close> = pool:acquire())", nil, nil,
    record_of(item).place)
end

--- A lease was forgotten, and is garbage. told: it is reported
local function recover(pool, item, told)
  if record_of(item).loop ~= pool.loop or pool.loop:is_closed() then return end
  if told then report_forgotten(pool, item) end
  destroy_elsewhere(pool, item)
end

--- What there is beside the idle ones, in the order in which it was made.
local function others(pool)
  local items = {}
  for item in pairs(pool.items) do items[#items + 1] = item end
  table.sort(items, function(a, b) return record_of(a).number < record_of(b).number end)
  return items
end

--- The loop is about to be closed, or nearly is: what the pool has in it is destroyed, leases that are still
-- out are reported. Adds the tasks that do it to the list.
local function end_in_loop(pool, tasks)
  if pool.timer then pool.timer:cancel() end
  pool.timer, pool.ending = false, true
  while count(pool) > 0 do
    tasks[#tasks + 1] = destroy_elsewhere(pool, core.take_of_pool(pool.face))
  end
  for _, item in ipairs(others(pool)) do
    local record = record_of(item)
    if record.doomed then -- a task has it
      if pool.loop:is_closed() and not record.begun then destroy_here(pool, item) end
    elseif core.bury_item(item) then
      report_forgotten(pool, item)
      tasks[#tasks + 1] = destroy_elsewhere(pool, item)
    end
  end
  pool.ending = false
end

-- Waiting

local function look_for_forgotten()
  if collectgarbage "count" < LARGE_HEAP then collectgarbage() else collectgarbage "step" end
end

--- Frees the places of calls that ran out of memory before they could do so.
local function reclaim(pool)
  local places, _, _, _, handed = core.pool_counts(pool.face)
  for _ = 1, places - (pool.created - pool.destroyed) - pool.making - handed do free_place(pool) end
end

local watch

--- While they are served all is well. Once in vain is enough: what waits only for what never comes must not
-- look as if it waited for time to pass.
local function look(pool, served)
  pool.watching = false
  core.watch_pool(pool.face, false)
  local _, waiting, _, now_served = core.pool_counts(pool.face)
  if waiting == 0 then return end
  reclaim(pool)
  if served == now_served then look_for_forgotten() else watch(pool) end
end

--- Somebody waits: whoever should give one back may have forgotten to.
function watch(pool)
  if pool.watching then return end
  local _, _, _, served = core.pool_counts(pool.face)
  pool.watching = pool.loop:call_later(LEASH, look, pool, served)
  core.watch_pool(pool.face, true)
end

-- Acquiring

local function raise_closed() error(core.ClosedError "the pool is shut down", 0) end

--- It is used in the loop that runs now. What it had in one that is closed is nobody's.
local function bind(pool)
  local loop = get_running_loop()
  if pool.loop == loop then return end
  if pool.loop and not pool.loop:is_closed() then check.raise "the pool is in use in another event loop" end
  take_oldest(pool, #pool.idle)
  core.bind_pool(pool.face, loop)
  pool.loop, pool.debug, pool.timer, pool.watching = loop, loop:get_debug(), false, false
  pool.destroyed, pool.making = pool.created, 0
  core.tune_pool(pool.face, not (pool.check or pool.debug), pool.idle_timeout and 0 or pool.max_idle)
end

local function lend(pool, item)
  if pool.debug then record_of(item).place = core.place():gsub(": $", "") end
  return core.lend_item(item)
end

--- Makes one; the place is there. What is made gets its Item at once, while an error still frees the place.
local function make_in_place(pool)
  local begun = false
  local ok, item = xpcall(function()
    begun, pool.making = true, pool.making + 1
    local value = pool.create()
    if value == nil then check.raise "the pool's create has returned nil" end
    return core.new_item(value, pool.face, {
      value = value, loop = pool.loop, since = 0, number = pool.created, doomed = false, begun = false,
      alone = false,
    })
  end, core.note_traceback)
  if begun then pool.making = pool.making - 1 end
  if not ok then
    free_place(pool)
    error(item, 0)
  end
  pool.created = pool.created + 1
  pcall(rawset, pool.items, item, true) -- unless memory has run out
  if not pool.closed then return item end
  destroy(pool, item) -- shut down meanwhile
  raise_closed()
end

--- Whether it is still good. Cancelled meanwhile it isn't: who knows what it was asked.
local function passes(pool, item)
  if not pool.check then return true end
  local whole, ok, good = core.catch(core.pcall, pool.check, record_of(item).value)
  if not whole then
    destroy(pool, item)
    error(ok, 0)
  end
  return ok and good
end

--- An Item; false: a place for a new one.
local function take(pool)
  local got = core.take_of_pool(pool.face)
  if got ~= nil then return got end
  reclaim(pool)
  watch(pool)
  return core.wait_for_pool(pool.face)
end

--- got: what C had for it, an Item or false for a place; nil: nothing yet
local function acquire(pool, got)
  if got == nil then
    if pool.closed then raise_closed() end
    bind(pool)
  end
  while true do
    if got == nil then got = take(pool) end
    if not got and not pool.closed then return lend(pool, make_in_place(pool)) end
    if got and not pool.closed and passes(pool, got) and not pool.closed then return lend(pool, got) end
    if got then destroy_in_place(pool, got) end
    if pool.closed then
      free_place(pool)
      raise_closed()
    elseif count(pool) == 0 then
      return lend(pool, make_in_place(pool))
    end
    free_place(pool)
    got = nil
  end
end

local function in_use(pool) return pool.created - pool.destroyed - count(pool) end

--- What it has and did: `idle`, `in_use` (with what is being checked or destroyed), `waiting` tasks, and how
-- many were `created` and `destroyed` so far.
-- @treturn table
function Pool:stats()
  check.self(self, class, "stats")
  local pool = core.pool_state(self)
  local idle, waiting = count(pool)
  return {
    idle = idle, in_use = in_use(pool), waiting = waiting, created = pool.created, destroyed = pool.destroyed,
  }
end

-- The end

--- Lends no more: those who wait get ClosedError, what is idle is destroyed, and each lease as it comes back.
-- Returns once what was idle has been destroyed; leases are not waited for.
function Pool:shutdown()
  check.self(self, class, "shutdown")
  local pool = core.pool_state(self)
  pool.closed = true
  if pool.timer then pool.timer:cancel() end
  if pool.watching then pool.watching:cancel() end
  pool.timer, pool.watching = false, false
  core.close_pool(self)
  local here, tasks = pool.destroy and core.can_wait(), {}
  while count(pool) > 0 do
    local item = core.take_of_pool(self)
    local ok, task = pcall(here and start_to_destroy or destroy_elsewhere, pool, item)
    if not ok then destroy(pool, item) elseif here then tasks[#tasks + 1] = task end
  end
  if #tasks == 0 then return core.spend() end
  local _ <close> = scopes.shielded(PATIENCE) -- they must have begun
  core.gather(tasks, false, true)
end

local function report_waiting(pool)
  local n = in_use(pool)
  report(pool, ("a pool waits for %d lease%s, %d s after it was shut down"):format(n, n == 1 and "" or "s",
    OVERDUE))
end

local function wait_for_leases(pool)
  look_for_forgotten()
  reclaim(pool)
  local _ <close> = scopes.defer(function(handle) handle:cancel() end,
    pool.loop:call_later(OVERDUE, report_waiting, pool))
  while core.pool_counts(pool.face) > 0 do
    local answer = core.new_answer()
    table.insert(pool.closers, answer)
    if core.pool_counts(pool.face) > 0 then core.await_answer(answer, true) end
  end
end

--- Leaving the block shuts it down and waits for the leases that are out.
function class:__close()
  self:shutdown()
  local pool = core.pool_state(self)
  if core.pool_counts(self) > 0 and core.can_wait() and pool.loop == get_running_loop() then
    wait_for_leases(pool)
  end
end

function class:__tostring()
  local pool = core.pool_state(self)
  local idle, waiting = count(pool)
  return ("asyncio.Pool: %s%d idle, %d in use, %d waiting"):format(pool.closed and "shut down, " or "", idle,
    in_use(pool), waiting)
end

--- Keeps what is dear to make, connections say, and lends it.
-- @tparam table opts `create`: a function that makes one, it may wait; `check`: called with a value that was
-- used before, false (or an error) means that it is good no more; `destroy`: called with a value that is done
-- with. It runs where the lease is left, and may wait: cancellations wait for it, 5 s at most; its errors are
-- reported; at the end of a run it is called with what is idle, and with what was never given back, too;
-- `max` (10): how many there are at most; `max_idle` (`max`): how many are kept; `idle_timeout` (no
-- limit): seconds after which one that nobody wants is destroyed
-- @treturn Pool
-- @function Pool
local function new(opts)
  check.table(opts, 1, "Pool", "table of options")
  opts = OPTIONS(opts)
  local max = opts.max or MAX
  local pool = {
    create = opts.create, check = opts.check or false, destroy = opts.destroy or false,
    max_idle = opts.max_idle or max, idle_timeout = opts.idle_timeout or false,
    loop = false, debug = false, timer = false, watching = false, closed = false, closers = {},
    created = 0, destroyed = 0, making = 0, ending = false, items = setmetatable({}, WEAK),
  }
  pool.face, pool.idle = core.new_pool(pool, acquire, give_back, recover, end_in_loop, max)
  return pool.face
end

return { Pool = new }
