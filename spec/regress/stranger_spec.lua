-- stranger_spec.lua - something other than its loop closed or resumed the coroutine of a task.
local t = require "helper"
local asyncio = t.asyncio

TestStranger = {}

local function assert_ends_well(source, expected)
  local out, err, code, how = t.lua('local asyncio = require "asyncio"\n' .. source)
  t.assertEquals({ how, code, out, err }, { "exit", 0, expected, "" })
end

--- Where coroutines are used again, strangers may have had them in their hands.
local function assert_reuse_ends_well(source, expected)
  local main = "local runner <close> = asyncio.Runner { reuse_coroutines = true }\nrunner:run(function()%s\nend)"
  assert_ends_well(main:format(source), expected)
end

-- The coroutines kept for reuse were chained on their own stacks, which coroutine.close emptied.
function TestStranger:test_may_close_the_coroutine_of_a_task_that_has_ended()
  assert_reuse_ends_well([[
    local cos, ran = {}, 0
    for i = 1, 5 do asyncio.create_task(function() cos[i] = coroutine.running() end) end
    asyncio.sleep(0)
    for i = 1, 5 do print(coroutine.status(cos[i]), coroutine.close(cos[i])) end
    for _ = 1, 10 do asyncio.create_task(function() ran = ran + 1 end) end
    asyncio.sleep(0)
    print(ran)
  ]], ("dead\ttrue\n"):rep(5) .. "10\n")
end

-- Resumed, such a coroutine took the next one of the chain from its stack for a function to call.
function TestStranger:test_cannot_resume_the_coroutine_of_a_task_that_has_ended()
  assert_reuse_ends_well([[
    local cos, ran = {}, 0
    for i = 1, 5 do asyncio.create_task(function() cos[i] = coroutine.running() end) end
    asyncio.sleep(0)
    for i = 1, 5 do print((coroutine.resume(cos[i]))) end
    for _ = 1, 10 do asyncio.create_task(function() ran = ran + 1 end) end
    asyncio.sleep(0)
    print(ran)
  ]], ("false\n"):rep(5) .. "10\n")
end

-- A task that was closed when it had just been handed a lock kept it for ever, and dangled in its list.
function TestStranger:test_that_closes_a_task_just_handed_a_lock_sets_the_lock_free()
  assert_ends_well([[
    local lock = asyncio.Lock()
    asyncio.run(function()
      do
        local held = lock:acquire()
        local task = asyncio.create_task(function() lock:acquire() end)
        asyncio.sleep(0)
        coroutine.close(task:get_coro())
        lock:release()
        print((pcall(asyncio.await, task)))
      end
      for _ = 1, 4 do collectgarbage() end
      print(lock:locked())
      local other = asyncio.create_task(function() local _ <close> = lock:acquire() end)
      asyncio.sleep(0)
      print(other:done())
    end)
    lock = nil
    for _ = 1, 4 do collectgarbage() end
    print "gone"
  ]], "false\nfalse\ntrue\ngone\n")
end

-- A reader kept the address of the task that had waited in read, and the next read followed it.
function TestStranger:test_that_closes_a_task_in_read_leaves_the_reader_to_others()
  assert_ends_well([[
    asyncio.run(function()
      local turn = asyncio.Queue()
      local server <close> = asyncio.start_server(function(_, writer)
        for _ = 1, 2 do writer:send(turn:get()) end
        turn:get()
      end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      turn:put_nowait "x"
      print(reader:read(1))
      local task = asyncio.create_task(function() reader:read(1) end)
      asyncio.sleep(0)
      coroutine.close(task:get_coro())
      turn:put_nowait "y" -- wakes the task
      print((pcall(asyncio.await, task)))
      task = nil
      for _ = 1, 4 do collectgarbage() end
      print(reader:read(1))
      turn:put_nowait "the end"
    end)
  ]], "x\nfalse\ny\n")
end

-- The same task left the line of a stream that was closed when the task was dead and the stream collected.
function TestStranger:test_that_closes_a_task_in_a_stream_s_line_leaves_nothing_in_it()
  for _, wait in ipairs { "writer:wait_closed()", "writer:write(('x'):rep(10000000)) writer:drain()" } do
    assert_ends_well(([[
      asyncio.run(function()
        asyncio.get_running_loop():set_exception_handler(function() end)
        local over, waits = asyncio.Event(), false
        local server <close> = asyncio.start_server(function() over:wait() end, "127.0.0.1", 0)
        local task = asyncio.create_task(function()
          local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
          waits = true
          %s
        end)
        while not waits do asyncio.sleep(0.001) end
        coroutine.close(task:get_coro())
        for _ = 1, 3 do collectgarbage() asyncio.sleep(0.002) end
        task:cancel()
        print((pcall(asyncio.await, task)))
        for _ = 1, 3 do collectgarbage() asyncio.sleep(0.002) end
        over:set()
        print "gone"
      end)
    ]]):format(wait), "false\ngone\n")
  end
end

-- asyncio.coroutine.resume raised inside the other task, which then took drain's event for sleep's.
function TestStranger:test_that_is_asyncio_coroutine_resume_raises_in_its_caller()
  assert_ends_well([[
    asyncio.run(function()
      local go = asyncio.Event()
      local server <close> = asyncio.start_server(function(reader)
        go:wait()
        reader:readexactly(10000000)
      end, "127.0.0.1", 0)
      local draining
      local task = asyncio.create_task(function()
        local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
        writer:write(("x"):rep(10000000)) -- more than the kernel takes
        draining = true
        local drained = pcall(writer.drain, writer)
        return drained, (pcall(asyncio.sleep, 0.01))
      end)
      while not draining do asyncio.sleep(0.001) end
      print((pcall(asyncio.coroutine.resume, coroutine.create(print), "resumes its own")))
      local raised, resumed = pcall(asyncio.coroutine.resume, task:get_coro())
      print(raised and resumed)
      go:set()
      print(asyncio.await(task))
    end)
  ]], "resumes its own\ntrue\nfalse\ntrue\ttrue\n")
end

-- asyncio.await of a coroutine lets that of a waiting task through as well, to the same effect.
function TestStranger:test_that_awaits_the_coroutine_of_a_task_leaves_the_task_alone()
  t.run(function()
    local task = asyncio.create_task(function() return asyncio.sleep(0.01, "slept") end)
    asyncio.sleep(0)
    t.error_of(asyncio.await, task:get_coro())
    t.assertEquals(asyncio.await(task), "slept")
  end)
end

t.finish { sampled = true }
