-- Random schedules of tasks that wait for each other in every way, in rings and layers too, and are cancelled: all end.
-- A schedule that fails can be replayed:
--     SEED=17 lua5.4 spec/waiters_spec.lua
-- SEEDS=n runs n schedules.
local t = require "helper"
local asyncio = t.asyncio
local random = require "model.random" -- the same everywhere

local only = tonumber(os.getenv "SEED")
local seeds = tonumber(os.getenv "SEEDS") or t.count(400)

local LONG = 100000 -- s; what takes longer hangs

local ways = {}

local function some(schedule, n)
  local list = {}
  for i = 1, n do list[i] = schedule.tasks[schedule.draw(#schedule.tasks)] end
  return list
end

function ways.sleep(schedule) asyncio.sleep(schedule.draw(5)) end
function ways.give_way() asyncio.sleep(0) end
function ways.await(schedule) asyncio.await(some(schedule, 1)[1]) end

function ways.await_shield(schedule)
  local future = asyncio.shield(some(schedule, 1)[1])
  future:add_done_callback(function() pcall(future.result, future) end) -- nobody looks at it, if the wait is refused
  asyncio.await(future)
end

function ways.gather(schedule)
  local list = some(schedule, schedule.draw(3))
  list[#list + 1] = schedule.draw(2) == 1 and function() asyncio.sleep(schedule.draw(3)) end or nil
  list.return_exceptions = schedule.draw(2) == 1
  asyncio.gather(list)
end

function ways.gather_of_gathers(schedule)
  local below = some(schedule, 2)
  asyncio.gather(function() asyncio.gather(below[1], below[2]) end, function() asyncio.gather(below[2]) end)
end

function ways.wait_for(schedule) asyncio.wait_for(some(schedule, 1)[1], schedule.draw(4)) end
function ways.wait(schedule) asyncio.wait(some(schedule, schedule.draw(3))) end

function ways.wait_so_long(schedule)
  asyncio.wait(some(schedule, 2), { timeout = schedule.draw(4), return_when = asyncio.FIRST_EXCEPTION })
end

-- Rings of these are not all seen: a deadline ends them.
function ways.wait_for_the_first(schedule)
  local _ <close> = asyncio.timeout(schedule.draw(9))
  asyncio.wait(some(schedule, 2), { return_when = asyncio.FIRST_COMPLETED })
end

function ways.as_completed(schedule)
  local _ <close> = asyncio.timeout(schedule.draw(9))
  for task in asyncio.as_completed(some(schedule, 3)) do
    if schedule.draw(3) == 1 or not task:done() then break end
  end
end

function ways.group(schedule)
  local _ <close> = asyncio.timeout(schedule.draw(2) == 1 and schedule.draw(9) or nil)
  local group <close> = asyncio.TaskGroup()
  for _, task in ipairs(some(schedule, schedule.draw(3) - 1)) do group:create_task(asyncio.await, task) end
  if schedule.draw(3) == 1 then group:create_task(error, "failed") end
  asyncio.sleep(schedule.draw(3) - 1)
end

local NAMES = {}
for name in pairs(ways) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

--- Does some things; after an error it goes on or not.
local function body(schedule, number)
  for _ = 1, schedule.draw(5) do
    local name = NAMES[schedule.draw(#NAMES)]
    if only then print(asyncio.get_running_loop():time(), number, name) end
    local ok, err = pcall(ways[name], schedule)
    if only then print(asyncio.get_running_loop():time(), number, name, ok, err) end
    if not ok and schedule.draw(2) == 1 then error(err, 0) end
  end
end

local function run(seed)
  local generator = random(seed)
  local function draw(n) return generator:int(1, n) end
  local schedule = { tasks = {}, draw = draw }
  return t.run(function(reports)
    local n = 2 + draw(6)
    for i = 1, n do
      schedule.tasks[i] = asyncio.create_task { body, schedule, i, name = "task " .. i }
      schedule.tasks[i]:add_done_callback(function(task) pcall(task.result, task) end)
    end
    for _ = 1, draw(12) do
      if draw(3) > 1 then asyncio.sleep(draw(3) - 1) end
      schedule.tasks[draw(n)]:cancel()
    end
    asyncio.sleep(LONG)
    for i = #reports, 1, -1 do -- some catch what they get
      if reports[i].message:find "catches" then table.remove(reports, i) end
    end
    for i, task in ipairs(schedule.tasks) do
      if not task:done() then t.fail(("task %d hangs:\n%s"):format(i, asyncio.format_call_graph "all")) end
    end
  end)
end

TestWaiters = {}

function TestWaiters:test_end_whatever_they_wait_for()
  for seed = only or 1, only or seeds do
    local ok, err = pcall(run, seed)
    if not ok then
      t.fail(("seed %d: %s\nreplay: SEED=%d lua5.4 spec/waiters_spec.lua"):format(seed, tostring(err), seed))
    end
  end
end

t.finish()
