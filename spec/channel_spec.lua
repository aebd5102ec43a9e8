-- channel_spec.lua - Channel: values from one Lua state to another.
local t = require "helper"

local asyncio = t.asyncio
local await = asyncio.await

local function loop() return asyncio.get_running_loop() end

local function turns(n) for _ = 1, n do asyncio.sleep(0) end end

TestChannel = {}

function TestChannel:test_hands_values_over_in_order()
  t.run(function()
    local channel = asyncio.Channel()
    channel:put(1)
    channel:put_nowait "two"
    channel:put { 3, n = { deep = true } }
    channel:put(nil)
    t.assertEquals(channel:qsize(), 4)
    t.assertEquals(channel:get(), 1)
    t.assertEquals(channel:get_nowait(), "two")
    t.assertEquals(channel:get(), { 3, n = { deep = true } })
    t.assertNil(channel:get())
    t.assert_raises(asyncio.QueueEmpty, channel.get_nowait, channel)
  end)
end

function TestChannel:test_copies_what_is_put()
  t.run(function()
    local channel, item = asyncio.Channel(), { 1 }
    channel:put(item)
    item[1] = 2
    t.assertEquals(channel:get(), { 1 })
  end)
end

function TestChannel:test_refuses_what_cannot_be_sent()
  t.run(function()
    local channel = asyncio.Channel()
    local co = coroutine.create(print)
    t.assertErrorMsgContains("cannot send a coroutine at item 1.x", channel.put, channel, { x = co })
    t.assertErrorMsgContains("cannot send a coroutine at item 1", channel.put_nowait, channel, co)
    t.assertEquals(channel:qsize(), 0)
  end)
end

