-- A stranger closes a waiting task's coroutine, and what it waited for comes: nothing that was given is lost with it.
local t = require "helper"
local peers = require "peers"
local datagrams = require "datagram.place"
local files = require "files.place"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local function new_future() return asyncio.get_running_loop():create_future() end

--- A task that waits in fn.
local function waiting(fn, ...)
  local task = create_task(fn, ...)
  sleep(0)
  return task
end

--- Closes it as it waits. What it waits for it must be given then: `give`; and fails of it.
local function lose(task, give)
  coroutine.close(task:get_coro())
  if give then give() end
  t.assertStrContains(tostring(t.error_of(await, task)), "something else")
end

TestLock = {}

function TestLock:test_of_a_condition_goes_to_the_next_in_line()
  t.run(function()
    local condition = asyncio.Condition()
    local task = waiting(function()
      condition:acquire()
      condition:wait()
    end)
    condition:acquire()
    condition:notify()
    sleep(0)
    local next_one = waiting(function()
      condition:acquire()
      condition:release()
      return "had it"
    end)
    lose(task, function() condition:release() end)
    t.assertEquals(await(next_one), "had it")
    t.assertFalse(condition:locked())
  end)
end

function TestLock:test_of_a_semaphore_is_there_for_others()
  t.run(function()
    local semaphore = asyncio.Semaphore(1)
    semaphore:acquire()
    local task = waiting(semaphore.acquire, semaphore)
    local next_one = waiting(semaphore.acquire, semaphore)
    lose(task, function() semaphore:release() end)
    await(next_one)
    t.assertTrue(semaphore:locked())
    semaphore:release()
    t.assertFalse(semaphore:locked())
  end)
end

TestSeveral = {}

function TestSeveral:test_keep_their_results_when_who_waited_is_gone()
  t.run(function()
    for _, wait in ipairs { asyncio.wait, asyncio.gather, asyncio.race } do
      local a, b = new_future(), new_future()
      local task = waiting(wait, { a, b })
      lose(task, function()
        a:set_result "a"
        b:set_result "b"
      end)
      t.assertEquals({ await(a), await(b) }, { "a", "b" })
    end
  end)
end

function TestSeveral:test_that_came_for_one_who_is_gone_come_to_who_shares_the_iterator()
  t.run(function()
    local a, b = new_future(), new_future()
    local following = asyncio.as_completed { a, b }
    local task = waiting(following)
    local other = waiting(function() return following(), following() end)
    lose(task, function()
      a:set_result "a"
      b:set_result "b"
    end)
    t.assertEquals({ await(other) }, { a, b })
  end)
end

function TestSeveral:test_the_only_one_that_ended_comes_to_who_is_next_in_line()
  t.run(function()
    local a, b = new_future(), new_future()
    local following = asyncio.as_completed { a, b }
    local task, other = waiting(following), waiting(following)
    lose(task, function() a:set_result "a" end)
    t.assertEquals(asyncio.wait_for(other, 1), a)
  end)
end

function TestSeveral:test_a_task_that_is_stopped_ends_although_nobody_waits_any_more()
  t.run(function()
    local finally = new_future()
    local stopped = waiting(function()
      local _ <close> = setmetatable({}, { __close = function() await(finally) end })
      sleep(1000)
    end)
    local task = waiting(stopped.stop, stopped)
    lose(task, function() finally:set_result() end)
    sleep(0)
    t.assertTrue(stopped:cancelled())
  end)
end

TestStreams = {}

--- A connection, both ends: fn(reader, writer, peer's reader, peer's writer).
local function with_pair(fn) t.real(function() peers.pair(fn) end) end

function TestStreams:test_that_were_copied_can_be_used_by_others()
  with_pair(function(_, writer, far_reader)
    local from, to = asyncio.StreamReader(), writer
    local task = waiting(asyncio.copy, from, to)
    lose(task, function()
      from:feed "all of it"
      from:feed_eof()
      sleep(0.01)
    end)
    to:send((from:read(-1)) .. " and more")
    to:close()
    t.assertEquals(far_reader:read(-1), "all of it and more")
  end)
end

