-- coroutine_spec.lua - whose a coroutine is: libraries keep state under `coroutine.running()`, and one task found what
-- another had left there.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

TestOwnCoroutine = {}

--- The coroutines of n tasks that come one after the other, by every way there is of making one.
local function coroutines_of(n)
  local list = {}
  local function note() list[#list + 1] = coroutine.running() end
  for _ = 1, n do
    await(create_task(note))
    asyncio.gather(note, note)
    do
      local group <close> = asyncio.TaskGroup()
      group:create_task(note)
    end
    pcall(await, create_task(function()
      note()
      error("failed", 0)
    end))
    local cancelled = create_task(function()
      note()
      sleep(60)
    end)
    sleep(0)
    cancelled:cancel()
    asyncio.wait { cancelled }
  end
  return list
end

local function count_distinct(list)
  local seen, n = {}, 0
  for _, co in ipairs(list) do
    if not seen[co] then n = n + 1 end
    seen[co] = true
  end
  return n
end

function TestOwnCoroutine:test_no_two_tasks_have_the_same()
  t.run(function()
    local list = coroutines_of(10)
    t.assertEquals(#list, 60)
    t.assertEquals(count_distinct(list), #list)
    for _, co in ipairs(list) do t.assertEquals(coroutine.status(co), "dead") end
  end)
end

function TestOwnCoroutine:test_what_one_client_left_there_no_other_finds()
  t.real(function()
    local state = setmetatable({}, { __mode = "k" })
    local server <close> = asyncio.start_server(function(reader, writer)
      local me, name = coroutine.running(), reader:readline():match "^login (%S+)"
      if name then state[me] = name end
      writer:send("you are ", tostring(state[me]))
    end, "127.0.0.1", 0)
    local answers = {}
    for i, line in ipairs { "login alice\n", "whoami\n", "whoami\n" } do
      local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      writer:send(line)
      answers[i] = reader:read(-1)
      writer:close()
      writer:wait_closed()
    end
    t.assertEquals(answers, { "you are alice", "you are nil", "you are nil" })
  end)
end

function TestOwnCoroutine:test_goes_with_its_task_when_nobody_has_it()
  t.run(function()
    local weak, tasks = setmetatable({}, { __mode = "k" }), {}
    for i = 1, 20 do
      tasks[i] = create_task(function() weak[coroutine.running()] = true end)
      await(tasks[i])
    end
    t.collect()
    t.assertNil(next(weak))
    t.assertNil(tasks[1]:get_coro())
  end)
end

-- Only the first resume of a coroutine looks whose it is: being refused makes it nobody else's.
function TestOwnCoroutine:test_is_refused_to_who_resumes_it_again_and_again()
  t.run(function()
    local function work()
      sleep(0)
      return "value"
    end
    for _, body in ipairs { work, coroutine.create(work) } do
      local task = create_task(body)
      for _ = 1, 2 do
        for _ = 1, 2 do
          local ok, err = asyncio.coroutine.resume(task:get_coro())
          t.assertFalse(ok)
          t.assertStrContains(err, "the coroutine of a task")
          t.assertErrorMsgContains("the coroutine of a task", asyncio.coroutine.close, task:get_coro())
        end
        sleep(0)
      end
      t.assertEquals(await(task), "value")
    end
  end)
end

TestReuse = {}

local function reusing(fn)
  local runner <close> = asyncio.Runner { reuse_coroutines = true }
  return runner:run(fn)
end

function TestReuse:test_tasks_run_in_coroutines_of_ended_ones()
  reusing(function()
    local list = coroutines_of(10)
    t.assertTrue(count_distinct(list) <= 10, count_distinct(list))
  end)
end

function TestReuse:test_is_for_its_runner_only()
  reusing(function() end)
  asyncio.run(function()
    local list = coroutines_of(3)
    t.assertEquals(count_distinct(list), #list)
  end)
end

function TestReuse:test_one_that_was_asked_for_belongs_to_no_other_task()
  reusing(function()
    local task = create_task(sleep, 0)
    sleep(0)
    local co = task:get_coro()
    await(task)
    t.assertIs(task:get_coro(), co)
    for _ = 1, 10 do t.assertFalse(rawequal(await(create_task(coroutine.running)), co)) end
    t.assertEquals(coroutine.status(co), "dead")
  end)
end

function TestReuse:test_one_that_was_put_to_another_use_is_dropped()
  reusing(function()
    local co = await(create_task(coroutine.running))
    t.assertTrue(coroutine.close(co))
    t.assertFalse((coroutine.resume(co)))
    for _ = 1, 10 do t.assertEquals(await(create_task(sleep, 0, "value")), "value") end
  end)
end

TestTaskFunction = {}

--- "function at file:line", where tostring says that fn is the task's.
local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  return ("function at %s:%d "):format(info.short_src, info.linedefined)
end

function TestTaskFunction:test_is_told_from_the_beginning_to_the_end()
  t.run(function()
    local seen = {}
    local function tail() return sleep(0) end
    local function work()
      seen[#seen + 1] = tostring(asyncio.current_task())
      sleep(0)
      return tail() -- the frame of `work` is gone
    end
    for _, body in ipairs { work, coroutine.create(work) } do
      local task = create_task(body)
      for _ = 1, 4 do
        seen[#seen + 1] = tostring(task)
        sleep(0)
      end
      t.assertTrue(task:done())
    end
    t.assertEquals(#seen, 10)
    for _, text in ipairs(seen) do t.assertStrContains(text, place_of(work)) end
  end)
end

function TestTaskFunction:test_of_one_cancelled_before_its_first_step_is_told()
  t.run(function()
    local function work() end
    local task = create_task(work)
    task:cancel()
    asyncio.wait { task }
    t.assertStrContains(tostring(task), place_of(work))
  end)
end

t.finish()
