-- What memory that ran out, and calls that were cancelled at random moments, have brought to light in
-- asyncio.distributed. Here something in an executor fails once, where an allocation may: nobody waits for ever.
local t = require "helper"
local answers = require "asyncio.distributed.answers"
local quiet = require "distributed.quiet"
local scripts = require "asyncio.distributed.scripts"

local asyncio = t.asyncio
local BASE, SLEEP, test = quiet.BASE, quiet.SLEEP, quiet.test

TestBeginning = {}
TestAnswers = {}
TestStoring = {}
TestEnd = {}
TestWorker = {}

--- In place of object[name], for one call; then it is what it was.
local function once(object, name, fn)
  local former, own = object[name], rawget(object, name)
  object[name] = function(...)
    object[name] = own
    return fn(former, ...)
  end
end

local function fails() error("it fails", 0) end

--- executor[1]:begin(name, ...) calls fn(begin, ...) once.
local function at_begin(executor, pattern, fn)
  local state = executor[1]
  local begin = state.begin
  function state:begin(name, ...)
    if not name:find(pattern) then return begin(self, name, ...) end
    state.begin = nil
    return fn(begin, self, name, ...)
  end
end

local function run_one(executor, start)
  local made, task = start()
  t.assertEquals(asyncio.await(executor:submit(SLEEP, 1)), 1)
  made:stop()
  asyncio.await(task)
end

-- What an executor begins with its first job

-- It was taken for begun: no answer was heard.
function TestBeginning:test_hears_answers_though_that_could_not_be_begun_at_first()
  test(function(_, executor, start)
    at_begin(executor, "^answers of", fails)
    t.assertEquals(t.error_of(executor.submit, executor, SLEEP, 1), "it fails")
    run_one(executor, start)
  end)
end

