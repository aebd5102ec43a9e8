-- tostring of every object says what one wants to know of it.
local t = require "helper"
local peers = require "peers"
local asyncio = t.asyncio

TestToString = {}

--- tostring of x, whose address is left out, is that.
local function assert_text(expected, x)
  t.assertEquals((tostring(x):gsub(" %(0x%x+%)$", "")), expected)
end

local function here(offset) return "spec/tostring_spec.lua:" .. debug.getinfo(2, "l").currentline + (offset or 0) end
local function assert_ends_with(text, ending) t.assertEquals(text:sub(-#ending), ending) end

function TestToString:test_of_a_lock_names_who_holds_it_and_where_it_was_taken()
  t.run(function()
    local lock = asyncio.Lock()
    asyncio.current_task():set_name "owner"
    assert_text("asyncio.Lock: free, 0 waiting", lock)
    do
      local place = here(1)
      local _ <close> = lock:acquire()
      local waiter = asyncio.create_task(function() local _ <close> = lock:acquire() end)
      asyncio.sleep(0)
      t.assertStrContains(tostring(lock), "asyncio.Lock: locked by 'owner' at ")
      assert_ends_with(tostring(lock):match "^(.*), 1 waiting", place)
      local condition = tostring(asyncio.Condition(lock))
      assert_ends_with(condition:match "^asyncio.Condition: locked by 'owner' at (.*), 0 waiting", place)
      waiter:cancel()
      asyncio.wait { waiter }
    end
  end)
end

function TestToString:test_of_events_semaphores_and_barriers()
  t.run(function()
    local event, barrier = asyncio.Event(), asyncio.Barrier(2)
    local waiting = { asyncio.create_task(event.wait, event), asyncio.create_task(barrier.wait, barrier) }
    asyncio.sleep(0)
    assert_text("asyncio.Event: not set, 1 waiting", event)
    event:set()
    assert_text("asyncio.Event: set, 0 waiting", event)
    assert_text("asyncio.Semaphore: value 3, 0 waiting", asyncio.Semaphore(3))
    assert_text("asyncio.BoundedSemaphore: value 1, 0 waiting", asyncio.BoundedSemaphore())
    assert_text("asyncio.Barrier: 1 of 2 waiting", barrier)
    barrier:wait()
    asyncio.wait(waiting)
  end)
end

function TestToString:test_of_queues()
  t.run(function()
    local queue = asyncio.Queue(2)
    queue:put "x"
    assert_text("asyncio.Queue: 1 of 2 items, 0 getting, 0 putting", queue)
    queue:shutdown()
    assert_text("asyncio.Queue: 1 of 2 items, 0 getting, 0 putting, shut down", queue)
    assert_text("asyncio.LifoQueue: 0 items, 0 getting, 0 putting", asyncio.LifoQueue())
    local other = asyncio.PriorityQueue()
    other:put(1)
    assert_text("asyncio.PriorityQueue: 1 item, 0 getting, 0 putting", other)
  end)
end

function TestToString:test_of_scopes()
  t.run(function()
    do
      local limit <close> = asyncio.timeout(nil)
      assert_text("asyncio.Timeout: no limit", limit)
      limit:reschedule(asyncio.get_running_loop():time() + 1000)
      t.assertStrMatches(tostring(limit), "asyncio%.Timeout: %d+%.%d+ s left")
      local group <close> = asyncio.TaskGroup()
      assert_text("asyncio.TaskGroup: 0 tasks", group)
      group:create_task(asyncio.sleep, 0)
      assert_text("asyncio.TaskGroup: 1 task", group)
    end
  end)
end

function TestToString:test_of_loops_runners_and_handles()
  local runner <close> = asyncio.Runner {}
  assert_text("asyncio.Runner: not used yet", runner)
  runner:run(function()
    local loop = asyncio.get_running_loop()
    assert_text("asyncio.Loop: running", loop)
    assert_text("asyncio.Runner: asyncio.Loop: running", runner)
    local place = here(1)
    local handle = loop:call_later(1000, function() end)
    assert_ends_with(tostring(handle):match "^asyncio.Handle: function at (.*) %(", place)
    handle:cancel()
    t.assertStrContains(tostring(handle), ", cancelled (")
    local soon = loop:call_soon(print)
    assert_text("asyncio.Handle: a C function", soon)
    soon:cancel()
    local ran = loop:call_soon(math.abs, 1)
    asyncio.sleep(0)
    assert_text("asyncio.Handle: a C function, done", ran)
  end)
  runner:close()
  assert_text("asyncio.Runner: closed", runner)
end

function TestToString:test_of_tasks_and_futures()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local future, task = loop:create_future(), nil
    local place = here(1)
    task = asyncio.create_task { function() return asyncio.await(future) end, name = "waits" }
    local function state() return tostring(task):match "^asyncio.Task 'waits': (.*), function at (.*) %(0x%x+%)$" end
    local words, at = state()
    t.assertEquals(words, "new")
    local chunk = asyncio.create_task(load("", "=script.lua"))
    assert_text("asyncio.Task '" .. chunk:get_name() .. "': new, main chunk of script.lua", chunk)
    asyncio.await(chunk)
    assert_ends_with(at, place)
    asyncio.sleep(0)
    t.assertEquals((state()), "waits (await)")
    assert_text("asyncio.Future: pending", future)
    future:set_result "fine"
    assert_text("asyncio.Future: done, result fine", future)
    t.assertEquals((state()), "ready")
    asyncio.await(task)
    words, at = state()
    t.assertEquals(words, "done, result fine")
    assert_ends_with(at, place)
  end)
end

function TestToString:test_of_streams_and_servers()
  t.real(function()
    local server <close> = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
    local address = "127.0.0.1:" .. peers.port(server)
    assert_text("asyncio.Server: serving on " .. address .. ", 0 connections", server)
    local reader, writer = asyncio.open_connection("127.0.0.1", peers.port(server))
    t.wait_until(function() return tostring(server):find ", 1 connection " end)
    assert_text("asyncio.StreamReader: open, 0 bytes unread", reader)
    assert_text("asyncio.StreamWriter: open, peer " .. address .. ", 0 bytes not sent", writer)
    writer:close()
    t.assertStrContains(tostring(writer), "asyncio.StreamWriter: clos")
    server:close()
    t.assertStrContains(tostring(server), "asyncio.Server: closed, ")
  end)
end

function TestToString:test_of_threads_and_what_goes_to_them()
  local remote
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(2)
    assert_text("asyncio.ThreadPoolExecutor: 0 of 2 threads, 0 idle, 0 jobs waiting", pool)
    local channel = asyncio.Channel(3)
    channel:put "x"
    assert_text("asyncio.Channel: 1 of 3 items", channel)
    remote = asyncio.get_running_loop():remote()
    assert_text("asyncio.Remote: of a loop that is open", remote)
  end)
  assert_text("asyncio.Remote: of a loop that is closed", remote)