function TestStreams:test_that_connect_for_nobody_are_closed()
  t.real(function()
    local ended = new_future()
    local server <close> = peers.serve(function(reader)
      ended:set_result((pcall(reader.read, reader, "a")))
    end)
    local task = waiting(asyncio.open_connection, "127.0.0.1", peers.port(server))
    lose(task)
    await(ended)
  end)
end

TestFiles = {}

--- A file with that in it, which goes with the test.
local function file_of(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
  return name, setmetatable({}, { __close = function() os.remove(name) end })
end

--- How many descriptors are open once those have gone that nobody has any more.
local function descriptors()
  t.collect()
  sleep(0.01)
  t.collect()
  local n = 0
  for _ in assert(io.popen("ls /proc/" .. asyncio.fs.read_link "/proc/self" .. "/fd")):lines() do n = n + 1 end
  return n
end

function TestFiles:test_are_asked_for_nobody_and_the_next_is_answered()
  local name, _ <close> = file_of "text"
  t.real(function()
    for _, ask in ipairs { asyncio.fs.stat, asyncio.fs.read_file, asyncio.fs.real_path } do
      local task = waiting(ask, name)
      lose(task, function() sleep(0.01) end)
      t.assertNotNil(ask(name))
    end
  end)
end

function TestFiles:test_that_were_opened_for_nobody_are_closed()
  local name, _ <close> = file_of "text"
  t.real(function()
    asyncio.fs.stat(name)
    local before = descriptors()
    for _ = 1, 20 do lose(waiting(asyncio.open, name)) end
    t.wait_until(function() return descriptors() == before end)
  end)
end

function TestFiles:test_that_one_has_read_from_are_read_on_by_the_next_in_line()
  local name, _ <close> = file_of(("0123456789abcdef"):rep(65536))
  t.real(function()
    local file <close> = asyncio.open(name)
    local first = waiting(file.read, file, 1000000)
    local second = waiting(file.read, file, 16)
    lose(first)
    local got = await(second)
    t.assertEquals(#got, 16)
    t.assertEquals(file:read(16), got) -- wherever that was, it is a multiple of 16, and the next goes on
  end)
end

function TestFiles:test_one_in_the_line_who_is_gone_is_passed_over()
  local name, _ <close> = file_of(("0123456789abcdef"):rep(65536))
  t.real(function()
    local file <close> = asyncio.open(name)
    local first = waiting(file.read, file, 1000000)
    local second = waiting(file.read, file, 1000000)
    local third = waiting(file.read, file, "a")
    lose(second)
    t.assertEquals(#await(first) + #await(third), 16 * 65536)
  end)
end

function TestFiles:test_whose_change_came_for_one_who_is_gone_tell_the_next()
  if not io.open "/proc/self" then t.skip "inotify is Linux's" end
  files.within(function(folder)
    local inner = folder .. "/inner" -- what happens beside it is told, too, and in /tmp there is always something
    files.run("mkdir", inner)
    files.write(inner .. "/name", "text")
    local watch <close> = asyncio.fs.watch(inner)
    local first, second = waiting(watch), waiting(watch)
    lose(first, function()
      os.remove(inner .. "/name") -- one thing for the kernel to tell, so nobody is woken once more
      t.assertEquals(asyncio.wait_for(second, 10).kind, "removed")
    end)
  end)
end

TestDatagrams = {}

--- Two tasks wait to receive; what comes for the first one, who is gone, the second one gets.
local function second_gets(endpoint, give, check)
  local first, second = waiting(endpoint.receive, endpoint), waiting(endpoint.receive, endpoint)
  lose(first, function()
    give()
    asyncio.wait({ second }, { timeout = 10 })
    check(second)
  end)
end

function TestDatagrams:test_that_came_for_one_who_is_gone_come_to_the_next_in_line()
  t.real(function()
    local endpoint <close>, address = datagrams.open()
    second_gets(endpoint, function() endpoint:send("hello", address) end, function(second)
      t.assertEquals((second:result()), "hello")
    end)
  end)
end

function TestDatagrams:test_whose_error_came_for_one_who_is_gone_tell_the_next_in_line()
  t.real(function()
    local endpoint <close> = datagrams.connected(datagrams.dead())
    second_gets(endpoint, function() endpoint:send "hello" end, function(second)
      t.assert_raises(asyncio.ConnectionRefusedError, second.result, second)
    end)
  end)
end

t.finish()
