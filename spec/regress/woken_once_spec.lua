-- A task that was woken has a step to come. What else could have woken it, its timer above all, must not do so again.
local t = require "helper"
local asyncio = t.asyncio

TestWokenOnce = {}

-- Seconds until the time of who waits is up: the late task must have begun by then.
local UP = t.slow and 0.5 or 0.01

--- A task that ends when the time of who waits for it is up as well: that is due before the waiter's step.
local function late(seconds)
  return asyncio.create_task(function()
    asyncio.blocking_sleep(seconds)
    return "done"
  end)
end

function TestWokenOnce:test_wait_whose_time_is_up_before_its_step()
  t.real(function()
    for _ = 1, 3 do
      for _, when in ipairs { asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION } do
        local task = late(2 * UP)
        local done, pending = asyncio.wait({ task }, { timeout = UP, return_when = when })
        t.assertEquals({ done, pending }, { { task }, {} })
        asyncio.sleep(0.001)
      end
    end
  end)
end

function TestWokenOnce:test_as_completed_and_wait_for_likewise()
  t.real(function()
    local task = late(2 * UP)
    for first in asyncio.as_completed({ task }, { timeout = UP }) do t.assertIs(first, task) end
    t.assertEquals(asyncio.wait_for(late(2 * UP), UP), "done")
    asyncio.sleep(0.001)
  end)
end

function TestWokenOnce:test_a_wait_that_is_cancelled_meanwhile()
  t.real(function()
    local task, other = late(2 * UP), nil
    local waiter = asyncio.create_task(function() return asyncio.wait({ task }, { timeout = UP }) end)
    other = asyncio.create_task(function()
      asyncio.sleep(0)
      waiter:cancel()
    end)
    asyncio.wait { task, waiter, other }
    asyncio.sleep(2 * UP)
    t.assertTrue(waiter:done())
  end)
end

t.finish()
