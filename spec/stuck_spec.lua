-- Tasks that can never be woken: who waits for what nobody else can reach is told, and nobody else.
local t = require "helper"
local asyncio, core = t.asyncio, require "asyncio.core"
local create_task, sleep, await = asyncio.create_task, asyncio.sleep, asyncio.await

TestForgotten = {}
TestReachable = {}
TestSearch = {}

local MESSAGE = "a task can never be woken: nobody else can reach what it waits for"

local function start(name, fn, ...) create_task { fn, ..., name = name } end

--- The names of the tasks that have been told of, in order; they are ended.
local function take_stuck(reports)
  local names, rest = {}, {}
  for _, context in ipairs(reports) do
    if context.message == MESSAGE then
      names[#names + 1] = context.task:get_name()
      context.task:cancel()
      asyncio.wait { context.task }
    else
      rest[#rest + 1] = context
    end
  end
  for i = 1, #reports do reports[i] = rest[i] end
  return table.concat(names, " ")
end

--- What `make` starts is told of, as soon as the clock would go on: of all tasks those with these names.
local function is_stuck(names, make)
  t.run(function(reports)
    make()
    t.collect()
    sleep(1)
    t.assertEquals(take_stuck(reports), names)
  end)
end

--- What it starts isn't, and goes on when it is to: make gives what wakes it.
local function is_reachable(make)
  t.run(function(reports)
    local wake = make()
    t.collect()
    sleep(1)
    t.assertEquals(take_stuck(reports), "")
    wake()
    sleep(0)
    sleep(0)
  end)
end

-- Ways to forget a wake-up

function TestForgotten:test_a_limit_of_time_that_is_none()
  is_stuck("guest", function()
    start("guest", function()
      local _ <close> = asyncio.timeout(nil)
      asyncio.Event():wait()
    end)
  end)
end

function TestForgotten:test_an_event_that_nobody_sets()
  is_stuck("guest", function() start("guest", function() asyncio.Event():wait() end) end)
end

function TestForgotten:test_a_future_that_was_dropped()
  is_stuck("guest", function()
    local future = asyncio.get_running_loop():create_future()
    start("guest", function() await(future) end)
  end)
end

function TestForgotten:test_a_queue_that_nobody_puts_into_or_takes_from()
  is_stuck("getter putter joiner reader", function()
    start("getter", function() asyncio.Queue():get() end)
    start("putter", function()
      local queue = asyncio.Queue(1)
      queue:put(1)
      queue:put(2)
    end)
    start("joiner", function()
      local queue = asyncio.Queue()
      queue:put(1)
      queue:join()
    end)
    start("reader", function() for _ in asyncio.PriorityQueue():iter() do print "never" end end)
  end)
end

function TestForgotten:test_a_lock_whose_owner_waits_in_vain_too()
  is_stuck("owner second", function()
    local lock = asyncio.Lock()
    start("owner", function()
      local _ <close> = lock:acquire()
      asyncio.Event():wait()
    end)
    start("second", function() local _ <close> = lock:acquire() end)
  end)
end

function TestForgotten:test_a_condition_that_nobody_notifies()
  is_stuck("guest", function()
    start("guest", function()
      local condition = asyncio.Condition()
      local _ <close> = condition:acquire()
      condition:wait()
    end)
  end)
end

function TestForgotten:test_a_barrier_with_too_few()
  is_stuck("one other", function()
    local barrier = asyncio.Barrier(3)
    for _, name in ipairs { "one", "other" } do
      start(name, function() pcall(barrier.wait, barrier) end)
    end
  end)
end

function TestForgotten:test_a_semaphore_that_was_never_released()
  is_stuck("second", function()
    local semaphore = asyncio.Semaphore(1)
    start("first", function() semaphore:acquire() end)
    start("second", function() semaphore:acquire() end)
  end)
end

function TestForgotten:test_queues_between_two_that_wait_for_each_other()
  is_stuck("to fro", function()
    local to, fro = asyncio.Queue(), asyncio.Queue()
    start("to", function() fro:put(to:get()) end)
    start("fro", function() to:put(fro:get()) end)
  end)
end

function TestForgotten:test_a_group_that_waits_for_such_a_task()
  is_stuck("group child", function()
    start("group", function()
      local group <close> = asyncio.TaskGroup()
      group:create_task { function() asyncio.Event():wait() end, name = "child" }
    end)
  end)
end

function TestForgotten:test_one_task_that_awaits_another_and_so_on()
  is_stuck("c b a", function()
    start("c", function()
      await(create_task { function()
        await(create_task { function() asyncio.Event():wait() end, name = "a" })
      end, name = "b" })
    end)
  end)
end

function TestForgotten:test_several_of_which_none_ends()
  is_stuck("gather wait race completed shield", function()
    local loop = asyncio.get_running_loop()
    start("gather", function() asyncio.gather(loop:create_future(), loop:create_future()) end)
    start("wait", function() asyncio.wait { loop:create_future() } end)
    start("race", function() asyncio.race { loop:create_future(), loop:create_future() } end)
    start("completed", function() for _ in asyncio.as_completed { loop:create_future() } do print "never" end end)
    start("shield", function() await(asyncio.shield(loop:create_future())) end)
  end)
end

function TestForgotten:test_a_callback_that_was_thrown_away()
  is_stuck("guest", function()
    start("guest", function() asyncio.await_callback(function() end) end)
  end)
end

function TestForgotten:test_a_channel_that_nobody_else_has()
  is_stuck("guest", function() start("guest", function() asyncio.Channel():get() end) end)
end

-- What can be reached

--- Somebody who waits for an event, and what sets that where `hide` has put it.
local function hidden(hide)
  is_reachable(function()
    local event = asyncio.Event()
    start("guest", function() event:wait() end)
    return hide(event)
  end)
end

function TestReachable:test_who_has_a_group_may_end_its_tasks()
  is_reachable(function()
    local group
    start("group", function()
      local g <close> = asyncio.TaskGroup()
      group = g
      g:create_task(function() asyncio.Event():wait() end)
    end)
    sleep(0)
    return function() group:cancel() end
  end)
end

function TestReachable:test_by_a_global_or_a_module()
  hidden(function(event)
    package.loaded["spec.stuck"] = { deep = { event } }
    return function()
      package.loaded["spec.stuck"].deep[1]:set()
      package.loaded["spec.stuck"] = nil
    end
  end)
end

function TestReachable:test_by_a_local_variable_of_who_sleeps()
  hidden(function(event) return function() event:set() end end)
end

function TestReachable:test_by_a_task_that_sleeps()
  is_reachable(function()
    local event = asyncio.Event()
    start("guest", function(own) own:wait() end, event)
    start("host", function(own)
      sleep(5)
      own:set()
    end, event)
    event = nil
    return function() sleep(10) end
  end)
end

function TestReachable:test_by_a_call_that_the_loop_will_make()
  is_reachable(function()
    local loop, event = asyncio.get_running_loop(), asyncio.Event()
    start("guest", function(own) own:wait() end, event)
    loop:call_later(5, event.set, event)
    event = nil
    return function() sleep(10) end
  end)
end

function TestReachable:test_by_whoever_has_the_task_and_can_cancel_it()
  is_reachable(function()
    local task = create_task(function() asyncio.Event():wait() end)
    return function() task:cancel() end
  end)
end

function TestReachable:test_by_a_limit_of_time()
  is_reachable(function()
    start("guest", function() asyncio.move_on_after(5, function() asyncio.Event():wait() end) end)
    start("waiter", function() asyncio.wait({ asyncio.get_running_loop():create_future() }, { timeout = 5 }) end)
    start("completed", function()
      local futures = { asyncio.get_running_loop():create_future() }
      pcall(function() for _ in asyncio.as_completed(futures, { timeout = 5 }) do print "never" end end)
    end)
    return function() sleep(10) end
  end)
end

function TestReachable:test_by_those_who_are_woken_themselves()
  is_reachable(function()
    local first, second, third = asyncio.Event(), asyncio.Queue(), asyncio.Lock()
    start("c", function()
      local _ <close> = third:acquire()
      second:get()
    end)
    start("b", function()
      first:wait()
      second:put(1)
    end)
    start("d", function() local _ <close> = third:acquire() end)
    return function() first:set() sleep(0) sleep(0) end
  end)
end

function TestReachable:test_a_lock_whose_owner_has_forgotten_it()
  is_reachable(function()
    local lock = asyncio.Lock()
    local reports = t.reports_of(asyncio.get_running_loop())
    start("owner", function(own)
      own:acquire()
      own = nil -- luacheck: ignore
      sleep(5)
    end, lock)
    start("second", function(own) own:acquire():release() end, lock)
    lock = nil
    return function()
      sleep(10)
      t.take_report(reports, "a lock was never released")
    end
  end)
end

function TestReachable:test_by_a_coroutine_that_can_be_resumed()
  hidden(function(event)
    local waiting = coroutine.wrap(function(...)
      coroutine.yield()
      select(2, ...):set()
    end)
    waiting(1, event)
    return waiting
  end)
  hidden(function(event)
    local unstarted = coroutine.create(event.set)
    return function() coroutine.resume(unstarted, event) end
  end)
end

function TestReachable:test_by_what_lies_in_a_queue_or_a_future()
  hidden(function(event)
    local queue = asyncio.Queue()
    queue:put(event)
    return function() queue:get():set() end
  end)
  hidden(function(event)
    local future = asyncio.get_running_loop():create_future()
    future:add_done_callback(function() event:set() end)
    return function() future:set_result() end
  end)
end

function TestReachable:test_by_metatables_keys_and_signal_handlers()
  hidden(function(event)
    local object = setmetatable({}, { __call = function() event:set() end })
    return function() object() end
  end)
  hidden(function(event)
    local keys = { [event] = true }
    return function() next(keys):set() end
  end)
  hidden(function(event)
    local loop = asyncio.get_running_loop()
    loop:add_signal_handler("SIGUSR2", event.set, event)
    return function()
      event:set()
      loop:remove_signal_handler "SIGUSR2"
    end
  end)
end

function TestReachable:test_by_the_callback_that_others_have()
  is_reachable(function()
    local callback
    start("guest", function() asyncio.await_callback(function(cb) callback = cb end) end)
    sleep(0)
    return function() callback() end
  end)
end

function TestReachable:test_by_who_reads_a_stream()
  is_reachable(function()
    local reader, writer, _, other = asyncio.stream_pair()
    start("guest", function() reader:read() end)
    return function()
      other:close()
      writer:close()
    end
  end)
end

function TestReachable:test_what_a_weak_table_has_is_not()
  local weak = setmetatable({}, { __mode = "v" })
  is_stuck("guest", function()
    weak[1] = asyncio.Event()
    local event = weak[1]
    start("guest", function() event:wait() end)
  end)
end

-- When

function TestSearch:test_tells_each_once()
  t.run(function(reports)
    start("guest", function() asyncio.Event():wait() end)
    local loop = asyncio.get_running_loop()
    core.seek_stuck(loop, true)
    for _ = 1, 5 do sleep(1) end
    t.assertEquals(#reports, 1)
    t.assertStrContains(reports[1].source_traceback, "in method 'wait'")
    t.assertEquals(take_stuck(reports), "guest")
  end)
end

function TestSearch:test_is_made_in_debug_mode_once_the_loop_has_idled()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    local runner <close> = asyncio.Runner { debug = true }
    runner:run(function()
      asyncio.get_running_loop():set_exception_handler(function(_, context)
        print(context.message)
        print(context.task:get_name(), (select(2, context.source_traceback:gsub("script", ""))))
        print(context.source_traceback:match "made at:\n.*in function" ~= nil)
      end)
      asyncio.create_task { function() asyncio.Event():wait() end, name = "guest" }
      for _ = 1, 10 do asyncio.sleep(0.01) end
      print "not yet"
      asyncio.sleep(0.3)
    end)
  ]]
  t.assertEquals(err, "")
  t.assertStrContains(out, "not yet\n" .. MESSAGE .. "\nguest\t")
  t.assertStrMatches(out, ".*\ntrue\n$")
end

function TestSearch:test_is_not_made_otherwise()
  asyncio.run(function()
    local reports = t.reports_of(asyncio.get_running_loop())
    start("guest", function() asyncio.Event():wait() end)
    sleep(0.15)
    t.assertEquals(reports, {})
  end)
end

function TestSearch:test_collects_garbage_before_it_tells()
  is_reachable(function()
    local event = asyncio.Event()
    start("guest", function() event:wait() end)
    setmetatable({}, { __gc = function() event:set() end })
    return function() end
  end)
end

function TestSearch:test_can_be_asked_for()
  t.run(function(reports)
    local loop = asyncio.get_running_loop()
    t.assertEquals(core.stuck_tasks(loop), {})
    start("guest", function() asyncio.Event():wait() end)
    sleep(0)
    local list = core.stuck_tasks(loop)
    t.assertEquals(#list, 1)
    t.assertEquals(list[1]:get_name(), "guest")
    list[1]:cancel()
    sleep(0)
    t.assertEquals(reports, {})
  end)
end

function TestSearch:test_gives_up_when_it_takes_too_long()
  t.run(function()
    local task <close> = create_task(function() asyncio.Event():wait() end)
    sleep(0)
    local tasks, why = core.stuck_tasks(asyncio.get_running_loop(), 1e-9)
    t.assertNil(tasks)
    t.assertEquals(why, "it would have taken too long")
    t.assertFalse(task:done())
  end)
end

function TestSearch:test_gives_up_when_there_are_too_many_objects()
  if t.slow then t.skip "it takes its time" end
  t.run(function()
    local many = {}
    local task <close> = create_task(function() asyncio.Event():wait(#many) end)
    for i = 1, 500001 do many[i] = {} end
    sleep(0)
    local tasks, why = core.stuck_tasks(asyncio.get_running_loop(), 60)
    t.assertNil(tasks)
    t.assertEquals(why, "there are too many objects")
    t.assertFalse(task:done())
  end)
end

function TestSearch:test_looks_through_deep_things()
  t.run(function()
    local event, list = asyncio.Event(), nil
    for _ = 1, t.count(100000) do list = { list } end
    local task <close> = create_task(function() event:wait() end)
    local function deep(n)
      if n == 0 then
        sleep(1)
        return n
      end
      return deep(n - 1) + 0
    end
    local sleeper <close> = create_task(deep, 150)
    sleep(0)
    t.assertEquals(core.stuck_tasks(asyncio.get_running_loop(), 60), {})
    t.assertNotNil(list)
    t.assertFalse(task:done() or sleeper:done())
  end)
end

function TestSearch:test_follows_a_long_chain_of_tasks()
  t.run(function()
    local first = create_task(sleep, 1)
    local last = first
    for _ = 1, t.count(10000) do last = create_task(await, last) end
    start("guest", function() asyncio.Event():wait() end)
    sleep(0)
    local list = core.stuck_tasks(asyncio.get_running_loop(), 60)
    t.assertEquals(#list, 1)
    list[1]:cancel()
    await(last)
  end)
end

t.finish()
