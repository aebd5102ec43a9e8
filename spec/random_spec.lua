-- Random programs over the public API: a sample of what `make random` runs. spec/random/main.lua says how.
local t = require "helper"
local batch = require "random.batch"

local SKIP = os.getenv "RANDOM_SKIP" or ""
local first = tonumber(os.getenv "RANDOM_FROM") or os.time() % 1000000 * 1000

local function run(mode, count, trace)
  local result = batch.run(first, count, { MODE = mode, RANDOM_SKIP = SKIP, TRACE = trace }, 60 + count)
  local failure = result.failures[1]
  if failure then
    t.fail(("program %d: %s\n%s\nreplay: SEED=%d MODE=%s RANDOM_SKIP=%s make random"):format(failure.seed, failure.text,
      result.errors, failure.seed, mode, SKIP))
  end
  return result
end

TestRandom = {}

function TestRandom:test_programs_with_the_virtual_clock() run("virtual", t.count(200)) end
function TestRandom:test_programs_with_sockets_and_threads() run("real", t.count(30)) end

function TestRandom:test_the_same_seed_does_the_same_in_another_process()
  local count, compared = math.max(t.count(40), 12), 0 -- some look at what differs, and are not compared
  local one, other = run("virtual", count, "sum"), run("virtual", count, "sum")
  for seed, sum in pairs(one.sums) do
    compared = compared + 1
    t.assertEquals(other.sums[seed], sum, "program " .. seed)
  end
  t.assertTrue(compared > 0)
end

t.finish()
