-- life_spec.lua - a worker is killed with -9 at each step of its job's life: the job has one result, what it did once
-- is kept once, and is done again only where it died within.
local t = require "helper"
local cluster = require "distributed.cluster"
local program = require "program"

local asyncio = t.asyncio

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local LEASE = t.slow and 5 or 2 -- seconds

--- Steps, and what the job's file says after all: how often it was begun, done, and done again. lost: how many workers
-- have died within the job before; who was lost twice runs alone, and begins by a script of its own
local STEPS = {
  { "before the question", 1, 1, 0 },
  { "after it is given", 1, 1, 0 },
  { "in the job", 2, 1, 0 },
  { "before once", 2, 1, 0 },
  { "after once", 2, 0, 1 },
  { "in once, before the deed", 2, 0, 1 },
  { "in once, after the deed", 2, 1, 1 },
  { "before keep", 2, 1, 1 },
  { "after keep", 2, 1, 0 },
  { "in the job, after once", 2, 1, 0 },
  { "before the end", 2, 1, 0 },
  { "after the end", 1, 1, 0 },
  { "before begin", 3, 1, 0, lost = 2 },
  { "after begin", 3, 1, 0, lost = 2 },
}

TestLife = {}

local function die_at(c, step, queue)
  return asyncio.create_subprocess_exec(program.lua, here .. "/life.lua", c.url, queue, step,
    { extra_env = { LUA_PATH = package.path, LUA_CPATH = package.cpath } })
end

--- How a worker has ended that dies at the step, after those that are to die before it.
local function end_of(c, step, queue)
  for _ = 1, step.lost or 0 do t.assertEquals(die_at(c, "in the job", queue):wait(), -9) end
  return die_at(c, step[1], queue):wait()
end

local function check(step, text, name, result, stats)
  local function count(what) return select(2, text:gsub("%f[^\n\0]" .. name .. " " .. what .. "\n", "")) end
  t.assertEquals({ step[1], count "begun", count "done", count "done again", lost = step.lost }, step)
  t.assertEquals({ result, stats.done, stats.running, stats.dead }, { name .. " is kept", 1, 0, 0 })
end

--- Each job has a queue of its own; when their workers are dead, one works for all.
function TestLife:test_that_ends_with_kill_9_at_any_step_is_another_workers()
  cluster.test(function(c)
    local file <close> = cluster.file()
    local executors, futures, dying, queues = {}, {}, {}, {}
    for i, step in ipairs(STEPS) do
      queues[i] = "q" .. i
      executors[i] = c:executor { queue = queues[i], lease = LEASE, max_attempts = 4 }
      futures[i] = executors[i]:submit("distributed.life.live", file.path, queues[i])
      dying[i] = asyncio.create_task(end_of, c, step, queues[i])
    end
    for i, task in ipairs(dying) do t.assertEquals({ STEPS[i][1], asyncio.await(task) }, { STEPS[i][1], -9 }) end
    local _ <close> = c:worker { queues = queues, modules = { "distributed.life" } }
    for i, step in ipairs(STEPS) do
      local result = asyncio.await(futures[i])
      check(step, file.content(), queues[i], result, executors[i]:stats())
      executors[i]:shutdown()
    end
  end)
end

t.leave_out(TestLife, "valgrind") -- there its workers are slower than their lease

t.finish()
