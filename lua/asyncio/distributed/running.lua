--- A job in its worker: it has a place, and its lease is kept; it runs, here or on a thread; how it has ended
-- is noted, to be said with the next turn. Functions of the worker.
-- @module asyncio.distributed.running
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"
local job_of = require "asyncio.distributed.job"
local timeouts = require "asyncio.timeouts"

local MAX_RESULT = 512 * 1024 -- bytes
local BEGINNING = 1   -- seconds in which a thread has said that it begins

local running = {}

-- How a job ends

local function note_order(self, order)
  self.orders_due[#self.orders_due + 1] = order
end

function running.send_orders(self)
  if not self.orders_due[1] then return end
  self.orders:put(self.orders_due)
  self.orders_due = {}
end

--- It has no place any more.
function running.free(self, job)
  if self.running[job.place] ~= job then return end
  self.running[job.place] = nil
  self.busy = self.busy - 1
  for i, lone in ipairs(self.lones) do
    if lone == job then
      table.remove(self.lones, i)
      break
    end
  end
  self.alone = self.lones[1] or false
  note_order(self, { drop = job.place, queue = job.queue.number })
  self.changed:set()
end

function running.say(self, job, what, result, wait)
  if job.lost then return end
  job.lost = true -- it is said once
  local ends = job.queue.ends
  ends[#ends + 1] = { job.p, job.entry, job.count, job.id, what, result or "", wait or 0 }
  self.changed:set()
end

--- ms before the next attempt: exponential, and anything from none to that.
local function pause_of(facts)
  local most = math.min(facts.cap or 60000, (facts.pause or 1000) * 2.0 ^ math.min(facts.tries or 0, 50))
  return math.floor(most * math.random())
end

local function fail(self, job, err, traceback, for_good)
  local facts = job.facts
  local bytes = crossing.error(err, traceback)
  local again = not for_good and (facts.tries or 0) < (facts.retries or 0)
  self:tell("%s %s, attempt %d: %s%s", job.id, facts.name, job.attempt, core.words(err),
    again and "; it is tried again" or "")
  if again then return running.say(self, job, "retry", bytes, pause_of(facts)) end
  running.say(self, job, "failed", bytes)
end

--- Its task has ended.
local function conclude(self, job, task)
  if task:cancelled() then
    if job.cancelled then return running.say(self, job, "cancelled") end
    if job.given_up or self.stopping then return running.say(self, job, "back") end
    return fail(self, job, core.Error "the job has cancelled itself", nil, true)
  end
  local err, failed = task:exception()
  if failed then return fail(self, job, err, task:traceback(), job.hopeless) end
  running.say(self, job, "done", (task:result()))
end

--- Whether a thread goes on with it: then it keeps its place. What was cancelled before it began never will.
local function goes_on(self, job)
  if not (job.future and job.future:cancelled()) or job.has_left then return false end
  if not job.has_begun then
    core.get_running_loop():call_later(BEGINNING, function()
      if not job.has_begun then running.free(self, job) end
    end)
  end
  return true
end

local function on_end(self, job, task)
  local ok, err = core.catch(conclude, self, job, task)
  if not ok then running.say(self, job, "failed", crossing.error(err)) end
  if not goes_on(self, job) then running.free(self, job) end
end

-- Running

local function late(job)
  return function()
    return core.TimeoutError(("attempt %d of %s took longer than its timeout, %.14g s"):format(job.attempt,
      job.facts.name, job.facts.timeout))
  end
end

local function hands_of(self, job)
  local words = { self.name, job.p, job.entry, job.count, job.id }
  local function ask(name, ...)
    local list = table.move(words, 1, 5, 1, {})
    table.move({ ... }, 1, select("#", ...), 6, list)
    return (self:ask(name, job.queue, table.unpack(list)))
  end
  return {
    cancelled = function() return job.cancelled or job.given_up or job.said_lost or false end,
    begin = function(key)
      job.onces = job.onces + 1
      local reply = ask("once", key, ("%d.%d"):format(job.attempt, job.onces))
      return reply[1], reply[2]
    end,
    keep = function(key, results) return ask("keep", key, "", results) == 1 end,
  }
end

local function call_here(self, job)
  job_of.enter(job_of.new(job.id, job.attempt, job.hands))
  job.hopeless = true -- what does not parse, or has no function, won't have one next time
  local name, arguments = crossing.read_call(job.call)
  local fn = job_of.resolve(self.modules, name)
  job.hopeless = false
  return crossing.results(fn(table.unpack(arguments, 1, arguments.n)))
end

local function call_on_thread(self, job)
  job.hopeless = true
  job_of.resolve(self.modules, (crossing.read_call(job.call)))
  job.hopeless = false
  job.future = self.pool:submit(job_of.on_thread, self.calls, job.place, job.id, job.attempt, self.modules,
    job.call)
  return core.await(job.future)
end

local function run(self, job)
  local call = self.pool and call_on_thread or call_here
  local bytes
  if job.facts.timeout then
    bytes = timeouts._within(job.facts.timeout, late(job), call, self, job)
  else
    bytes = call(self, job)
  end
  if #bytes > MAX_RESULT then
    error(core.Error(("its results take %d bytes, more than the %d that a job may have: leave the data "
      .. "elsewhere, and return its name"):format(#bytes, MAX_RESULT)), 0)
  end
  return bytes
end

function running.start(self, job)
  job.attempt = (job.facts.base or 0) + job.count
  job.hands = hands_of(self, job)
  job.task = core.create_task { run, self, job, name = "job " .. job.id }
  job.task:add_done_callback(function(task) on_end(self, job, task) end)
end

--- A Redis that went back to what it had saved may give what runs here once more. As the same delivery it is
-- this worker's all the same, and goes on; else what runs is nobody's any more.
local function has_already(self, place, count)
  local job = self.running[place]
  if not job then return false end
  if job.count == count and not (job.lost or job.cancelled or job.given_up) then return true end
  job.lost, job.said_lost = true, true
  if job.task then job.task:cancel() end
  running.free(self, job)
  return false
end

--- A job that was taken: it has a place, and its lease is kept.
function running.admit(self, queue, since, p, entry, count, id, bytes)
  local place = queue.number .. p .. entry
  if has_already(self, place, count) then return nil end
  local job = {
    queue = queue, p = p, entry = entry, count = count, id = id, place = place,
    lost = false, cancelled = false, given_up = false, hopeless = false, future = false, has_begun = false,
    has_left = false, onces = 0,
  }
  local ok, facts, call = pcall(crossing.read_job, bytes)
  job.facts, job.call = ok and facts or { name = "?" }, call
  self.running[job.place], self.busy = job, self.busy + 1
  local lease = (tonumber(job.facts.lease) or 30000) / 1000
  self.shortest = math.min(self.shortest, lease)
  note_order(self, {
    place = job.place, queue = queue.number, p = p, entry = entry, count = count, id = id, lease = lease,
    renewed = since,
  })
  if ok then return job end
  self:tell("%s is no job of a version that is known here: %s", id, core.words(facts))
  running.say(self, job, "dead", crossing.error(core.Error("the job does not parse: " .. core.words(facts))))
  running.free(self, job)
  return nil
end

--- One that is to run alone, once the others have ended.
function running.start_alone(self, job)
  job.beginning = true
  local count = self:ask("begin", job.queue, self.name, job.p, job.entry, job.count, job.id)
  job.beginning = false
  if count == 0 or job.said_lost then
    job.lost = true
    return running.free(self, job)
  end
  job.count = count
  if job.cancelled or job.given_up then
    running.say(self, job, job.cancelled and "cancelled" or "back")
    return running.free(self, job)
  end
  note_order(self, {
    place = job.place, queue = job.queue.number, p = job.p, entry = job.entry, count = count, id = job.id,
    lease = job.facts.lease / 1000, renewed = core.time(),
  })
  running.start(self, job)
end

return running
