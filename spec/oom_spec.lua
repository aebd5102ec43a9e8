-- slow: starts a program hundreds of times
-- Every allocation may fail: a random sample of what `make oom` does in full.
local t = require "helper"
local oom = require "oom"

TestOom = {}

function TestOom:test_a_sample_of_all_failures_ends_well()
  local seed = os.getenv "OOM_SEED" or os.getenv "CHECK_SEED" or tostring(os.time() % 100000)
  print("# seed " .. seed .. " (the same again: OOM_SEED=" .. seed .. ")")
  oom.run("-s 1 -r " .. seed)
end

t.leave_out(TestOom, ".")
t.finish()
