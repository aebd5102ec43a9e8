-- queue_spec.lua - queues were changed by code of the user's that ran in the middle of their work.
local t = require "helper"
local asyncio = t.asyncio

TestQueue = {}

-- A putter that a comparison had cancelled was woken again: the ready list broke, and other tasks were lost.
function TestQueue:test_lets_a_comparison_cancel_the_putter_whose_item_comes_in()
  local out, err, code, how = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local putter
      local armed = false
      local event = asyncio.Event()
      local queue = asyncio.PriorityQueue { maxsize = 2, compare = function(x, y)
        if armed then
          armed = false
          putter:cancel()
          event:set()
        end
        return x < y
      end }
      queue:put(1)
      queue:put(2)
      putter = asyncio.create_task(function() return pcall(queue.put, queue, 3) end)
      local other = asyncio.create_task(function() event:wait() return "other ran" end)
      asyncio.sleep(0)
      armed = true
      print(queue:get())
      print(asyncio.wait_for(other, 30))
      local put, e = asyncio.await(putter)
      print(put, asyncio.isinstance(e, asyncio.CancelledError), queue:qsize(), queue:get_nowait())
    end)
  ]]
  t.assertEquals({ how, code, out, err }, { "exit", 0, "1\nother ran\nfalse\ttrue\t1\t2\n", "" })
end

-- The same putter was woken twice when the comparison shut the queue down.
function TestQueue:test_lets_a_comparison_shut_the_queue_down_while_an_item_comes_in()
  local out, err, code, how = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local armed, queue = false, nil
      queue = asyncio.PriorityQueue { maxsize = 2, compare = function(x, y)
        if armed then
          armed = false
          queue:shutdown()
        end
        return x < y
      end }
      queue:put(1)
      queue:put(2)
      local putter = asyncio.create_task(function() return pcall(queue.put, queue, 3) end)
      asyncio.sleep(0)
      armed = true
      print(queue:get())
      local put, e = asyncio.await(putter)
      print(put, asyncio.isinstance(e, asyncio.QueueShutDown), queue:qsize(), queue:get_nowait())
    end)
  ]]
  t.assertEquals({ how, code, out, err }, { "exit", 0, "1\nfalse\ttrue\t1\t2\n", "" })
end

