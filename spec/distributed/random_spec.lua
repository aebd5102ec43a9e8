-- Random schedules of jobs, workers and misfortunes on the virtual clock, over a Redis in memory: whatever happens,
-- each job has one end, nothing is pending, and the dead list says of each job that was given up why. SPEC_SEED=n the
-- same again, but for the names of jobs.
local t = require "helper"
local schedules = require "distributed.schedules"

TestSchedules = {}

--- Runs so many with these settings; what was violated is told with the story of the job.
local function run(n, opts)
  if t.count(100) < 100 then t.skip "schedules take minutes where everything is slow" end
  for i = 1, t.count(n) do
    local seed = math.tointeger(os.getenv "SPEC_SEED") or i + 1000 * math.tointeger(os.getenv "CHECK_SEED" or os.time())
    math.randomseed(seed)
    local violated, log = t.run(schedules.run, opts)
    local lines = { ("SPEC_SEED=%d"):format(seed) }
    for _, text in ipairs(violated) do
      lines[#lines + 1] = text
      table.move(log.story[text:match "%x+%-%d+" or ""] or {}, 1, 100, #lines + 1, lines)
    end
    t.assertEquals(#violated, 0, table.concat(lines, "\n"))
  end
end

function TestSchedules:test_nothing_happens()
  run(5, { jobs = 20, poisons = 0, machines = 3, seconds = 0, rate = 0 })
end

function TestSchedules:test_workers_die_leave_and_stand_still()
  run(6, { jobs = 20, poisons = 1, machines = 3, seconds = 30, rate = 0 })
end

function TestSchedules:test_the_network_is_bad_too()
  run(10, { jobs = 25, poisons = 2, machines = 3, seconds = 30, rate = 0.02 })
end

function TestSchedules:test_the_network_is_very_bad()
  run(6, { jobs = 20, poisons = 2, machines = 4, seconds = 30, rate = 0.15 })
end

function TestSchedules:test_redis_forgets()
  run(10, { jobs = 20, poisons = 1, machines = 3, seconds = 30, rate = 0.02, forgets = true })
end

t.finish()
