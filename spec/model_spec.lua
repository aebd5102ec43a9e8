-- Random schedules against simple models: spec/model/engine.lua says how.
-- A schedule that fails can be replayed, and then tells what it does:
--     SEED=17 PRIMITIVE=Lock make test SPEC=spec/model_spec.lua
-- SEEDS=n runs n schedules of each primitive; 250 without it.
local t = require "helper"
local run = require "model.engine"

local only, seed = os.getenv "PRIMITIVE", tonumber(os.getenv "SEED")
local seeds = tonumber(os.getenv "SEEDS") or t.count(250)

local function check_schedule(class, n)
  local failure, did = run(class, n, seed and print)
  if failure then
    t.fail(("%s, seed %d: %s\nreplay: SEED=%d PRIMITIVE=%s make test SPEC=spec/model_spec.lua"):format(
      class.name, n, failure, n, class.name))
  end
  local size = ("seed %d: %d tasks, %d operations, %d cancellations"):format(n, did.tasks, did.operations,
    did.cancellations)
  t.assertTrue(did.tasks >= 4 and did.operations >= 30 and did.cancellations >= 1, size)
end

TestModel = {}

for _, file in ipairs { "lock", "event", "condition", "semaphore", "barrier", "queue" } do
  for _, class in ipairs(require("model." .. file)) do
    if not only or only == class.name then
      TestModel["test_" .. class.name] = function()
        for n = seed or 1, seed or seeds do check_schedule(class, n) end
      end
    end
  end
end

--- All that a schedule does, without addresses and the running numbers of tasks.
local function trace_of(class, n)
  local lines = {}
  run(class, n, function(line) lines[#lines + 1] = line:gsub("0x%x+", ""):gsub("Task%-%d+", "Task") end)
  return table.concat(lines, "\n")
end

function TestModel:test_the_same_seed_does_the_same_again()
  if only then return end
  for _, class in ipairs(require "model.condition") do
    for n = 1, t.count(40) do t.assertEquals(trace_of(class, n), trace_of(class, n)) end
  end
end

t.finish()