-- It was taken for begun: nobody asked after jobs, and what was lost was waited for.
function TestBeginning:test_asks_after_jobs_though_that_could_not_be_begun_at_first()
  test(function(world, executor)
    at_begin(executor, "^jobs of", fails)
    t.assertEquals(t.error_of(executor.submit, executor, SLEEP, 1), "it fails")
    local future = executor:submit(SLEEP, 1)
    local names = {}
    for task in pairs(executor[1].tasks) do names[#names + 1] = task:get_name() end
    table.sort(names)
    t.assertEquals(names, { "answers of q", "jobs of q", "submits" })
    world.db:run("DEL", BASE .. "job:" .. future.job_id)
    t.assert_raises(asyncio.distributed.JobLost, asyncio.await, future)
  end)
end

-- Nobody could end it.
function TestBeginning:test_a_task_that_cannot_be_followed_does_not_begin()
  test(function(_, executor)
    local future, state, ran = executor:submit(SLEEP, 1), executor[1], false
    local tasks = state.tasks
    state.tasks = setmetatable({}, { __newindex = function(_, _, value) if value ~= nil then fails() end end })
    t.assertEquals(t.error_of(state.begin, state, "one", true, function() ran = true end), "it fails")
    state.tasks = tasks
    t.until_blocked()
    t.assertFalse(ran)
    future:cancel()
  end)
end

-- Answers

-- The next ones were waited for.
function TestAnswers:test_that_met_with_an_error_are_read_again()
  test(function(_, executor, start)
    local made, task = start()
    local future = executor:submit(SLEEP, 0.1) -- too young to be asked after
    once(answers, "settle", function() error(asyncio.ConnectionError "cut", 0) end)
    t.assertEquals(asyncio.wait_for(future, 2), 0.1)
    made:stop()
    asyncio.await(task)
  end)
end

-- The job was unknown by then.
function TestAnswers:test_that_cannot_be_given_to_a_future_end_it_with_the_executor()
  test(function(_, executor, start)
    local reports = t.reports_of(asyncio.get_running_loop())
    local future = executor:submit(SLEEP, 1)
    local made, task = start()
    setmetatable(executor[1].jobs[future.job_id].futures, { __pairs = function(list)
      setmetatable(list, nil)
      fails()
    end })
    t.assertEquals(t.error_of(asyncio.await, future), "it fails")
    t.take_report(reports, "an executor's task has failed")
    made:stop()
    asyncio.await(task)
  end)
end

-- Jobs that are to be stored

--- Another submit goes on after it.
local function fails_once(executor, start, prepare, n)
  local reports = t.reports_of(asyncio.get_running_loop())
  executor:stats() -- it is made ready
  prepare(executor[1])
  local submits = {}
  for i = 1, n or 1 do submits[i] = asyncio.create_task(executor.submit, executor, SLEEP, i) end
  asyncio.wait(submits, { timeout = 30 })
  for _, task in ipairs(submits) do
    t.assertTrue(task:done())
    t.assertEquals(task:exception(), "it fails")
  end
  run_one(executor, start)
  executor:shutdown()
  return reports
end

-- Who had submitted it waited.
function TestStoring:test_that_fails_at_its_first_step_fails_the_submits()
  test(function(_, executor, start)
    local reports = fails_once(executor, start, function()
      at_begin(executor, "^submits", function(begin, self, name, errand) return begin(self, name, errand, fails) end)
    end, 3)
    t.take_report(reports, "an executor's task has failed")
  end)
end

-- Whatever has failed before it, what was not stored is not stored later.
function TestStoring:test_that_cannot_be_begun_stores_nothing()
  test(function(world, executor, start)
    fails_once(executor, start, function() at_begin(executor, "^submits", fails) end)
    t.assertEquals(world.db:run("HGET", BASE .. "stats", "done"), "1")
  end)
end

-- What was to be taken was left where nobody looked for it.
function TestStoring:test_that_cannot_take_what_is_to_be_stored_fails_the_submits()
  test(function(_, executor, start)
    local looks = 0
    local reports = fails_once(executor, start, function(state)
      state.pending = setmetatable({}, { __len = function(list)
        looks = looks + 1
        return looks == 2 and fails() or rawlen(list) -- the first look is the submit's
      end })
    end)
    t.take_report(reports, "an executor's task has failed")
  end)
end

-- Not later either, when there is some.
function TestStoring:test_that_cannot_wait_for_room_stores_nothing()
  test(function(world, executor, start)
    local state = executor[1]
    state.max_queue = 1
    local first, room = executor:submit(SLEEP, 1), state.room
    state.room = { clear = function() end, set = function() end, wait = function()
      state.room = room
      fails()
    end }
    t.assertEquals(t.error_of(executor.submit, executor, SLEEP, 2), "it fails")
    local made, task = start()
    t.assertEquals(asyncio.await(first), 1)
    asyncio.sleep(10)
    t.assertEquals(world.db:run("HGET", BASE .. "stats", "done"), "1")
    made:stop()
    asyncio.await(task)
  end)
end

-- It ran, for nobody.
function TestStoring:test_that_nobody_heard_of_nor_waits_for_is_withdrawn()
  test(function(world, executor)
    executor:stats()
    executor[1].patience = 1
    local submitted
    function world.decide(text)
      if text ~= scripts.submit then return end
      submitted:cancel()
      world.down = true
      return "unanswered"
    end
    submitted = asyncio.create_task(executor.submit, executor, SLEEP, 1)
    asyncio.sleep(20)
    t.assertTrue(submitted:cancelled())
    t.assertEquals(world.db:run("XLEN", BASE .. "normal"), 1)
    world.down = false
    asyncio.sleep(20)
    t.assertEquals(executor:stats().cancelled, 1)
  end)
end

-- Those beside it in its batch failed.
function TestStoring:test_does_not_mind_a_submit_that_is_cancelled_as_it_is_told()
  test(function(_, executor, start)
    local submits = {}
    for i = 1, 3 do submits[i] = asyncio.create_task(executor.submit, executor, SLEEP, i) end
    once(answers, "settle_early", function() submits[2]:cancel() end)
    asyncio.wait(submits)
    t.assertTrue(submits[2]:cancelled())
    run_one(executor, start)
    t.assertEquals(asyncio.await(submits[3]:result()), 3)
    t.assertEquals(executor:stats().cancelled, 1)
  end)
end

-- The end

-- It waited for ever: it was dropped, and not told so.
function TestEnd:test_with_cancel_futures_ends_a_submit_that_waits_for_room()
  test(function(world, executor)
    executor:stats()
    executor[1].max_queue = 1
    local first = executor:submit(SLEEP, 60)
    local second = asyncio.create_task(executor.submit, executor, SLEEP, 1)
    asyncio.sleep(1)
    executor:shutdown { cancel_futures = true }
    t.assert_raises(asyncio.ClosedError, asyncio.await, second)
    t.assertTrue(first:cancelled())
    t.assertEquals(world.db:run("XLEN", BASE .. "normal"), 0)
  end)
end

-- It was waited for, with no worker for ever.
function TestEnd:test_with_cancel_futures_takes_back_what_is_being_stored()
  test(function(world, executor)
    executor:stats()
    local submitted, closing = asyncio.create_task(executor.submit, executor, SLEEP, 1), nil
    function world.decide(text)
      if text ~= scripts.submit then return end
      closing = asyncio.create_task(executor.shutdown, executor, { cancel_futures = true })
      asyncio.sleep(0.1)
    end
    local future = asyncio.await(submitted)
    asyncio.wait({ closing }, { timeout = 5 })
    t.assertTrue(future:cancelled() and closing:done())
    t.assertEquals(world.db:run("XLEN", BASE .. "normal"), 0)
  end)
end

-- Its connection stayed open.
function TestEnd:test_that_is_cancelled_again_and_again_closes_the_connection()
  test(function(_, executor)
    executor:submit(SLEEP, 60)
    local closing = asyncio.create_task(executor.shutdown, executor)
    t.until_blocked()
    while not closing:done() do
      closing:cancel()
      asyncio.sleep(0)
    end
    t.assertTrue(executor[1].link.closed)
    t.until_blocked()
  end)
end

-- The end of a worker

-- Its keeper's sign of life brought it back: on a thread of its own, which may have begun late.
function TestWorker:test_that_leaves_has_no_sign_of_life_afterwards()
  test(function(world, _, start)
    local made, task = start()
    function world.decide(script)
      if script == scripts.renew then return "late", 0.5 end
    end
    made:stop()
    asyncio.await(task)
    asyncio.sleep(1)
    t.assertEquals(world.db:run("ZCARD", BASE .. "workers"), 0)
  end)
end

t.finish()
