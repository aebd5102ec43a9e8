-- gather_deep_spec.lua - the cancellation of gathers within gathers went down by recursion in C.
local t = require "helper"
local asyncio = t.asyncio

TestGatherDeep = {}

-- At about 100 levels cancel raised "C stack overflow", and the task was deaf to requests from then on.
function TestGatherDeep:test_is_cancelled_down_to_its_innermost_task()
  t.run(function()
    for _, depth in ipairs { 100, t.count(1000) } do
      local innermost
      local function nest(level)
        if level > 0 then return asyncio.gather(function() return nest(level - 1) end) end
        innermost = asyncio.current_task()
        asyncio.sleep(1000)
      end
      local task = asyncio.create_task(nest, depth)
      t.wait_until(function() return innermost end)
      asyncio.sleep(0)
      t.assertTrue(task:cancel())
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertTrue(task:cancelled())
      t.assertTrue(innermost:cancelled())
    end
  end)
end

-- A second request found the first, which had raised, still being delivered, and did nothing.
function TestGatherDeep:test_hears_of_a_second_request_when_the_first_was_swallowed()
  t.run(function()
    local innermost, swallowed
    local function nest(level)
      if level > 0 then return asyncio.gather(function() return nest(level - 1) end) end
      innermost = asyncio.current_task()
      swallowed = not pcall(asyncio.sleep, 1000)
      asyncio.sleep(1000)
    end
    local task = asyncio.create_task(nest, 100)
    t.wait_until(function() return innermost end)
    asyncio.sleep(0)
    task:cancel()
    t.wait_until(function() return swallowed end)
    t.assertFalse(innermost:done())
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertTrue(innermost:cancelled())
  end)
end

t.finish()
