-- cancel_order_spec.lua - groups and gather cancelled their tasks in the order of their addresses: what came of it
-- was another thing in every run, with the virtual clock too.
local t = require "helper"
local asyncio = t.asyncio

--- Makes tasks that note their number when they are cancelled, by what `start` does with each function.
local function noted(start)
  local order = {}
  for i = 1, 30 do
    start(function()
      local _ <close> = setmetatable({}, { __close = function() order[#order + 1] = i end })
      asyncio.sleep(1000)
    end)
  end
  return order
end

local function assert_in_order(order)
  t.assertEquals(#order, 30)
  for i, n in ipairs(order) do t.assertEquals(n, i) end
end

TestCancelOrder = {}

function TestCancelOrder:test_a_group_cancels_its_tasks_in_the_order_of_their_start()
  t.run(function()
    local order
    do
      local group <close> = asyncio.TaskGroup()
      order = noted(function(fn) group:create_task(fn) end)
      asyncio.sleep(0)
      group:cancel()
    end
    assert_in_order(order)
  end)
end

function TestCancelOrder:test_gather_cancels_in_the_order_of_its_arguments()
  t.run(function()
    local list = {}
    local order = noted(function(fn) list[#list + 1] = asyncio.create_task(fn) end)
    list[31], list[32] = list[1], list[30]
    local gathering = asyncio.create_task(asyncio.gather, list)
    asyncio.sleep(0)
    gathering:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, gathering)
    assert_in_order(order)
    for i = 1, 30 do t.assertEquals(list[i]:cancelling(), 1) end
  end)
end

t.finish()
