-- iterator_spec.lua - what gives one thing after the other is a function, as io.lines' is: it can be called without
-- arguments, passed on and stored.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function keep(...)
  local fn = ... -- alone: whatever else a for loop would be given
  return fn
end

TestReaderLines = {}

--- Calls fn with a reader to which that is sent, and then the end.
local function with_lines(text, fn)
  t.real(function()
    local server <close> = peers.serve(function(_, writer) writer:send(text) end)
    local reader, writer <close> = peers.connect(server)
    fn(reader, writer)
  end)
end

function TestReaderLines:test_is_a_function_that_gives_a_line_for_each_call()
  with_lines("one\ntwo\n\nlast", function(reader)
    local line = keep(reader:lines())
    t.assertEquals({ line(), line(), line(), line(), line(), line() }, { "one", "two", "", "last" })
  end)
end

function TestReaderLines:test_in_a_loop_of_a_function_that_was_stored_goes_on_where_it_was_left()
  with_lines("one\ntwo\nthree\n", function(reader)
    local next_line, seen = keep(reader:lines()), {}
    t.assertEquals(next_line(), "one")
    for line in next_line do seen[#seen + 1] = line end
    t.assertEquals(seen, { "two", "three" })
  end)
end

function TestReaderLines:test_does_not_take_its_arguments_for_a_stream()
  with_lines("one\n", function(reader, writer)
    local next_line = keep(reader:lines())
    t.assertEquals(next_line(writer, 5, "x"), "one")
  end)
end

function TestReaderLines:test_holds_its_reader()
  with_lines("one\n", function(reader)
    local task = asyncio.create_task(keep(reader:lines()))
    reader = nil -- luacheck: ignore
    t.collect()
    t.assertEquals(asyncio.await(task), "one")
  end)
end

function TestReaderLines:test_refuses_a_length()
  with_lines("", function(reader)
    for _, wrong in ipairs { 80, {}, false } do
      t.assertErrorMsgContains("string expected", reader.lines, reader, wrong)
    end
  end)
end

--- A queue and a channel do alike. make: one with room for n.
local function check_items(make, close)
  t.run(function()
    local queue = make(10)
    local next_item = keep(queue:iter())
    for _, item in ipairs { "a", false, "c", "d" } do queue:put_nowait(item) end
    t.assertEquals(table.pack(next_item()), { 1, "a", n = 2 })
    t.assertEquals(table.pack(next_item("arguments", 7)), { 2, false, n = 2 })
    local seen = {}
    local task = asyncio.create_task(function()
      for n, item in next_item do seen[#seen + 1] = n .. item end
    end)
    t.until_blocked()
    queue:put_nowait "e" -- to the task that waits
    close(queue)
    asyncio.await(task)
    t.assertEquals(table.concat(seen, " "), "3c 4d 5e")
    t.assertEquals(table.pack(next_item()), { nil, n = 1 })
  end)
end

--- Three tasks that share one.
local function check_shared(make, close)
  t.run(function()
    local queue, seen, tasks = make(2), {}, {}
    local next_item = keep(queue:iter())
    for i = 1, 3 do
      tasks[i] = asyncio.create_task(function()
        for n, item in next_item do
          seen[#seen + 1] = n .. ":" .. item
          asyncio.sleep(0)
        end
      end)
    end
    for i = 1, 9 do queue:put(i) end
    close(queue)
    asyncio.gather(table.unpack(tasks))
    t.assertEquals(table.concat(seen, " "), "1:1 2:2 3:3 4:4 5:5 6:6 7:7 8:8 9:9")
  end)
end

--- A call that was cancelled has counted nothing.
local function check_cancelled(make, close)
  t.run(function()
    local queue = make(1)
    local next_item = keep(queue:iter())
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, next_item, 0.1)
    queue:put_nowait "x"
    t.assertEquals(table.pack(next_item()), { 1, "x", n = 2 })
    close(queue)
  end)
end

TestQueueIter = {}
local QUEUES = { asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue }
local function shut(queue) queue:shutdown() end

function TestQueueIter:test_is_a_function_that_takes_an_item_for_each_call() check_items(asyncio.Queue, shut) end

function TestQueueIter:test_is_shared_by_tasks()
  for _, class in ipairs(QUEUES) do
    t.run(function()
      local queue, sum = class(), 0
      for i = 1, 20 do queue:put_nowait(i) end
      queue:shutdown()
      local next_item = keep(queue:iter())
      local function add() for n, item in next_item do sum = sum + 100 * n + item end end
      asyncio.gather(add, add)
      t.assertEquals(sum, 101 * 210)
    end)
  end
  check_shared(asyncio.Queue, shut)
end

function TestQueueIter:test_counts_nothing_when_it_is_cancelled() check_cancelled(asyncio.Queue, shut) end

function TestQueueIter:test_of_a_queue_that_was_finalised_is_an_error_in_a_finaliser()
  t.run(function()
    local outcome
    do
      local iter = asyncio.Queue():iter()
      setmetatable({}, { __gc = function() outcome = table.pack(pcall(iter)) end })
    end
    t.collect()
    t.assertFalse(outcome[1])
  end)
end

TestChannelIter = {}
local function close(channel) channel:close() end

function TestChannelIter:test_is_a_function_that_takes_an_item_for_each_call() check_items(asyncio.Channel, close) end

function TestChannelIter:test_is_shared_by_tasks() check_shared(asyncio.Channel, close) end

function TestChannelIter:test_counts_nothing_when_it_is_cancelled() check_cancelled(asyncio.Channel, close) end

function TestChannelIter:test_blocks_outside_of_a_loop()
  local channel = asyncio.Channel()
  channel:put_nowait "x"
  channel:close()
  local next_item = keep(channel:iter())
  t.assertEquals(table.pack(next_item()), { 1, "x", n = 2 })
  t.assertNil(next_item())
end

TestAsCompleted = {}

function TestAsCompleted:test_is_a_function_that_gives_a_task_for_each_call()
  t.run(function()
    local a, b = asyncio.create_task(asyncio.sleep, 2, "a"), asyncio.create_task(asyncio.sleep, 1, "b")
    local next_task = keep(asyncio.as_completed { a, b })
    t.assertEquals({ next_task():result(), next_task():result(), next_task() }, { "b", "a" })
  end)
end

t.finish()