end

-- No object's text is only its type and an address.
function TestToString:test_of_every_class_says_something()
  pairs(asyncio) -- loads what is loaded when it is used
  for name, meta in pairs(debug.getregistry()) do
    local ours = type(name) == "string" and name:find "^asyncio%.%u" and type(meta) == "table"
    if ours and meta.methods and next(meta.methods) and name ~= "asyncio.Editor" then -- the REPL's, no user's
      t.assertEquals({ name, type(meta.__tostring) }, { name, "function" })
    end
  end
end

--- It may be its own result, or be in it; and what it holds may fail to say itself.
function TestToString:test_a_future_whose_result_leads_back_to_it()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local function words(result)
      local future = loop:create_future()
      if result then future:set_result(result(future)) else future:set_result(future) end
      return (tostring(future):gsub("0x%x+", "ADDRESS"))
    end
    t.assertEquals(words(), "asyncio.Future: done, result " ..
      "asyncio.Future: done, result userdata: ADDRESS (ADDRESS) (ADDRESS)")
    t.assertStrContains(words(function(future)
      return setmetatable({}, { __tostring = function() return "held by " .. tostring(future) end })
    end), "result held by asyncio.Future: done, result table: ADDRESS")
    t.assertEquals(words(function()
      return setmetatable({}, { __tostring = function() error "no" end })
    end):gsub("[%w/_.]+tostring_spec.lua:%d+", "HERE"),
      "asyncio.Future: done, result table: ADDRESS (its __tostring failed: HERE: no) (ADDRESS)")
    local task
    task = asyncio.create_task(function() return task end)
    asyncio.await(task)
    t.assertStrContains(tostring(task), "done, result asyncio.Task")
  end)
end

t.finish()
