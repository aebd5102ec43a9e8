-- loop_close_spec.lua - a loop's end reached what was no longer there, or left behind what still was.
-- Each program runs in a process of its own, as what it did was to crash.
local t = require "helper"

TestLoopClose = {}

local PREAMBLE = [[
  local asyncio = require "asyncio"
  local function collect() for _ = 1, 4 do collectgarbage() end end
]]

--- Runs it; it must end well and write exactly `expected`. Gives what it wrote to stderr, which is to be
-- nothing unless there is a pattern for it.
local function assert_ends_well(source, expected, pattern)
  local out, err, code, how = t.lua(PREAMBLE .. source)
  t.assertEquals({ how, code, out }, { "exit", 0, expected }, err)
  if pattern then t.assertStrContains(err, pattern) else t.assertEquals(err, "") end
end

-- The loop looked for the lost error in a weak table that the collector had cleared, and followed nil.
function TestLoopClose:test_reports_a_lost_error_whose_future_was_collected_in_the_last_turn()
  assert_ends_well([[
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(function()
      loop:create_future():set_exception "lost one"
      collect()
    end)
    loop:close()
    print "closed"
  ]], "closed\n", "the error of a future was never looked at")
end

-- The same nil was found for errors whose finalisers were still to be called when the loop closed.
function TestLoopClose:test_survives_lost_errors_whose_finalisers_are_still_to_come()
  for steps = 5, 65, 20 do
    assert_ends_well(([[
      local loop = asyncio.new_event_loop()
      loop:set_exception_handler(function() end)
      collectgarbage "stop"
      loop:run_until_complete(function()
        for _ = 1, 500 do loop:create_future():set_exception "lost one" end
      end)
      collectgarbage "restart"
      collectgarbage("incremental", 100, 40)
      for _ = 1, %d do collectgarbage("step", 1) end
      loop:close()
      print "closed"
    ]]):format(steps), "closed\n")
  end
end

-- A comparison that raised while an item was given back left the loop half closed and freed, but listed.
function TestLoopClose:test_goes_on_when_a_priority_queue_cannot_compare_what_is_given_back()
  assert_ends_well([[
    do
      local loop = asyncio.new_event_loop()
      local queue = asyncio.PriorityQueue()
      loop:run_until_complete(function()
        asyncio.create_task(function() queue:get() end)
        asyncio.create_task(asyncio.sleep, 1000)
        asyncio.sleep(0)
        queue:put_nowait "x" -- the getter's, which never runs again
        queue:put_nowait(1)
      end)
      loop:close()
      print(loop:is_closed(), #asyncio.all_tasks(loop))
    end
    collect()
    print(asyncio.run(function() asyncio.sleep(0.001) return "ran" end))
  ]], "true\t0\nran\n", "could not give back what it had")
end

-- A task abandoned in Condition:wait was put into the line of the lock, where it stayed after its end.
function TestLoopClose:test_leaves_no_waiter_of_a_condition_in_the_line_of_its_lock()
  assert_ends_well([[
    local lock = asyncio.Lock()
    local condition = asyncio.Condition(lock)
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        asyncio.create_task(function()
          local _ <close> = condition:acquire()
          condition:wait()
        end)
        asyncio.sleep(0.001)
      end)
      loop:close()
    end
    collect()
    print(lock:locked())
    asyncio.run(function()
      local _ <close> = lock:acquire()
      asyncio.sleep(0)
    end)
    lock, condition = nil, nil
    collect()
    print "gone"
  ]], "false\ngone\n")
end

-- The same with the lock held by another task of the loop, which woke the dead waiter when it released.
function TestLoopClose:test_leaves_no_waiter_of_a_condition_when_another_task_holds_the_lock()
  assert_ends_well([[
    local lock = asyncio.Lock()
    local condition = asyncio.Condition(lock)
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        asyncio.create_task(function()
          local _ <close> = condition:acquire()
          condition:wait()
        end)
        asyncio.sleep(0.001)
        asyncio.create_task(function()
          local _ <close> = lock:acquire()
          asyncio.sleep(1000)
        end)
        asyncio.sleep(0.001)
      end)
      loop:close()
    end
    collect()
    print(asyncio.run(function() asyncio.sleep(0) return "ran" end))
    lock, condition = nil, nil
    collect()
    print "gone"
  ]], "ran\ngone\n")
end

-- The coroutine of an abandoned task kept the task's address, and wrote there when it was resumed.
function TestLoopClose:test_leaves_coroutines_that_can_be_resumed_after_their_tasks_were_freed()
  assert_ends_well([[
    local co
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        local task = asyncio.create_task(asyncio.sleep, 1000)
        asyncio.sleep(0)
        co = task:get_coro()
      end)
      loop:close()
    end
    collect()
    print((coroutine.resume(co)))
  ]], "false\n")
