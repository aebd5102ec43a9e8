-- budget_spec.lua - calls that could have waited, and did not, never gave way: a loop of them starved every other
-- task, and no deadline and no cancellation ended it.
local t = require "helper"
local asyncio = t.asyncio

TestBudget = {}

local function done_future()
  local future = asyncio.get_running_loop():create_future()
  future:set_result(1)
  return future
end

--- Whether a task that makes the call again and again lets others run, and can be cancelled.
local function check(call)
  local ticks, over = 0, false
  local ticker = asyncio.create_task(function()
    while not over do
      ticks = ticks + 1
      asyncio.sleep(0)
    end
  end)
  local task = asyncio.create_task(function()
    for _ = 1, 1000 do call() end
  end)
  asyncio.sleep(0)
  task:cancel()
  local err = t.error_of(asyncio.await, task)
  over = true
  asyncio.await(ticker)
  t.assert_isinstance(err, asyncio.CancelledError)
  t.assertTrue(ticks > 1)
end

local calls = {
  await = function()
    local future = done_future()
    return function() asyncio.await(future) end
  end,
  await_coroutine = function()
    return function() asyncio.await(coroutine.create(function() end)) end
  end,
  await_metamethod = function()
    local x = setmetatable({}, { __await = function() end })
    return function() asyncio.await(x) end
  end,
  gather_of_nothing = function() return asyncio.gather end,
  gather_of_what_is_done = function()
    local future = done_future()
    return function() asyncio.gather(future, future) end
  end,
  gather_of_what_has_failed = function()
    local future = asyncio.get_running_loop():create_future()
    future:set_exception "failed"
    return function() asyncio.pcall(asyncio.gather, future) end
  end,
  gather_with_return_exceptions = function()
    local future = done_future()
    return function() asyncio.gather { future, return_exceptions = true } end
  end,
  wait = function()
    local future = done_future()
    return function() asyncio.wait { future } end
  end,
  wait_for_the_first = function()
    local list = { done_future(), asyncio.get_running_loop():create_future() }
    return function() asyncio.wait(list, { return_when = asyncio.FIRST_COMPLETED }) end
  end,
  as_completed = function()
    local list = { done_future() }
    return function()
      for _ in asyncio.as_completed(list) do end
    end
  end,
  as_completed_of_nothing = function()
    return function()
      for _ in asyncio.as_completed {} do end
    end
  end,
  shield = function()
    local future = done_future()
    return function() asyncio.await(asyncio.shield(future)) end
  end,
  wait_for = function()
    local future = done_future()
    return function() asyncio.wait_for(future, 1) end
  end,
  wait_for_a_function = function()
    return function() asyncio.wait_for(function() end, 1) end
  end,
  move_on_after = function()
    return function() asyncio.move_on_after(1, function() end) end
  end,
  TaskGroup_without_tasks = function()
    return function() local _ <close> = asyncio.TaskGroup() end
  end,
  condition_wait_for = function()
    local condition = asyncio.Condition()
    return function()
      local _ <close> = condition:acquire()
      for _ = 1, 10 do condition:wait_for(function() return true end) end
    end
  end,
  barrier_of_one = function()
    local barrier = asyncio.Barrier(1)
    return function() barrier:wait() end
  end,
  queue_join = function()
    local queue = asyncio.Queue()
    return function() queue:join() end
  end,
  queue_iter = function()
    local queue = asyncio.Queue()
    queue:shutdown()
    return function()
      for _ in queue:iter() do end
    end
  end,
  getaddrinfo_of_numbers = function()
    local loop = asyncio.get_running_loop()
    return function() loop:getaddrinfo("127.0.0.1", 1) end
  end,
  getnameinfo_in_numbers = function()
    local loop, address = asyncio.get_running_loop(), { host = "127.0.0.1", port = 1 }
    return function() loop:getnameinfo(address, { numeric = true }) end
  end,
  server_wait_closed = function()
    local server = asyncio.start_server(print, "127.0.0.1", 0)
    server:close()
    server:wait_closed()
    return function() server:wait_closed() end
  end,
  writer_wait_closed = function()
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:close()
    writer:wait_closed()
    return function() writer:wait_closed() end
  end,
  executor_map_of_nothing = function()
    local executor = asyncio.ThreadPoolExecutor(1)
    executor:shutdown()
    return function() executor:map(print, {}) end
  end,
  executor_shutdown_again = function()
    local executor = asyncio.ThreadPoolExecutor(1)
    executor:shutdown()
    return function() executor:shutdown() end
  end,
}

