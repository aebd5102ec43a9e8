-- quiet.lua - for specs of asyncio.distributed on the virtual clock: an executor over a Redis in memory, and workers
-- as they are begun; nothing fails there but what a spec makes fail.
local asyncio = require "asyncio"
local schedules = require "distributed.schedules"
local worker = require "asyncio.distributed.worker"

local MODULE = "quiet_jobs"
local quiet = { BASE = "asyncio:{q}:", SLEEP = MODULE .. ".sleep" }

--- Begins a worker: it, its task, what it has logged.
local function start()
  local log, ready = {}, asyncio.Event()
  local made = worker.new {
    url = "redis://worker", queues = { "q" }, modules = { MODULE }, grace = 2, connect_timeout = 10,
    log = function(line) log[#log + 1] = line end, on_ready = function() ready:set() end,
  }
  local task = asyncio.create_task { made.run, made, name = "worker" }
  ready:wait()
  return made, task, log
end

--- Calls fn(world, executor, start), and returns what must not have been; jobs call quiet.SLEEP, which returns for how
-- long it has slept.
function quiet.run(fn)
  package.loaded[MODULE] = { sleep = function(seconds) return asyncio.sleep(seconds, seconds) end }
  return (schedules.with_world({}, function(world)
    local executor = schedules.executor_of("caller", 1000)
    local _ <close> = asyncio.defer(function()
      executor:shutdown { wait = false }
      package.loaded[MODULE] = nil
    end)
    fn(world, executor, start)
  end))
end

--- The same as a test.
function quiet.test(fn)
  local t = require "helper"
  t.assertEquals(t.run(function() return quiet.run(fn) end), {})
end

return quiet
