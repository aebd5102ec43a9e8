-- Queue, LifoQueue, PriorityQueue: what each promises, in short.
local t = require "helper"
local asyncio = t.asyncio

local create_task, await, sleep = asyncio.create_task, asyncio.await, asyncio.sleep

TestQueue = {}

function TestQueue:test_gives_items_in_the_order_of_putting_nil_included()
  t.run(function()
    local queue, got = asyncio.Queue(1), {}
    local consumer = create_task(function()
      for n, item in queue:iter() do got[n] = item == nil and "nil" or item end
    end)
    queue:put(1)
    queue:put(false)
    queue:put(nil)
    queue:put(4)
    queue:shutdown()
    await(consumer)
    t.assertEquals(got, { 1, false, "nil", 4 })
  end)
end

function TestQueue:test_keeps_its_order_while_it_grows_and_wraps()
  t.run(function()
    local queue, put, got = asyncio.Queue(), 0, 0
    for round = 1, 50 do
      for _ = 1, round do
        put = put + 1
        queue:put_nowait(put)
      end
      for _ = 1, round - (round % 3) do
        got = got + 1
        t.assertEquals(queue:get_nowait(), got)
      end
    end
    t.assertEquals(queue:qsize(), put - got)
  end)
end

function TestQueue:test_hands_an_item_to_who_waits_first()
  t.run(function()
    local queue = asyncio.Queue()
    local a, b = create_task(queue.get, queue), create_task(queue.get, queue)
    sleep(0)
    queue:put "first"
    queue:put "second"
    t.assertEquals(queue:qsize(), 0)
    t.assertEquals({ await(a), await(b) }, { "first", "second" })
  end)
end

function TestQueue:test_loses_nothing_to_a_getter_that_is_cancelled()
  t.run(function()
    local queue = asyncio.Queue()
    local task = create_task(queue.get, queue)
    sleep(0)
    task:cancel()
    queue:put "kept"
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertEquals(queue:get_nowait(), "kept")
  end)
end

function TestQueue:test_an_item_that_came_before_the_cancellation_is_the_getters()
  t.run(function()
    local queue, got = asyncio.Queue(), nil
    local task = create_task(function()
      got = queue:get()
      sleep(1)
    end)
    sleep(0)
    queue:put "item"
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertEquals(got, "item")
  end)
end

function TestQueue:test_a_cancelled_put_has_put_nothing()
  t.run(function()
    local queue = asyncio.Queue(1)
    queue:put(1)
    local task = create_task(queue.put, queue, 2)
    sleep(0)
    task:cancel()
    sleep(0)
    t.assertEquals(queue:get(), 1)
    t.assertTrue(queue:empty())
  end)
end

function TestQueue:test_full_and_empty_raise_at_once()
  local queue = asyncio.Queue { maxsize = 1 }
  t.assert_raises(asyncio.QueueEmpty, queue.get_nowait, queue)
  queue:put_nowait(1)
  t.assertTrue(queue:full())
  t.assert_raises(asyncio.QueueFull, queue.put_nowait, queue, 2)
end

function TestQueue:test_join_waits_for_task_done()
  t.run(function()
    local queue, done = asyncio.Queue(), 0
    create_task(function()
      for _ = 1, 3 do
        queue:get()
        sleep(0)
        done = done + 1
        queue:task_done()
      end
    end)
    for i = 1, 3 do queue:put(i) end
    queue:join()
    t.assertEquals(done, 3)
    t.assert_raises(asyncio.InvalidStateError, queue.task_done, queue)
  end)
end

function TestQueue:test_shut_down_is_drained_and_then_raises()
  t.run(function()
    local queue = asyncio.Queue()
    queue:put(1)
    queue:shutdown()
    t.assert_raises(asyncio.QueueShutDown, queue.put, queue, 2)
    t.assertEquals(queue:get(), 1)
    t.assert_raises(asyncio.QueueShutDown, queue.get, queue)
  end)
end

function TestQueue:test_shut_down_wakes_all_that_wait()
  t.run(function()
    local empty, full = asyncio.Queue(), asyncio.Queue(1)
    full:put(1)
    local getter, putter = create_task(empty.get, empty), create_task(full.put, full, 2)
    sleep(0)
    empty:shutdown()
    full:shutdown(true)
    t.assert_raises(asyncio.QueueShutDown, await, getter)
    t.assert_raises(asyncio.QueueShutDown, await, putter)
    t.assertEquals(full:qsize(), 0)
    full:join()
  end)
end

function TestQueue:test_lifo_gives_the_last_first()
  local queue = asyncio.LifoQueue()
  for i = 1, 3 do queue:put_nowait(i) end
  t.assertEquals({ queue:get_nowait(), queue:get_nowait(), queue:get_nowait() }, { 3, 2, 1 })
end

function TestQueue:test_priority_gives_the_least_first_and_equal_ones_in_order()
  local queue = asyncio.PriorityQueue()
  for i, key in ipairs { 5, 2, 8, 2, 9, 1, 5 } do queue:put_nowait { key, i } end
  local got = {}
  while not queue:empty() do
    local item = queue:get_nowait()
    got[#got + 1] = item[1] .. "/" .. item[2]
  end
  t.assertEquals(got, { "1/6", "2/2", "2/4", "5/1", "5/7", "8/3", "9/5" })
end

function TestQueue:test_priority_takes_a_comparison()
  local queue = asyncio.PriorityQueue { compare = function(a, b) return a > b end }
  for _, item in ipairs { 1, 3, 2 } do queue:put_nowait(item) end
  t.assertEquals({ queue:get_nowait(), queue:get_nowait(), queue:get_nowait() }, { 3, 2, 1 })
  t.assertErrorMsgContains("compare", function()
    queue:put_nowait(1)
    queue:put_nowait {}
  end)
  t.assertEquals(queue:qsize(), 1)
end

t.finish()