function TestChannel:test_of_some_size_makes_putters_wait_their_turn()
  t.run(function()
    local channel = asyncio.Channel { maxsize = 2 }
    local tasks = {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(channel.put, channel, i) end
    turns(3)
    t.assertEquals(channel:qsize(), 2)
    t.assert_raises(asyncio.QueueFull, channel.put_nowait, channel, 6)
    for i = 1, 5 do t.assertEquals(channel:get(), i) end
    for i = 1, 5 do await(tasks[i]) end
  end)
end

function TestChannel:test_serves_getters_in_the_order_of_their_calls()
  t.run(function()
    local channel, tasks = asyncio.Channel(), {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(channel.get, channel) end
    turns(2)
    for i = 1, 5 do channel:put(i) end
    for i = 1, 5 do t.assertEquals(await(tasks[i]), i) end
  end)
end

function TestChannel:test_get_that_is_cancelled_has_taken_nothing()
  t.run(function()
    local channel = asyncio.Channel()
    local first = asyncio.create_task(channel.get, channel)
    local second = asyncio.create_task(channel.get, channel)
    turns(2)
    first:cancel()
    channel:put "item"
    t.assertEquals(await(second), "item")
    t.assert_raises(asyncio.CancelledError, await, first)
  end)
end

function TestChannel:test_get_that_was_served_owns_its_item_whatever_is_cancelled_then()
  t.run(function()
    local channel = asyncio.Channel()
    local task = asyncio.create_task(function()
      local item = channel:get()
      local ok, err = pcall(asyncio.sleep, 0) -- here the cancellation is delivered
      return item, ok, err
    end)
    turns(2)
    channel:put "item"
    task:cancel()
    local item, ok, err = await(task)
    t.assertEquals({ item, ok }, { "item", false })
    t.assert_isinstance(err, asyncio.CancelledError)
  end)
end

function TestChannel:test_put_that_is_cancelled_has_put_nothing()
  t.run(function()
    local channel = asyncio.Channel(1)
    channel:put(1)
    local second = asyncio.create_task(channel.put, channel, 2)
    local third = asyncio.create_task(channel.put, channel, 3)
    turns(2)
    second:cancel()
    t.assertEquals(channel:get(), 1)
    await(third)
    t.assertEquals(channel:get(), 3)
    t.assert_raises(asyncio.CancelledError, await, second)
  end)
end

function TestChannel:test_that_is_closed_is_drained_first()
  t.run(function()
    local channel = asyncio.Channel()
    channel:put(1)
    channel:close()
    channel:close()
    t.assert_raises(asyncio.ClosedError, channel.put, channel, 2)
    t.assert_raises(asyncio.ClosedError, channel.put_nowait, channel, 2)
    t.assertEquals(channel:get(), 1)
    t.assert_raises(asyncio.ClosedError, channel.get, channel)
    t.assert_raises(asyncio.ClosedError, channel.get_nowait, channel)
  end)
end

function TestChannel:test_close_wakes_those_who_wait()
  t.run(function()
    local empty, full = asyncio.Channel(), asyncio.Channel(1)
    full:put(1)
    local getter = asyncio.create_task(empty.get, empty)
    local putter = asyncio.create_task(full.put, full, 2)
    turns(2)
    empty:close()
    full:close()
    t.assert_raises(asyncio.ClosedError, await, getter)
    t.assert_raises(asyncio.ClosedError, await, putter)
    t.assertEquals(full:get(), 1)
    t.assert_raises(asyncio.ClosedError, full.get, full)
  end)
end

function TestChannel:test_iter_ends_when_it_is_closed()
  t.run(function()
    local channel, seen = asyncio.Channel(), {}
    local task = asyncio.create_task(function()
      for n, item in channel:iter() do seen[n] = item or "nil" end
    end)
    for _, item in ipairs { "a", "b" } do channel:put(item) end
    turns(5)
    channel:put(nil)
    channel:close()
    await(task)
    t.assertEquals(seen, { "a", "b", "nil" })
  end)
end

function TestChannel:test_gives_way_now_and_then()
  t.run(function()
    local channel, others = asyncio.Channel(), 0
    local task = asyncio.create_task(function() while true do others = others + 1 asyncio.sleep(0) end end)
    for i = 1, 1000 do
      channel:put(i)
      channel:get()
    end
    t.assertTrue(others > 5)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
  end)
end

function TestChannel:test_checks_its_arguments()
  t.assertErrorMsgContains("integer expected", asyncio.Channel, "many")
  t.assertErrorMsgContains("asyncio.Channel expected", asyncio.Channel().get, {})
  t.run(function()
    local channel, err = asyncio.Channel(), nil
    table.sort({ 2, 1 }, function(a, b)
      err = select(2, pcall(channel.get, channel))
      return a < b
    end)
    t.assertStrContains(tostring(err), "sort")
  end)
end

function TestChannel:test_blocks_outside_of_a_loop()
  local channel, back = asyncio.Channel(1), asyncio.Channel()
  channel:put(1)
  t.assertEquals(channel:get(), 1)
  local pool = asyncio.ThreadPoolExecutor(1)
  local other = asyncio.new_event_loop()
  other:run_until_complete(function()
    pool:submit(function(from, to)
      for n, item in from:iter() do to:put { n, item } end -- blocks this thread
      to:close()
    end, channel, back)
    asyncio.sleep(0)
  end)
  for i = 1, 20 do
    channel:put(i) -- blocks, since there is one place
    if i % 2 == 0 then t.assertEquals(back:get(), { i // 2, i // 2 }) end
  end
  channel:close()
  for i = 11, 20 do t.assertEquals(back:get(), { i, i }) end
  t.assert_raises(asyncio.ClosedError, back.get, back)
  other:close()
  pool:shutdown()
end

function TestChannel:test_crosses_states_and_stays_the_same()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local channel = asyncio.Channel()
    local same, again = await(pool:submit(function(a, b) return a == b, a end, channel, channel))
    t.assertTrue(same)
    t.assertTrue(again == channel)
    t.assertFalse(asyncio.Channel() == channel)
    local carrier = asyncio.Channel()
    carrier:put { "inside", channel } -- a channel in a channel
    channel:put "through"
    t.assertEquals(await(pool:submit(function(c) return c:get()[2]:get() end, carrier)), "through")
    local upvalue = await(pool:submit(function() return tostring(channel):match "^asyncio.Channel" end))
    t.assertEquals(upvalue, "asyncio.Channel")
  end)
end

function TestChannel:test_that_was_sent_is_freed_whether_the_message_is_read_or_not()
  t.real(function()
    for _ = 1, t.count(40) do
      local outer = asyncio.Channel()
      outer:put { asyncio.Channel(), asyncio.Channel() }
      outer:put(asyncio.Channel())
      outer:get()
    end
    local pool = asyncio.ThreadPoolExecutor(1)
    for _ = 1, 10 do pool:submit(function(c) return c end, asyncio.Channel()) end
    pool:shutdown { cancel_futures = true }
    local co = coroutine.create(print)
    t.assertErrorMsgContains("cannot send", pool.submit, pool, print, asyncio.Channel(), co)
  end)
end

function TestChannel:test_is_awaited_by_several_loops_at_once()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local work, results = asyncio.Channel(5), asyncio.Channel()
    local function serve(jobs, out)
      return asyncio.run(function()
        local count = 0
        local function one()
          for _, n in jobs:iter() do
            out:put(n * n)
            count = count + 1
          end
        end
        asyncio.gather(one, one, one)
        return count
      end)
    end
    local n, futures, sum, expected = t.count(2000), {}, 0, 0
    for i = 1, 3 do futures[i] = pool:submit(serve, work, results) end
    local reader = asyncio.create_task(function()
      for _ = 1, n do sum = sum + results:get() end
    end)
    for i = 1, n do
      work:put(i)
      expected = expected + i * i
    end
    work:close()
    await(reader)
    t.assertEquals(sum, expected)
    local counts = 0
    for i = 1, 3 do counts = counts + await(futures[i]) end
    t.assertEquals(counts, n)
  end)
end

function TestChannel:test_get_of_a_loop_that_closes_leaves_the_item_to_others()
  local channel = asyncio.Channel()
  local other = asyncio.new_event_loop()
  other:create_task(channel.get, channel)
  other:create_task(channel.get, channel)
  other:run_until_complete(function()
    turns(3)
    channel:put_nowait(1) -- handed over, but its task never runs
  end)
  other:close()
  channel:put_nowait(2)
  t.assertEquals(channel:qsize(), 2)
  t.assertEquals(channel:get(), 1)
  t.assertEquals(channel:get(), 2)
end

function TestChannel:test_put_of_a_loop_that_closes_is_dropped()
  local channel = asyncio.Channel(1)
  channel:put(1)
  local other = asyncio.new_event_loop()
  other:create_task(channel.put, channel, 2)
  other:run_until_complete(function() turns(3) end)
  other:close()
  t.assertEquals(channel:get(), 1)
  t.assert_raises(asyncio.QueueEmpty, channel.get_nowait, channel)
end

function TestChannel:test_get_in_a_coroutine_that_a_stranger_closed_gives_its_item_back()
  t.run(function(reports)
    local channel = asyncio.Channel()
    local co
    local task = asyncio.create_task(function()
      co = coroutine.running()
      channel:get()
    end)
    turns(2)
    coroutine.close(co)
    channel:put_nowait "item"
    t.error_of(await, task)
    t.assertEquals(channel:get(), "item")
    t.assertEquals(#reports, 0)
  end)
end

function TestChannel:test_cancels_a_job_that_blocks_in_it()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local channel, told = asyncio.Channel(), asyncio.Channel()
    local future = pool:submit(function(from, to)
      to:put "begun"
      local ok, err = pcall(from.get, from)
      to:put(not ok and asyncio.isinstance(err, asyncio.CancelledError))
      local full = asyncio.Channel(1)
      full:put(1)
      ok, err = pcall(full.put, full, 2) -- the next one at once
      to:put(not ok and asyncio.isinstance(err, asyncio.CancelledError))
    end, channel, told)
    t.assertEquals(told:get(), "begun")
    future:cancel()
    t.assertTrue(told:get())
    t.assertTrue(told:get())
    channel:put "item" -- nobody takes it
    t.assertEquals(channel:qsize(), 1)
  end)
end

function TestChannel:test_is_in_the_call_graph()
  t.run(function()
    local channel = asyncio.Channel()
    local task = asyncio.create_task(channel.get, channel)
    turns(2)
    t.assertStrContains(tostring(task), "channel get")
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertStrMatches(tostring(channel), "asyncio.Channel: 0 items .*")
  end)
end

TestStorm = {}

-- Every item that was put is got exactly once, whatever is cancelled meanwhile, on both sides, in all loops.
function TestStorm:test_loses_and_doubles_nothing()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local channel, results = asyncio.Channel(3), asyncio.Channel()
    local function consume(from, to, seed)
      math.randomseed(seed)
      asyncio.run(function()
        local over = false
        local function one()
          local ok, item = pcall(from.get, from)
          if ok then
            to:put(item)
          elseif asyncio.isinstance(item, asyncio.ClosedError) then
            over = true
          end
        end
        while not over do
          local tasks = {}
          for i = 1, 4 do tasks[i] = asyncio.create_task(one) end
          for _ = 1, math.random(3) do asyncio.sleep(0) end
          tasks[math.random(4)]:cancel()
          for i = 2, 4 do asyncio.wait({ tasks[i] }, { timeout = 0.001 }) end
          for i = 1, 4 do tasks[i]:cancel() end
          asyncio.wait(tasks)
        end
      end)
    end
    local futures, n, put, seen, count = {}, t.count(1500), {}, {}, 0
    for i = 1, 3 do futures[i] = pool:submit(consume, channel, results, i) end
    local reader = asyncio.create_task(function()
      for _, item in results:iter() do
        t.assertNil(seen[item], "doubled")
        seen[item] = true
      end
    end)
    local tasks = {}
    for i = 1, n do
      tasks[i] = asyncio.create_task(function()
        channel:put(i)
        put[i] = true
        count = count + 1
      end)
      if math.random(5) == 1 then tasks[math.random(i)]:cancel() end
      if math.random(10) == 1 then asyncio.sleep(0) end
    end
    asyncio.wait(tasks)
    channel:close()
    for i = 1, 3 do await(futures[i]) end
    results:close()
    await(reader)
    local got = 0
    for item in pairs(seen) do
      t.assertTrue(put[item], "never put")
      got = got + 1
    end
    t.assertEquals(got, count)
  end)
end

TestRemote = {}

function TestRemote:test_calls_a_function_in_the_loop_from_another_thread()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(2)
    local remote = loop():remote()
    seen_by_spec = {} -- luacheck: ignore
    local function tell(to, n)
      for i = 1, 10 do to:call_soon_threadsafe(function(a, b) table.insert(seen_by_spec, a * 100 + b) end, n, i) end -- luacheck: ignore
    end
    local a, b = pool:submit(tell, remote, 1), pool:submit(tell, remote, 2)
    await(a)
    await(b)
    t.wait_until(function() return #seen_by_spec == 20 end) -- luacheck: ignore
    local last = { 0, 0 }
    for _, x in ipairs(seen_by_spec) do -- luacheck: ignore
      t.assertEquals(x % 100, last[x // 100] + 1) -- those of one thread in their order
      last[x // 100] = x % 100
    end
    seen_by_spec = nil -- luacheck: ignore
  end)
end

function TestRemote:test_wakes_a_loop_that_sleeps()
  t.real(function()
    local remote, event = loop():remote(), asyncio.Event()
    woken_by_spec = function() event:set() end -- luacheck: ignore
    loop():run_in_executor(nil, function(to)
      require "asyncio".blocking_sleep(0.01)
      to:call_soon_threadsafe(function() woken_by_spec() end) -- luacheck: ignore
    end, remote)
    event:wait()
    woken_by_spec = nil -- luacheck: ignore
  end)
end

function TestRemote:test_works_in_its_own_state_too()
  t.run(function()
    local channel = asyncio.Channel()
    loop():remote():call_soon_threadsafe(function(to) to:put_nowait(5) end, channel)
    t.assertEquals(channel:qsize(), 0)
    t.assertEquals(channel:get(), 5)
  end)
end

function TestRemote:test_reports_errors_to_the_handler_of_the_loop()
  t.run(function(reports)
    loop():remote():call_soon_threadsafe(function() error "remote trouble" end)
    t.wait_until(function() return #reports > 0 end)
    t.assertStrContains(t.take_report(reports, "callback failed").exception, "remote trouble")
  end)
end

function TestRemote:test_refuses_what_cannot_be_sent()
  t.real(function()
    local remote, co = loop():remote(), coroutine.create(print)
    t.assertErrorMsgContains("cannot send a coroutine at argument 1", remote.call_soon_threadsafe, remote, print, co)
    t.assertErrorMsgContains('cannot send a coroutine at upvalue "co"', remote.call_soon_threadsafe, remote,
      function() return co end)
    t.assertErrorMsgContains("function expected", remote.call_soon_threadsafe, remote, 5)
  end)
end

function TestRemote:test_of_a_closed_loop_raises()
  local other = asyncio.new_event_loop()
  local remote = other:remote()
  remote:call_soon_threadsafe(print, "never")
  other:close()
  t.assert_raises(asyncio.ClosedError, remote.call_soon_threadsafe, remote, print)
  t.assert_raises(asyncio.ClosedError, other.remote, other)
end

function TestRemote:test_of_loops_that_close_while_calls_come_in()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(2)
    local function serve(remotes, go)
      asyncio.run(function()
        remotes:put(asyncio.get_running_loop():remote())
        go:get()
      end)
    end
    for _ = 1, t.count(40) do
      local remotes, go = asyncio.Channel(), asyncio.Channel()
      local a, b = pool:submit(serve, remotes, go), pool:submit(serve, remotes, go)
      local list = { remotes:get(), remotes:get() }
      go:put(1)
      for i = 1, 50 do pcall(list[i % 2 + 1].call_soon_threadsafe, list[i % 2 + 1], type, i) end
      go:put(2)
      for i = 1, 50 do pcall(list[i % 2 + 1].call_soon_threadsafe, list[i % 2 + 1], type, i) end
      await(a)
      await(b)
    end
  end)
end

t.finish()