for name, make in pairs(calls) do
  TestBudget[("test_%s_gives_way_in_the_end"):format(name)] = function()
    t.real(function() check(make()) end)
  end
end

TestOlderRequest = {}

-- The callbacks that ended an outer future made it "completed first", each time anew.
function TestOlderRequest:test_is_delivered_where_gather_and_as_completed_would_wait()
  t.run(function()
    for _, wait in ipairs {
      function(x) asyncio.gather(x) end,
      function(x) asyncio.wait { x } end,
      function(x)
        for _ in asyncio.as_completed { x } do end
      end,
    } do
      local task = asyncio.create_task(function()
        asyncio.current_task():cancel()
        wait(function() end)
      end)
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    end
  end)
end

TestLeavesNothing = {}

--- How much memory the call adds, made again and again while one future is pending.
local function growth(call)
  local future = asyncio.get_running_loop():create_future()
  for _ = 1, 100 do pcall(call, future) end
  t.collect()
  local before = collectgarbage "count"
  for _ = 1, t.count(2000) do pcall(call, future) end
  t.collect()
  local after = collectgarbage "count"
  future:set_result()
  return after - before
end

function TestLeavesNothing:test_on_what_goes_on()
  t.run(function()
    for _, call in ipairs {
      function(f) asyncio.wait_for(asyncio.shield(f), 0) end,
      function(f) asyncio.shield(f):cancel() end,
      function(f) asyncio.gather(f, function() error("x", 0) end) end,
      function(f) asyncio.wait({ f }, { timeout = 0 }) end,
      function(f)
        for _ in asyncio.as_completed({ f }, { timeout = 0 }) do end
      end,
      function(f)
        for _ in asyncio.as_completed { f, function() end } do break end
      end,
      function(f)
        f:add_done_callback(print)
        f:remove_done_callback(print)
      end,
    } do
      t.assertTrue(growth(call) < 50)
    end
  end)
end

TestMany = {}

function TestMany:test_tasks_that_await_one_are_cancelled_and_all_unwind()
  local n, closed = t.count(os.getenv "SPEC_GC" and 7000 or 70000), 0
  t.run(function()
    local shared = asyncio.create_task(asyncio.sleep, 3600)
    local tasks = {}
    for i = 1, n do
      tasks[i] = asyncio.create_task(function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        asyncio.await(shared)
      end)
    end
    asyncio.sleep(0)
    for _, task in ipairs(tasks) do task:cancel() end
    t.assertEquals(shared:cancelling(), 1)
    asyncio.wait(tasks)
    t.assertEquals(closed, n)
  end)
end

function TestMany:test_layers_of_gathers_ask_each_task_once()
  t.run(function()
    local asked = 0
    local below = asyncio.create_task(function()
      while true do
        local ok = pcall(asyncio.sleep, 3600)
        if ok then return end
        asked = asked + 1
      end
    end)
    local innermost = below
    for _ = 1, 40 do -- 2^40 ways
      local inner = below
      below = asyncio.create_task(function()
        return asyncio.gather(function() asyncio.await(inner) end, function() asyncio.await(inner) end)
      end)
    end
    for _ = 1, 200 do asyncio.sleep(0) end
    below:cancel()
    asyncio.sleep(1)
    t.assertEquals(asked, 1)
    t.assertEquals(innermost:cancelling(), 1)
    t.assert_raises(asyncio.CancelledError, asyncio.await, below)
  end)
end

t.finish()
