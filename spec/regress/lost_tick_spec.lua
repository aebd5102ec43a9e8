-- A libuv timer that is due when uv_run(UV_RUN_ONCE) begins goes off before the poll (up to libuv 1.44);
-- the poll then waited for ever. It took a millisecond that ended between arming the timer and running:
-- one sleep in some thousands.
local t = require "helper"

TestSleep = {}

function TestSleep:test_that_begins_at_the_end_of_a_millisecond_ends()
  local out, errors, code = t.lua(([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      for i = 1, %d do
        local before_the_end = (i %% 30 + 1) / %d -- of a millisecond: 0.1 to 3 microseconds, or 100 times that
        repeat local left = 1 - loop:time() * 1000 %% 1 until left < before_the_end
        asyncio.sleep(0.00105)
      end
      print "awake"
    end)
  ]]):format(t.count(300), t.slow and 100 or 10000))
  t.assertEquals(errors, "")
  t.assertEquals(out, "awake\n")
  t.assertEquals(code, 0)
end

-- The same for the limit of a test, which went by unnoticed when it was over before the first poll.
function TestSleep:test_beyond_the_limit_of_a_test_that_is_over_before_the_first_poll()
  local testing = require "asyncio.testing"
  local err = t.error_of(testing.async(function()
    local till = os.clock() + 0.02
    repeat until os.clock() > till
    t.asyncio.sleep(20)
  end, { timeout = 0.001 }))
  t.assertStrContains(err, "longer than 0.001 s")
end

t.finish()
