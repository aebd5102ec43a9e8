-- The copas face: threads, servers, sockets with time limits, locks and the like; in tasks and outside.
local t = require "helper"
local asyncio = t.asyncio
local copas, socket = asyncio.compat.copas, require "asyncio.socket"

TestThreads = {}
TestLoop = {}
TestErrors = {}
TestTimeouts = {}
TestServers = {}
TestSockets = {}
TestLocks = {}
TestSemaphores = {}
TestQueues = {}
TestTimers = {}
TestFutures = {}
TestPlace = {}

local DEFAULT = copas.geterrorhandler(coroutine.create(print))
local expected -- the errors that a test provokes

--- Runs the loop with the function as a thread; an error in any thread fails the test.
local function loop(fn)
  local failed
  copas.seterrorhandler(function(err, co)
    if expected then
      expected[#expected + 1] = { err, co }
    else
      failed = failed or { err }
      copas.cancelall()
    end
  end, true)
  copas.loop(fn)
  copas.seterrorhandler(DEFAULT, true)
  if failed then error(failed[1], 0) end
end

--- On the virtual clock.
local function in_thread(fn) t.run(function() loop(fn) end) end

--- On the real one.
local function with_sockets(fn) t.real(function() loop(fn) end) end

--- What is told to error handlers meanwhile.
local function errors_of(fn)
  expected = {}
  local list = expected
  local ok, err = pcall(fn)
  expected = nil
  if not ok then error(err, 0) end
  return list
end

-- Threads

function TestThreads:test_a_thread_starts_later_with_its_arguments_and_is_its_coroutine()
  local log = {}
  in_thread(function()
    local thread
    thread = copas.addthread(function(...)
      log[#log + 1] = { coroutine.running() == thread, ... }
    end, 1, nil, 3)
    log[#log + 1] = type(thread)
    copas.pause()
    t.assertEquals(coroutine.status(thread), "dead")
  end)
  t.assertEquals(log, { "thread", { true, 1, nil, 3 } })
end

function TestThreads:test_pause_says_how_long_it_took()
  in_thread(function()
    t.assertAlmostEquals(copas.pause(2.5), 2.5, 1e-6)
    t.assertAlmostEquals(copas.pause(), 0, 1e-6)
    t.assertAlmostEquals(copas.pause(-1), 0, 1e-6)
    local began = copas.gettime()
    copas.sleep(1)
    t.assertAlmostEquals(copas.gettime() - began, 1, 1e-6)
  end)
end

function TestThreads:test_a_sleeping_thread_is_woken()
  in_thread(function()
    local log = {}
    local function sleeper(name, seconds)
      local slept = seconds and copas.pause(seconds) or copas.pauseforever()
      log[#log + 1] = { name, math.floor(slept) }
    end
    local timed = copas.addthread(sleeper, "timed", 1000)
    local endless = copas.addthread(sleeper, "endless")
    copas.pause(3)
    copas.wakeup(timed)
    copas.wakeup(endless)
    copas.wakeup(coroutine.running())
    copas.wakeup(coroutine.create(print))
    copas.pause(0.5)
    t.assertEquals(log, { { "timed", 3 }, { "endless", 3 } })
  end)
end

function TestThreads:test_a_removed_thread_goes_no_further()
  in_thread(function()
    local log = {}
    local function again(name)
      local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = name .. " cleaned up" end })
      while true do pcall(copas.pause, 1) end
    end
    local thread = copas.addthread(function()
      local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = "cleaned up" end })
      copas.pause(1000)
      log[#log + 1] = "went on"
    end)
    copas.pause(1)
    copas.removethread(thread)
    copas.pause(1)
    local never = copas.addthread(again, "never")
    copas.removethread(never)
    copas.pause(1)
    t.assertEquals(log, { "cleaned up" })
    copas.removethread(thread)
  end)
end

function TestThreads:test_one_that_is_removed_before_the_loop_never_starts()
  local started = false
  local thread = copas.addthread(function() started = true end)
  copas.removethread(thread)
  t.run(function() copas.loop() end)
  t.assertFalse(started)
end

function TestThreads:test_asyncios_calls_wait_in_a_thread_and_copas_in_any_task()
  in_thread(function()
    asyncio.sleep(1)
    t.assertEquals(asyncio.await(asyncio.create_task(function()
      copas.pause(1)
      return "both"
    end)), "both")
  end)
end

function TestThreads:test_names()
  in_thread(function()
    local thread = copas.addnamedthread("a name", copas.pause, 1)
    t.assertEquals(copas.getthreadname(thread), "a name")
    copas.setthreadname "another"
    t.assertEquals(copas.getthreadname(), "another")
    t.assertStrContains(copas.getthreadname(copas.addthread(copas.pause)), "thread: ")
    t.assertEquals(copas.getthreadname(copas.addnamedthread(copas.pause, "turned round")), "turned round")
  end)
end

-- The loop

function TestLoop:test_it_ends_when_all_threads_have()
  t.run(function()
    local log = {}
    for i = 1, 3 do
      copas.addthread(function()
        copas.pause(i)
        log[#log + 1] = i
      end)
    end
    t.assertFalse(copas.finished())
    copas.loop()
    t.assertEquals(log, { 1, 2, 3 })
    t.assertTrue(copas.finished())
    t.assertFalse(copas.running)
  end)
end

function TestLoop:test_its_initialiser_may_make_threads()
  t.run(function()
    local log = {}
    copas.loop(function()
      t.assertTrue(copas.running)
      copas.addthread(function()
        copas.pause(1)
        log[#log + 1] = "child"
      end)
    end)
    t.assertEquals(log, { "child" })
    copas(function() log[#log + 1] = "called" end)
    t.assertEquals(log, { "child", "called" })
  end)
end

function TestLoop:test_who_sleeps_for_ever_does_not_hold_it()
  local asleep
  local runner <close> = asyncio.Runner()
  runner:run(function()
    asleep = copas.addthread(copas.pauseforever)
    copas.loop()
    t.assertEquals(copas.status().inactive, 1)
    local log = {}
    copas.loop(function()
      copas.wakeup(asleep)
      log[1] = "again"
    end)
    t.assertEquals(log, { "again" })
    t.assertEquals(copas.status().inactive, 0)
  end)
end

function TestLoop:test_exit_is_told_to_who_waits_for_it()
  t.run(function()
    local log = {}
    copas.addthread(function()
      copas.waitforexit()
      log[#log + 1] = copas.exiting()
      copas.pause(1)
      log[#log + 1] = "cleaned up"
    end)
    copas.loop(function()
      log[#log + 1] = copas.exiting()
      copas.pause(1)
    end)
    t.assertEquals(log, { false, true, "cleaned up" })
    copas.loop(function()
      copas.exit()
      copas.waitforexit()
    end)
  end)
end

function TestLoop:test_cancelling_it_cancels_its_threads()
  t.run(function()
    local log = {}
    local task = asyncio.create_task(copas.loop, function()
      copas.addthread(function()
        local _ <close> = asyncio.defer(function()
          asyncio.sleep(1)
          log[#log + 1] = "cleaned up"
        end)
        copas.pauseforever()
      end)
      copas.pause(1000)
      log[#log + 1] = "went on"
    end)
    asyncio.sleep(1)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(log, { "cleaned up" })
    t.assertTrue(copas.finished())
  end)
end

function TestLoop:test_cancelall_ends_everything()
  t.real(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    copas.addserver(server, print)
    copas.addthread(copas.pause, 1000)
    copas.addthread(copas.pauseforever)
    copas.loop(function()
      copas.pause()
      copas.cancelall()
    end)
    t.assertEquals(server:getfd(), -1)
  end)
end

function TestLoop:test_outside_of_a_loop_it_runs_one()
  local log = {}
  copas.loop(function()
    copas.pause(0.001)
    log[#log + 1] = asyncio.current_task() ~= nil
  end)
  t.assertEquals(log, { true })
  t.assertTrue(copas.finished())
end

function TestLoop:test_step_by_step()
  local log = {}
  copas.addthread(function()
    for i = 1, 3 do
      log[i] = i
      copas.pause(0.001)
    end
  end)
  while not copas.finished() do copas.step() end
  t.assertEquals(log, { 1, 2, 3 })
  copas.step(0)
  t.run(function()
    copas.addthread(function() log[4] = 4 end)
    while not copas.finished() do copas.step(1) end
  end)
  t.assertEquals(log[4], 4)
end

function TestLoop:test_a_process_may_end_with_threads_left()
  local out, errors, code = t.lua [[
    local copas = require("asyncio").compat.copas
    copas.addthread(copas.pauseforever)
    copas.loop(function() print "in it" end)
    copas.addthread(print, "never")
  ]]
  t.assertEquals({ out, errors, code }, { "in it\n", "", 0 })
end

function TestLoop:test_status_counts()
  in_thread(function()
    copas.addthread(copas.pause, 1)
    local asleep = copas.addthread(copas.pauseforever)
    copas.timeout(1, print)
    copas.pause()
    local status = copas.status()
    t.assertEquals({ status.running, status.timeout, status.timer, status.inactive }, { true, 1, 1, 1 })
    copas.timeout(0)
    copas.removethread(asleep)
  end)
end

-- Errors

function TestErrors:test_an_error_is_told_to_the_handler_and_ends_the_thread_only()
  local list = errors_of(function()
    in_thread(function()
      copas.addthread(error, "broken", 0)
      copas.pause(1)
    end)
  end)
  t.assertEquals(#list, 1)
  t.assertEquals(list[1][1], "broken")
  t.assertEquals(type(list[1][2]), "thread")
end

function TestErrors:test_a_thread_has_a_handler_of_its_own()
  local own
  local list = errors_of(function()
    in_thread(function()
      copas.addthread(function()
        copas.seterrorhandler(function(err) own = err end)
        t.assertNotNil(copas.geterrorhandler())
        error("mine", 0)
      end)
    end)
  end)
  t.assertEquals({ own, #list }, { "mine", 0 })
end

function TestErrors:test_the_default_prints_where()
  local out, errors, code = t.lua [[
    local copas = require("asyncio").compat.copas
    copas.loop(function()
      copas.setthreadname "a name"
      local function inner() error "broken" end
      inner()
    end)
    copas.seterrorhandler(function() error "in the handler" end, true)
    copas.loop(function() error "again" end)
  ]]
  t.assertStrContains(out, ":4: broken (coroutine: a name, socket: nil)\nstack traceback:\n")
  t.assertStrContains(out, "in local 'inner'", true)
  t.assertStrContains(out, "Failed executing error handler: ")
  t.assertEquals({ errors, code }, { "", 0 })
end

-- Timeouts

function TestTimeouts:test_the_callback_is_called_with_the_coroutine_unless_it_is_taken_back()
  in_thread(function()
    local log = {}
    local me = coroutine.running()
    copas.timeout(1, function(co) log[#log + 1] = co == me end)
    t.assertEquals(copas.gettimeouts(), 1)
    copas.pause(2)
    t.assertEquals(copas.gettimeouts(), 0)
    copas.timeout(1, function() log[#log + 1] = "never" end)
    copas.timeout(0)
    copas.timeout(1, function() log[#log + 1] = "replaced" end)
    copas.timeout(1, function() log[#log + 1] = "replacement" end)
    copas.pause(2)
    copas.timeout(math.huge, print)
    t.assertEquals(log, { true, "replacement" })
    t.assertStrContains(t.error_of(copas.timeout, -1, print), "greater than or equal to 0")
  end)
end

function TestTimeouts:test_one_keeps_a_thread_that_sleeps_for_ever_at_work()
  t.run(function()
    local woken = false
    copas.loop(function()
      copas.timeout(5, copas.wakeup)
      copas.pauseforever()
      woken = true
    end)
    t.assertTrue(woken)
  end)
end

function TestTimeouts:test_an_error_in_one_is_told()
  local list = errors_of(function()
    in_thread(function()
      copas.timeout(1, function() error("late", 0) end)
      copas.pause(2)
    end)
  end)
  t.assertEquals({ list[1][1], copas.getthreadname(list[1][2]) }, { "late", "copas_core_timer" })
end

-- Servers

--- A server's address, served by the handler.
local function serve(handler, ...)
  local server = assert(socket.bind("127.0.0.1", 0))
  copas.addserver(server, handler, ...)
  local host, port = server:getsockname()
  return server, host, tonumber(port)
end

local function connect(host, port)
  local client = copas.wrap(socket.tcp())
  assert(client:connect(host, port))
  return client
end

function TestServers:test_each_client_has_a_thread_and_is_closed_at_its_end()
  with_sockets(function()
    local inside, most = 0, 0
    local server, host, port = serve(function(client)
      t.assertEquals(tostring(client):sub(1, 3), "tcp")
      client = copas.wrap(client)
      inside = inside + 1
      most = math.max(most, inside)
      local line = client:receive()
      inside = inside - 1
      client:send(line:upper() .. "\n")
    end)
    local clients = {}
    for i = 1, 3 do clients[i] = connect(host, port) end
    t.wait_until(function() return inside == 3 end)
    for i = 1, 3 do
      clients[i]:send("line " .. i .. "\n")
      t.assertEquals((clients[i]:receive()), "LINE " .. i)
      t.assertEquals({ clients[i]:receive() }, { nil, "closed", "" })
      clients[i]:close()
    end
    copas.removeserver(server)
    t.assertEquals(most, 3)
  end)
end

function TestServers:test_a_handlers_error_closes_its_client()
  local list = errors_of(function()
    with_sockets(function()
      local server, host, port = serve(copas.handler(function() error("in the handler", 0) end))
      local client = connect(host, port)
      t.assertEquals({ client:receive() }, { nil, "closed", "" })
      client:close()
      copas.removeserver(server)
    end)
  end)
  t.assertEquals(list[1][1], "in the handler")
end

function TestServers:test_without_autoclose_the_client_stays_open()
  with_sockets(function()
    copas.autoclose = false
    local kept
    local server, host, port = serve(function(client) kept = client end)
    local client = connect(host, port)
    t.wait_until(function() return kept end)
    copas.pause(0.01)
    copas.autoclose = true
    copas.send(kept, "still there\n")
    t.assertEquals((client:receive()), "still there")
    kept:close()
    client:close()
    copas.removeserver(server)
  end)
end

function TestServers:test_one_that_is_removed_may_stay_open()
  with_sockets(function()
    local server = serve(print)
    t.assertTrue(copas.removeserver(server, true))
    t.assertNotEquals(server:getfd(), -1)
    server:close()
  end)
end

function TestServers:test_names_and_limits_go_to_the_clients()
  with_sockets(function()
    local name, thread, err
    local server, host, port = serve(function(client)
      name, thread = copas.getsocketname(client), copas.getthreadname()
      err = select(2, copas.receive(client))
    end, 0.01, "tea")
    local client = connect(host, port)
    t.wait_until(function() return err end)
    t.assertEquals({ name, thread, err }, { "tea:client_1", "tea:handler_1", "timeout" })
    client:close()
    copas.removeserver(server)
  end)
end

function TestServers:test_a_udp_server_is_one_thread()
  with_sockets(function()
    local server = assert(socket.udp())
    server:setsockname("127.0.0.1", 0)
    local host, port = server:getsockname()
    copas.addserver(server, copas.handler(function(wrapped)
      while true do
        local data, from, from_port = wrapped:receivefrom()
        if not data or data == "stop" then break end
        wrapped:sendto(data:upper(), from, from_port)
      end
    end))
    local client = copas.wrap(socket.udp())
    client:setpeername(host, port)
    client:send "tea"
    t.assertEquals((client:receive()), "TEA")
    client:send "stop"
    client.socket:close()
    copas.removeserver(server)
  end)
end

-- Sockets

function TestSockets:test_calls_have_limits_and_give_what_has_come()
  with_sockets(function()
    local server, host, port = serve(function(client)
      copas.send(client, "part")
      copas.receive(client)
    end)
    local client = connect(host, port)
    t.assertEquals((client:receive(1)), "p")
    t.assertEquals(client:settimeout(0.02), true)
    t.assertEquals({ client:receive "*l" }, { nil, "timeout", "art" })
    copas.useSocketTimeoutErrors(true)
    t.assertEquals({ client:receive(1) }, { nil, "timeout", "" })
    client:close()
    copas.removeserver(server)
    t.assertEquals({ client:settimeout "x" }, { nil, "timeout must be 'nil' or a number" })
    t.assertEquals({ client:settimeouts(1, "x") }, { nil, "send timeout must be 'nil' or a number" })
  end)
end

--- Calls fn(host, port) with a server that takes no further connection.
local function with_full_server(fn)
  local server = socket.tcp4()
  server:bind("127.0.0.1", 0)
  server:listen(0)
  local host, port = server:getsockname()
  local filling = socket.connect(host, port)
  fn(host, port)
  filling:close()
  server:close()
end

function TestSockets:test_a_connect_that_takes_too_long_is_a_timeout_or_in_the_sockets_own_words_under_way()
  with_sockets(function()
    with_full_server(function(host, port)
      for _, word in ipairs { "timeout", "Operation already in progress" } do
        local client = copas.wrap(socket.tcp4())
        client:settimeout(0.01)
        t.assertEquals({ client:connect(host, port) }, { nil, word })
        client:close()
        copas.useSocketTimeoutErrors(true)
      end
    end)
  end)
end

function TestSockets:test_a_second_connect_finds_it_connected()
  with_sockets(function()
    local server, host, port = serve(function(client) client:receive() end)
    local client = copas.wrap(socket.tcp())
    t.assertEquals({ client:connect(host, port) }, { 1 })
    for _ = 1, 2 do t.assertEquals({ client:connect(host, port) }, { nil, "already connected" }) end
    client:close()
    t.assertEquals({ client:connect(host, port) }, { 1 }) -- anew, as LuaSocket has it
    client:close()
    copas.removeserver(server)
  end)
end

function TestSockets:test_receivepartial_returns_as_soon_as_there_is_anything()
  with_sockets(function()
    local server, host, port = serve(function(client)
      copas.pause(0.01)
      copas.send(client, "some")
      copas.receive(client)
      copas.send(client, " more\n")
    end)
    local client = connect(host, port)
    local _, err, part = client:receivepartial "*l"
    t.assertEquals({ err, part }, { "timeout", "some" })
    client:settimeouts(nil, nil, 0.001)
    t.assertEquals({ client:receivepartial("*l", part) }, { nil, "timeout", "some" })
    client:settimeout(nil)
    client:send "go on\n"
    t.assertEquals((client:receive("*l", part)), "some more")
    t.assertEquals(select(2, client:receivepartial "*l"), "closed")
    client:close()
    copas.removeserver(server)
  end)
end

function TestSockets:test_one_reads_while_another_writes()
  with_sockets(function()
    local size = 1024 * 1024
    local server, host, port = serve(function(client)
      copas.addthread(copas.send, client, ("s"):rep(size))
      t.assertEquals(#copas.receive(client, size), size)
    end)
    local client = connect(host, port)
    local sent
    copas.addthread(function() sent = client:send(("c"):rep(size)) end)
    t.assertEquals(#client:receive(size), size)
    t.wait_until(function() return sent end)
    t.assertEquals(sent, size)
    client:close()
    copas.removeserver(server)
  end)
end

function TestSockets:test_a_refused_connection_is_told()
  with_sockets(function()
    local server, host, port = serve(print)
    copas.removeserver(server)
    t.assertEquals({ copas.wrap(socket.tcp()):connect(host, port) }, { nil, "connection refused" })
  end)
end

function TestSockets:test_wrapping_twice_is_wrapping_once()
  with_sockets(function()
    local inner = socket.tcp()
    local wrapped = copas.wrap(inner)
    t.assertIs(copas.wrap(wrapped), wrapped)
    t.assertStrContains(tostring(wrapped), "(copas wrapped)")
    copas.setsocketname("tea", wrapped)
    t.assertEquals(copas.getsocketname(inner), "tea")
    t.assertEquals({ wrapped:getalpn() }, { nil, "not a tls socket" })
    wrapped:flush()
    copas.flush()
    wrapped:close()
  end)
end

function TestSockets:test_one_that_another_closes_ends_the_wait()
  with_sockets(function()
    local server, host, port = serve(function(client) copas.receive(client) end)
    local client = connect(host, port)
    copas.addthread(function()
      copas.pause(0.01)
      client:close()
    end)
    t.assertEquals(select(2, client:receive()), "closed")
    copas.removeserver(server)
  end)
end

-- Locks

function TestLocks:test_one_has_it_at_a_time_and_again_within()
  in_thread(function()
    local lock = copas.lock.new()
    local log = {}
    for i = 1, 3 do
      copas.addthread(function()
        t.assertTrue(lock:get() >= 0)
        t.assertEquals(lock:get(), 0)
        copas.pause(1)
        log[#log + 1] = i
        lock:release()
        copas.pause(1)
        log[#log + 1] = i
        lock:release()
      end)
    end
    copas.pause(10)
    t.assertEquals(log, { 1, 1, 2, 2, 3, 3 })
    t.assertEquals({ lock:release() }, { nil, "cannot release a lock not owned" })
  end)
end

function TestLocks:test_a_wait_may_time_out_or_be_ended()
  in_thread(function()
    local lock = copas.lock.new(2, true)
    lock:get()
    t.assertEquals({ lock:get(0) }, { nil, "timeout", 0 })
    local _, err, waited = lock:get()
    t.assertEquals({ err, math.floor(waited + 0.5) }, { "timeout", 2 })
    local result
    copas.addthread(function() result = { lock:get(math.huge) } end)
    copas.pause(1)
    lock:destroy()
    copas.pause()
    t.assertEquals({ result[1], result[2] }, { nil, "destroyed" })
    t.assertEquals({ lock:get() }, { nil, "destroyed" })
    t.assertStrContains(t.error_of(copas.lock.new, -1), "greater than or equal to 0")
  end)
end

function TestLocks:test_a_waiter_that_is_removed_takes_nothing()
  in_thread(function()
    local lock = copas.lock.new()
    lock:get()
    local first = copas.addthread(function() lock:get() end)
    local got = false
    copas.addthread(function() got = lock:get() end)
    copas.pause()
    copas.removethread(first)
    lock:release()
    copas.pause(1)
    t.assertTrue(got ~= false)
  end)
end

-- Semaphores

function TestSemaphores:test_they_count()
  in_thread(function()
    local semaphore = copas.semaphore.new(10, 3, 5)
    t.assertTrue(semaphore:take(2))
    local log = {}
    for _, n in ipairs { 2, 1 } do
      copas.addthread(function()
        local ok = semaphore:take(n)
        log[#log + 1] = { ok, n }
      end)
    end
    copas.pause()
    t.assertEquals({ semaphore:get_count(), semaphore:get_wait() }, { 1, 2 })
    t.assertTrue(semaphore:give(2))
    copas.pause()
    t.assertEquals(log, { { true, 2 }, { true, 1 } })
    t.assertEquals({ semaphore:take(11) }, { nil, "too many" })
    t.assertEquals({ semaphore:take(1, 0) }, { nil, "timeout" })
    t.assertEquals({ semaphore:take(1, 1) }, { nil, "timeout" })
    t.assertEquals({ semaphore:give(11) }, { nil, "too many" })
    t.assertEquals(semaphore:get_count(), 10)
  end)
end

function TestSemaphores:test_one_who_needs_less_goes_on_when_the_first_gives_up()
  in_thread(function()
    local semaphore, got = copas.semaphore.new(5, 1), nil
    copas.addthread(function() semaphore:take(3, 1) end)
    copas.addthread(function() got = semaphore:take(1, 100) end)
    copas.pause(0.5)
    t.assertNil(got)
    copas.pause(1)
    t.assertTrue(got)
  end)
end

function TestSemaphores:test_destroyed_it_lets_all_go()
  in_thread(function()
    local semaphore, result = copas.semaphore.new(1, 0, math.huge), nil
    copas.addthread(function() result = { semaphore:take() } end)
    copas.pause()
    semaphore:destroy()
    copas.pause()
    t.assertEquals(result, { nil, "destroyed" })
    t.assertEquals({ semaphore:give() }, { nil, "destroyed" })
    t.assertStrContains(t.error_of(copas.semaphore.new, 0), "greater than 0")
    t.assertStrContains(t.error_of(copas.semaphore.new, 1, 0, -1), "greater than or equal to 0")
  end)
end

-- Queues

function TestQueues:test_items_come_in_order_and_workers_take_them()
  in_thread(function()
    local queue, log = copas.queue.new { name = "tea" }, {}
    t.assertEquals(queue.name, "tea")
    for i = 1, 3 do queue:push(i) end
    t.assertEquals({ queue:get_size(), queue:pop(), queue:get_size() }, { 3, 1, 2 })
    local worker = queue:add_worker(function(item)
      copas.pause(1)
      log[#log + 1] = item
    end)
    t.assertEquals(queue:get_workers(), { worker })
    t.assertTrue(queue:finish())
    t.assertEquals(log, { 2, 3 })
    t.assertEquals({ queue:push(4) }, { nil, "destroyed" })
  end)
end

function TestQueues:test_a_pop_may_time_out_and_a_stopped_queue_takes_no_more()
  in_thread(function()
    local queue = copas.queue.new()
    t.assertEquals({ queue:pop(1) }, { nil, "timeout" })
    queue:push "last"
    queue:stop()
    t.assertEquals({ queue:push "more" }, { nil, "stopping" })
    t.assertEquals(queue:pop(), "last")
    t.assertEquals({ queue:pop() }, { nil, "destroyed" })
  end)
end

function TestQueues:test_finish_gives_up_in_time()
  in_thread(function()
    local queue = copas.queue.new()
    queue:push "never taken"
    t.assertEquals({ queue:finish(1, true) }, { nil, "timeout" })
    t.assertEquals(queue:get_size(), 1)
    t.assertEquals({ queue:finish(1) }, { nil, "timeout" })
    t.assertEquals({ queue:get_size() }, { nil, "destroyed" })
  end)
end

-- Timers

function TestTimers:test_they_expire_once_or_again_and_again()
  in_thread(function()
    local log = {}
    local once = copas.timer.new {
      delay = 1, params = "tea", callback = function(_, params) log[#log + 1] = params end,
    }
    local n = 0
    copas.timer.new { delay = 2, initial_delay = 0.5, recurring = true, callback = function(timer)
      n = n + 1
      log[#log + 1] = n
      if n == 3 then timer:cancel() end
    end }
    t.assertEquals({ once:arm() }, { nil, "already armed" })
    copas.pause(10)
    t.assertEquals(log, { 1, "tea", 2, 3 })
    t.assertEquals({ once:cancel() }, { nil, "not armed" })
    t.assertIs(once:arm(1), once)
    t.assertIs(once:cancel(), once)
    copas.pause(10)
    t.assertEquals(#log, 4)
  end)
end

function TestTimers:test_an_error_does_not_end_one()
  in_thread(function()
    local told, n = {}, 0
    copas.timer.new {
      delay = 1, recurring = true, errorhandler = function(err) told[#told + 1] = err end,
      callback = function(timer)
        n = n + 1
        if n == 3 then return timer:cancel() end
        error(n, 0)
      end,
    }
    copas.pause(10)
    t.assertEquals(told, { 1, 2 })
  end)
end

-- Futures

function TestFutures:test_they_have_a_threads_results()
  in_thread(function()
    local future = copas.future
    local f = future.addthread(function(...)
      copas.pause(1)
      return ...
    end, 1, nil)
    t.assertEquals(f:try(), future.PENDING)
    t.assertEquals(table.pack(f:get()), { true, 1, nil, n = 3 })
    t.assertEquals(table.pack(f:try()), { true, 1, nil, n = 3 })
    local failing = future.addnamedthread("failing", error, "broken", 0)
    t.assertEquals({ failing() }, { false, "broken" })
    t.assertEquals({ failing:try() }, { future.ERROR, "broken" })
    t.assertStrContains(t.error_of(function() return future.NONE end), "unknown field 'future.NONE'")
  end)
end

function TestFutures:test_cancelled_they_end_their_thread()
  in_thread(function()
    local went_on = false
    local f = copas.future.addthread(function()
      copas.pause(5)
      went_on = true
    end)
    local waited
    copas.addthread(function() waited = { f:get() } end)
    copas.pause(1)
    t.assertTrue(f:cancel())
    t.assertFalse(f:cancel())
    copas.pause(10)
    t.assertEquals({ waited, went_on }, { { false, "cancelled" }, false })
  end)
end

-- Where it is had

function TestPlace:test_modules_for_copas_get_it()
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write [[
    local copas = require "copas"
    return copas, require "copas.lock" == copas.lock, require "copas.timer" == copas.timer, require "socket"
  ]]
  file:close()
  local theirs, lock, timer, their_socket = asyncio.compat.dofile(path)
  os.remove(path)
  t.assertIs(theirs, copas)
  t.assertEquals({ lock, timer }, { true, true })
  t.assertIs(their_socket, socket)
end

local HAS_LUASOCKET = package.searchpath("socket.http", package.path) ~= nil

function TestPlace:test_http_downloads_in_threads()
  if not HAS_LUASOCKET then t.skip "LuaSocket is not installed" end
  with_sockets(function()
    local server, host, port = serve(copas.handler(function(client)
      repeat local line = client:receive() until not line or line == ""
      copas.pause(0.2)
      client:send "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\ntea"
    end))
    local url, n = ("http://%s:%d/"):format(host, port), 0
    local began = copas.gettime()
    for _ = 1, 20 do
      copas.addthread(function()
        local body, code = copas.http.request(url)
        t.assertEquals({ body, code }, { "tea", 200 })
        n = n + 1
      end)
    end
    t.wait_until(function() return n == 20 end)
    t.assertTrue(copas.gettime() - began < 20 * 0.2) -- at the same time
    t.assertEquals({ copas.http.request { url = url, timeout = 0.01 } }, { nil, "timeout" })
    t.assertStrContains(t.error_of(copas.http.request, { url = url, timeout = { tea = 1 } }), "'tea' is not a valid")
    copas.removeserver(server)
  end)
end

function TestThreads:test_a_thread_that_has_ended_is_garbage_where_the_loop_returns()
  local seen = setmetatable({}, { __mode = "k" })
  t.run(function()
    seen[copas.addthread(function() copas.pause(1) end)] = "ends by itself"
    local endless = copas.addthread(function()
      while true do copas.pause(1) end
    end)
    seen[endless] = "is removed"
    loop(function()
      copas.pause(5)
      copas.removethread(endless)
      endless = nil
    end)
    t.collect()
    t.assertNil(next(seen))
  end)
end

--- A pair of connected sockets.
local function connected()
  local server = assert(socket.bind("127.0.0.1", 0))
  local host, port = server:getsockname()
  local client = assert(socket.connect(host, port))
  local other = server:accept()
  server:close()
  return client, other
end

--- Sees that a thread reads to its end from a socket whose peer nobody closes. pause: of another thread meanwhile
local function assert_end_of_dropped_peer(run, pause)
  local got
  run(function()
    local client, other = connected()
    copas.addthread(function() got = copas.wrap(other):receive "*a" end)
    copas.addthread(function()
      while pause and not got do copas.pause(pause) end
    end)
    copas.wrap(client):send "tea"
    client = nil -- luacheck: ignore
  end)
  t.assertEquals(got, "tea")
end

function TestSockets:test_one_that_nobody_has_closed_is_closed_while_the_loop_is_idle()
  assert_end_of_dropped_peer(with_sockets)
end

function TestSockets:test_so_it_is_outside_of_a_task() assert_end_of_dropped_peer(loop) end

function TestSockets:test_so_it_is_beside_a_thread_that_pauses_again_and_again()
  assert_end_of_dropped_peer(with_sockets, 0.2)
end

function TestSockets:test_a_loop_that_is_idle_leaves_nothing_behind()
  t.run(function()
    loop(function() copas.pause(0.01) end) -- ends before anything would be collected
  end)
end

t.finish()
