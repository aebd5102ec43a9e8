-- slow: starts a program thousands of times
-- What a finaliser may do in the middle of any call: close the loop, or make the same call. One allocation, chosen at
-- random, of each fourth call; `make finalisers` tries all.
local t = require "helper"
local oom = require "oom"

TestAnyCall = {}

local seed = math.tointeger(os.getenv "CHECK_SEED") or os.date "*t".yday

local function an_allocation_of_each(pattern)
  return function() oom.run(("-P '%s' -s 1 -w %d/4"):format(pattern, 1 + seed % 4), "finalisers") end
end

TestAnyCall.test_uses_no_loop_that_was_closed_meanwhile = an_allocation_of_each "+ close"
TestAnyCall.test_may_be_made_in_its_own_middle = an_allocation_of_each "+ same"

t.leave_out(TestAnyCall, ".")
t.finish()
