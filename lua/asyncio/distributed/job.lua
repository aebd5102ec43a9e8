--- What a job's function sees of its job: `asyncio.distributed.job()`.
-- @module asyncio.distributed.job
local check = require "asyncio.check"
local context = require "asyncio.context"
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"

local running = {}

local variable = context.ContextVar "asyncio.distributed.job"
local threads_own = false -- in a thread of a worker: the job that it does

--- What runs, as its function sees it: `asyncio.distributed.job()` within one. Its fields are `id`, the same
-- in all attempts, and `attempt`, 1 at first.
-- @type Job
-- @usage
-- local function charge(order)
--   local job = asyncio.distributed.job()
--   local receipt = job:once("charge", function(again)
--     return again and "asked the bank" or "paid " .. order
--   end)
--   return receipt
-- end
local Job = {}
Job.__index, Job.__name = Job, "asyncio.Job"

running.class = Job

--- The job of whoever calls; nil: it is none's.
function running.current()
  if threads_own then return threads_own end
  return variable:get(nil)
end

--- Whether somebody has cancelled it, or its worker gives it up: what it computes is not wanted any more. A
-- function that waits notices by a CancelledError, one on a thread by this.
-- @treturn boolean
function Job:cancelled()
  check.self(self, Job, "cancelled")
  return self._hands.cancelled()
end

local function attempt_once(self, key, fn)
  local state, kept = self._hands.begin(key)
  if state == "kept" then return kept end
  if state == "lost" then
    error(core.Error "the job is another worker's by now, so it does nothing more", 0)
  end
  local results = crossing.results(fn(state == "again"))
  if not self._hands.keep(key, results) then
    error(core.Error "the job is another worker's by now: what it has done once is not kept", 0)
  end
  return results
end

--- Calls a function that is to be called once for this job, however many attempts it takes: its results are
-- kept, and returned in later attempts in its place, as long as the job is kept. If an attempt ended within
-- it, nobody knows how far it came: then it is called again, with `true`. Waits while Redis is away.
-- @string key what it is called, within the job
-- @tparam function fn is called with whether it was called before, and may wait; its results must cross
-- @return its results
function Job:once(key, fn)
  check.self(self, Job, "once")
  if type(key) ~= "string" then check.fail(1, "once", "key (a string)", key) end
  check.callable(fn, 2, "once", "once(key, f)", "once(key, f(x))")
  local results = crossing.read_results(attempt_once(self, key, fn))
  return table.unpack(results, 1, results.n)
end

function Job:__tostring() return ("asyncio.Job: %s, attempt %d"):format(self.id, self.attempt) end

--- hands: what it does by: `cancelled()`, `begin(key)`, `keep(key, results)`
function running.new(id, attempt, hands)
  return setmetatable({ id = id, attempt = attempt, _hands = hands }, Job)
end

--- From now on it is this task's.
function running.enter(made) variable:set(made) end

-- On threads: `calls` leads to the worker's loop.

local function ask(calls, message)
  message.answer = core.Channel()
  calls:put(message)
  return table.unpack(message.answer:get())
end

local function leave_thread(guard)
  threads_own = false
  guard.calls:put { place = guard.place, what = "left" }
end

--- Does a job on a thread of its worker. place: by which the worker knows it
function running.on_thread(calls, place, id, attempt, resolve_in, call)
  local _ <close> = setmetatable({ calls = calls, place = place }, { __close = leave_thread })
  calls:put { place = place, what = "begun" }
  threads_own = running.new(id, attempt, {
    cancelled = core.thread_cancelled,
    begin = function(key) return ask(calls, { place = place, what = "begin", key = key }) end,
    keep = function(key, results)
      return ask(calls, { place = place, what = "keep", key = key, results = results })
    end,
  })
  local name, arguments = crossing.read_call(call)
  local fn = running.resolve(resolve_in, name)
  return crossing.results(fn(table.unpack(arguments, 1, arguments.n)))
end

--- The function of that name in one of these modules (name → true); raises an Error where there is none.
function running.resolve(modules, name)
  local module, key = name:match "^(.*)%.([^.]*)$"
  if not module or not modules[module] then
    error(core.Error(("the worker runs no function '%s': its modules are %s"):format(name,
      running.list(modules))), 0)
  end
  local loaded = require(module)
  local fn = type(loaded) == "table" and loaded[key]
  if not check.is_callable(fn) then
    error(core.Error(("the worker's module '%s' has no function '%s'"):format(module, key)), 0)
  end
  return fn
end

function running.list(modules)
  local list = {}
  for name in pairs(modules) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, ", ")
end

return running