end

-- A writer with output under way stayed in the closed loop's list of what is ready, and was freed after it.
function TestLoopClose:test_is_survived_by_a_writer_whose_output_was_under_way()
  assert_ends_well([[
    local kept
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        local server = asyncio.start_server(function() asyncio.sleep(1000) end, "127.0.0.1", 0)
        local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
        writer:write(("x"):rep(20000000)) -- more than the kernel takes
        asyncio.sleep(0.01)
        kept = writer
      end)
      loop:close()
    end
    collect()
    kept = nil
    collect()
    print "gone"
  ]], "gone\n")
end

-- A writer written to outside of a run stayed in the list of what is sent at the end of the turn.
function TestLoopClose:test_is_survived_by_a_writer_whose_output_was_not_begun()
  assert_ends_well([[
    local kept
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        local server = asyncio.start_server(function() asyncio.sleep(1000) end, "127.0.0.1", 0)
        local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
        kept = writer
      end)
      kept:write "hello"
      loop:close()
    end
    collect()
    kept = nil
    collect()
    print "gone"
  ]], "gone\n")
end

-- A collected loop's woken getter was asked to give its item back through the loop's own, missing userdata.
function TestLoopClose:test_by_the_collector_gives_back_the_item_of_a_woken_getter()
  assert_ends_well([[
    local queue = asyncio.Queue()
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        asyncio.create_task(function() queue:get() end)
        asyncio.sleep(0)
        queue:put_nowait "x"
      end)
    end
    collect()
    print(queue:qsize(), queue:get_nowait())
  ]], "1\tx\n")
end

-- A stream of a collected loop dropped its output into the table of the loop, which was gone.
function TestLoopClose:test_by_the_collector_drops_the_output_of_its_streams()
  assert_ends_well([[
    do
      local loop = asyncio.new_event_loop()
      loop:run_until_complete(function()
        local server = asyncio.start_server(function() asyncio.sleep(1000) end, "127.0.0.1", 0)
        local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
        writer:write(("x"):rep(20000000)) -- more than the kernel takes
        asyncio.sleep(0.01)
        writer:write(("y"):rep(5000))
      end)
    end
    collect()
    print "gone"
  ]], "gone\n")
end

-- A lost error whose turn with the collector came while the loop was closing was held for a turn of the loop, which
-- the closing loop refused: in a finaliser, where nobody heard of it.
function TestLoopClose:test_reports_what_the_collector_finds_meanwhile()
  assert_ends_well([[
    collectgarbage "stop"
    local reported, begun = 0, false
    local loop = asyncio.new_event_loop()
    loop:set_exception_handler(function() reported = reported + 1 end)
    loop:run_until_complete(function()
      for _ = 1, 100 do asyncio.create_task(error, "lost") end
      asyncio.sleep(0)
      asyncio.sleep(0)
    end)
    setmetatable({}, { __gc = function() begun = true end })
    collectgarbage("incremental", 100, 100, 4) -- finalisers are called a few at a time from now on
    collectgarbage "restart"
    repeat local _ = {} until begun
    loop:close()
    print(reported)
  ]], "100\n")
end

-- The items of several woken getters came back in reverse, as each was put at the head in its turn.
function TestLoopClose:test_gives_back_the_items_of_woken_getters_in_their_order()
  assert_ends_well([[
    local loop = asyncio.new_event_loop()
    local queue = asyncio.Queue()
    loop:run_until_complete(function()
      for _ = 1, 3 do asyncio.create_task(function() queue:get() end) end
      asyncio.sleep(0)
      for i = 1, 4 do queue:put_nowait(i) end
    end)
    loop:close()
    print(queue:get_nowait(), queue:get_nowait(), queue:get_nowait(), queue:get_nowait())
  ]], "1\t2\t3\t4\n")
end

-- What was to be done with a file whose call was under way was handed to a thread while the loop closed, and touched
-- again, when that had freed it.
function TestLoopClose:test_touches_no_file_that_its_threads_have_got()
  local source = ([[
    local asyncio = require "asyncio"
    for _ = 1, %d do
      asyncio.run(function()
        for _ = 1, 20 do asyncio.create_task(function() asyncio.open(arg[0]):read "a" end) end
        asyncio.sleep(0)
      end)
    end
    print "closed"
  ]]):format(t.count(300))
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(source)
  file:close()
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local pipe <close> = io.popen(("MALLOC_PERTURB_=165 timeout 60 %s '%s' 2>&1"):format(lua, name))
  t.assertEquals(t.unhurried(pipe:read "a"), "closed\n") -- with free memory overwritten
  os.remove(name)
end

t.finish { sampled = true }