-- And a comparison that took an item made room, for which the same putter was let in a second time.
function TestQueue:test_lets_a_comparison_get_an_item_while_another_comes_in()
  t.run(function()
    local armed, nested, queue = false, nil, nil
    queue = asyncio.PriorityQueue { maxsize = 2, compare = function(x, y)
      if armed then
        armed = false
        nested = table.pack(pcall(queue.get_nowait, queue))
      end
      return x < y
    end }
    queue:put(1)
    queue:put(2)
    local putter = asyncio.create_task(function() return (pcall(queue.put, queue, 3)) end)
    asyncio.sleep(0)
    armed = true
    local seen = { queue:get() }
    local put = asyncio.await(putter)
    if nested[1] then seen[#seen + 1] = nested[2] end
    while not queue:empty() do seen[#seen + 1] = queue:get_nowait() end
    table.sort(seen)
    t.assertTrue(put or #seen == 2)
    for i = 1, #seen do t.assertEquals(seen[i], i) end -- each item once
  end)
end

-- The putter was let in with nil in place of its item, which was being compared at that moment.
function TestQueue:test_has_the_item_of_a_putter_whom_a_comparison_lets_in()
  t.run(function()
    for at = 1, 8 do -- the comparison that gets an item
      local queue, compared, seen = nil, nil, {}
      queue = asyncio.PriorityQueue { maxsize = 3, compare = function(x, y)
        compared = compared and compared + 1
        if compared == at then seen[#seen + 1] = queue:get_nowait() end
        return (x or 0) < (y or 0)
      end }
      for i = 1, 3 do queue:put(i) end
      local putter = asyncio.create_task(queue.put, queue, 4)
      asyncio.sleep(0)
      compared = 0
      while not queue:empty() do
        local ok, item = pcall(queue.get_nowait, queue)
        if ok then seen[#seen + 1] = item end
      end
      asyncio.await(putter)
      table.sort(seen)
      t.assertEquals(seen, { 1, 2, 3, 4 })
    end
  end)
end

-- A finaliser that put while the ring grew had its item, and others, lost: the table was read too early.
function TestQueue:test_keeps_all_items_in_order_when_finalisers_put_while_it_grows()
  t.run(function()
    local mode = collectgarbage("incremental", 10, 1000)
    for _ = 1, t.count(60) do
      local queue = asyncio.Queue()
      local put, failed = 0, nil
      local function finalise()
        local ok, e = pcall(queue.put_nowait, queue, "from a finaliser")
        if ok then put = put + 1 else failed = e end
      end
      for i = 1, 400 do
        if i % 3 == 0 then setmetatable({}, { __gc = finalise }) end
        queue:put_nowait(i)
        put = put + 1
      end
      collectgarbage "stop"
      local last, count = 0, 0
      while not queue:empty() do
        local item = queue:get_nowait()
        count = count + 1
        if item ~= "from a finaliser" then
          t.assertEquals(item, last + 1)
          last = item
        end
      end
      t.assertNil(failed)
      t.assertEquals({ last, count }, { 400, put })
      collectgarbage "restart"
    end
    collectgarbage("incremental", 200, 100)
    collectgarbage(mode)
  end)
end

-- The items of several getters that never ran came back in reverse, as each was put at the head in its turn.
function TestQueue:test_has_the_items_of_getters_that_never_ran_back_in_their_order()
  t.run(function()
    for _, order in ipairs { { 1, 2, 3 }, { 3, 2, 1 }, { 2, 3, 1 } } do
      local queue, tasks = asyncio.Queue(), {}
      for i = 1, 3 do tasks[i] = asyncio.create_task(function() return queue:get() end) end
      asyncio.sleep(0)
      for i = 1, 4 do queue:put_nowait(i) end
      for _, i in ipairs(order) do coroutine.close(tasks[i]:get_coro()) end
      for i = 1, 3 do t.error_of(asyncio.await, tasks[i]) end
      for i = 1, 4 do t.assertEquals(queue:get_nowait(), i) end
      t.assertTrue(queue:empty())
    end
  end)
end

-- A table without `__lt` was compared by its first element with one that has it.
function TestQueue:test_compares_by_lt_when_only_one_of_two_tables_has_it()
  local by_rank = { __lt = function(a, b) return a.rank < b.rank end }
  local queue = asyncio.PriorityQueue()
  local low, high = { 9, rank = 1 }, setmetatable({ 1, rank = 2 }, by_rank)
  queue:put_nowait(high)
  queue:put_nowait(low)
  t.assertIs(queue:get_nowait(), low)
  t.assertIs(queue:get_nowait(), high)
end

TestStrangerAtAQueue = {}

-- The item of a getter whose coroutine was closed came back together with those of living getters.
function TestStrangerAtAQueue:test_who_closes_a_getter_takes_nothing_from_the_others()
  t.run(function()
    local queue, tasks = t.asyncio.Queue(), {}
    for i = 1, 3 do tasks[i] = t.asyncio.create_task(function() return queue:get() end) end
    t.asyncio.sleep(0)
    for i = 1, 3 do queue:put_nowait(i) end
    coroutine.close(tasks[2]:get_coro())
    t.assertEquals({ t.asyncio.await(tasks[1]), t.asyncio.await(tasks[3]) }, { 1, 3 })
    t.assertFalse((pcall(t.asyncio.await, tasks[2])))
    t.assertEquals(queue:get_nowait(), 2)
  end)
end

-- The item came back while another getter waited, who was not given it.
function TestStrangerAtAQueue:test_who_closes_a_getter_leaves_its_item_to_one_that_waits()
  t.run(function()
    for _, class in ipairs { "Queue", "LifoQueue", "PriorityQueue" } do
      local queue, tasks = t.asyncio[class](), {}
      for i = 1, 3 do tasks[i] = t.asyncio.create_task(function() return queue:get() end) end
      t.asyncio.sleep(0)
      queue:put_nowait "item"
      coroutine.close(tasks[1]:get_coro())
      t.assertFalse((pcall(t.asyncio.await, tasks[1])))
      t.assertEquals(t.asyncio.wait_for(tasks[2], 20), "item")
      queue:put_nowait "another"
      t.assertEquals(t.asyncio.wait_for(tasks[3], 20), "another")
    end
  end)
end

-- A comparison that failed while the item came back left `run`, and the getter's task never ended.
function TestStrangerAtAQueue:test_who_closes_a_getter_ends_it_though_its_item_cannot_come_back()
  t.run(function(reports)
    local broken = false
    local queue = t.asyncio.PriorityQueue { compare = function(a, b)
      if broken then error "broken" end
      return a < b
    end }
    local getter = t.asyncio.create_task(function() return queue:get() end)
    t.asyncio.sleep(0)
    for i = 1, 3 do queue:put_nowait(i) end
    broken = true
    coroutine.close(getter:get_coro())
    t.assertFalse((pcall(t.asyncio.wait_for, getter, 20)))
    t.assertStrContains(t.take_report(reports, "give back").exception, "broken")
    t.assertEquals(queue:qsize(), 2)
  end)
end

t.finish()
