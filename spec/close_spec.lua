-- slow: starts a program for each test
-- The end of everything: lua_close at any moment, collection in any order, methods of what is gone.
--
-- Most tests run a program in a process of its own, which must end with status 0 and a clean stderr.
local t = require "helper"
local asyncio = t.asyncio

TestExitInTheMiddle = {}
TestOlderFinaliser = {}
TestCollection = {}

local function assert_clean(source, expected)
  local out, err, code, how = t.lua(source)
  t.assertEquals({ err, how, code }, { "", "exit", 0 })
  if expected then t.assertEquals(out, expected) end
  return out
end

-- lua_close in the middle of everything

--- A world: connections with reads and writes under way, timers, tasks that wait for all kinds of
-- things, name resolution on other threads, signals, watched descriptors. `world()` is to be called in a
-- task; `exit` ends the process as os.exit(0, true) does.
local WORLD = [[
  local asyncio = require "asyncio"
  local function exit() os.exit(0, true) end
  local function long() asyncio.sleep(1000) end
  kept = {}
  local function keep(...)
    for _, x in ipairs { ... } do kept[#kept + 1] = x end
    return ...
  end
  local function on_close(fn) return setmetatable({}, { __close = fn }) end
  --- Tries to wait and to work where nothing can: when the state closes beneath.
  local function tries()
    pcall(asyncio.sleep, 0.01)
    pcall(asyncio.create_task, long)
    pcall(asyncio.run, long)
    for _, x in ipairs(kept) do pcall(tostring, x) end
  end
  local function world()
    local loop = keep(asyncio.get_running_loop())
    loop.slow_callback_duration = 1e9
    loop:set_exception_handler(function() end)
    local server = keep(asyncio.start_server(function(reader, writer)
      local _ <close> = on_close(tries)
      keep(reader, writer)
      writer:write(("x"):rep(3000000)) -- more than the kernel takes
      pcall(writer.drain, writer)
      reader:read()
    end, "127.0.0.1", 0))
    local port = server:sockets()[1].port
    for i = 1, 6 do
      keep(asyncio.create_task(function()
        local reader, writer = keep(asyncio.open_connection("127.0.0.1", port))
        local _ <close> = on_close(tries)
        if i == 1 then
          reader:readline()
        elseif i == 2 then
          writer:write(("y"):rep(3000000), ("z"):rep(100))
          writer:drain()
        elseif i == 3 then
          writer:write "small, sent at the end of the turn"
          reader:readexactly(10000000)
        elseif i == 4 then
          writer:write "half"
          writer:write_eof()
          writer:wait_closed()
        elseif i == 5 then
          for _ in reader:lines() do end
        else
          writer:write(("w"):rep(5000000))
          writer:close()
          long()
        end
      end))
    end
    keep(asyncio.create_task(server.serve_forever, server))
    local future = keep(loop:create_future())
    for _ = 1, 3 do keep(asyncio.create_task(asyncio.await, future)) end
    keep(asyncio.create_task(function() asyncio.await(asyncio.create_task(long)) end))
    keep(asyncio.create_task(function() asyncio.gather(long, long, future) end))
    keep(asyncio.create_task(function() asyncio.wait({ future }, { timeout = 100 }) end))
    keep(asyncio.create_task(function() asyncio.wait_for(asyncio.shield(future), 100) end))
    keep(asyncio.create_task(function()
      local limit <close> = keep(asyncio.timeout(100))
      local group <close> = keep(asyncio.TaskGroup())
      group:create_task(long)
      asyncio.coroutine.wrap(function()
        local _ <close> = on_close(tries)
        long()
      end)()
    end))
    keep(asyncio.create_task(function()
      local generator = asyncio.coroutine.create(function() asyncio.coroutine.yield(1) end)
      asyncio.coroutine.resume(keep(generator))
      while true do asyncio.sleep(0) end
    end))
    for _, name in ipairs { "localhost", "127.0.0.1", "no-such-name.invalid" } do
      keep(asyncio.create_task(function() loop:getaddrinfo(name, 80) end))
    end
    keep(asyncio.create_task(error, "nobody looks at this"))
    keep(loop:call_later(1000, print), loop:call_later(0.001, print), loop:call_at(loop:time() + 0.5, print))
    loop:add_signal_handler("SIGUSR1", print)
    loop:add_signal_handler("SIGINT", print)
    pcall(function()
      local stdin = keep(asyncio.stdin())
      keep(asyncio.create_task(stdin.readline, stdin))
    end)
    keep(asyncio.new_event_loop(), asyncio.Runner {}, asyncio.Runner {}:get_loop())
    keep(asyncio.new_event_loop():create_task(long))
    asyncio.sleep(0.02)
    keep(asyncio.create_task(long)) -- not begun
    keep(loop:call_soon(function() end))
    local garbage = loop:create_future()
    garbage:set_exception "lost"
    local last = kept[#kept]
    garbage:add_done_callback(function() return last end)
  end
]]

local EXITS = {
  main_task = [[ world() exit() ]],
  main_task_with_scopes = [[
    local runner <close> = asyncio.Runner {}
    local limit <close> = asyncio.timeout(10)
    local group <close> = asyncio.TaskGroup()
    local server <close> = asyncio.start_server(print, "127.0.0.1", 0)
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local w <close> = writer
    local _ <close> = on_close(tries)
    world()
    exit() ]],
  another_task = [[ world() asyncio.create_task(exit) long() ]],
  callback = [[ world() asyncio.get_running_loop():call_soon(exit) long() ]],
  timer = [[ world() asyncio.get_running_loop():call_later(0.001, exit) long() ]],
  done_callback = [[
    world()
    asyncio.create_task(function() end):add_done_callback(exit)
    long() ]],
  close_variable = [[ world() do local _ <close> = on_close(exit) end ]],
  close_variable_of_an_error = [[
    world()
    local _ <close> = on_close(exit)
    error "boom" ]],
  close_variable_of_a_cancellation = [[
    world()
    local task = asyncio.create_task(function()
      local _ <close> = on_close(function()
        asyncio.sleep(0)
        exit()
      end)
      long()
    end)
    asyncio.sleep(0)
    task:cancel()
    long() ]],
  finaliser = [[
    world()
    setmetatable({}, { __gc = exit })
    collectgarbage()
    long() ]],
  exception_handler = [[
    world()
    local loop = asyncio.get_running_loop()
    local exiting = false -- the state that closes reports what was lost, too
    loop:set_exception_handler(function()
      if exiting then return end
      exiting = true
      exit()
    end)
    loop:call_soon(error, "boom")
    long() ]],
  inner_coroutine = [[
    world()
    asyncio.coroutine.wrap(function()
      asyncio.sleep(0)
      exit()
    end)() ]],
  standard_coroutine = [[ world() coroutine.wrap(exit)() ]],
  message_handler = [[ world() xpcall(error, exit, "boom") ]],
  sort_comparator = [[ world() table.sort({ 3, 1, 2 }, exit) ]],
  connection_handler = [[
    world()
    local server = asyncio.start_server(exit, "127.0.0.1", 0)
    asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    long() ]],
  signal_handler = [[
    world()
    asyncio.get_running_loop():add_signal_handler("SIGALRM", exit)
    os.execute "kill -ALRM $PPID"
    long() ]],
  awaitable = [[ world() asyncio.await(setmetatable({}, { __await = exit })) ]],
  group_that_waits = [[
    world()
    local group <close> = asyncio.TaskGroup()
    group:create_task(function() asyncio.sleep(0.001) exit() end) ]],
}

for name, source in pairs(EXITS) do
  local program = WORLD .. "asyncio.run(function()\n" .. source .. "\nend) error 'not reached'"
  TestExitInTheMiddle["test_from_a_" .. name] = function() assert_clean(program) end
  if not t.slow then -- valgrind takes two seconds for each program
    TestExitInTheMiddle["test_with_a_collector_that_never_rests_from_a_" .. name] = function()
      assert_clean('collectgarbage("incremental", 1, 1000, 1)\n' .. program)
    end
  end
end

function TestExitInTheMiddle:test_from_the_tostring_of_an_error_that_is_being_reported()
  local _, err, code = t.lua(WORLD .. [[
    asyncio.run(function()
      world()
      local loop = asyncio.get_running_loop()
      loop:set_exception_handler(nil)
      loop:call_soon(error, setmetatable({}, { __tostring = exit }))
      long()
    end)
    error "not reached"
  ]])
  t.assertNotStrContains(err, "a callback failed") -- a report leaves whole, or not at all
  t.assertEquals(code, 0)
end

function TestExitInTheMiddle:test_from_the_end_of_run()
  assert_clean(WORLD .. [[
    asyncio.run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(exit)
        long()
      end)
      world()
    end)
    error "not reached"
  ]])
end

function TestExitInTheMiddle:test_between_two_runs()
  assert_clean(WORLD .. [[
    local runner = asyncio.Runner {}
    runner:run(world)
    exit()
  ]])
end

function TestExitInTheMiddle:test_with_an_open_Runner_in_a_close_variable()
  assert_clean(WORLD .. [[
    local runner <close> = asyncio.Runner {}
    runner:run(world)
    os.exit(0, true)
  ]])
end

function TestExitInTheMiddle:test_of_a_script_that_just_ends_with_its_loop_open()
  assert_clean(WORLD .. [[
    loop = asyncio.new_event_loop()
    loop:run_until_complete(world)
  ]])
end

function TestExitInTheMiddle:test_before_the_loop_ever_ran()
  assert_clean [[
    local asyncio = require "asyncio"
    loop = asyncio.new_event_loop()
    task = loop:create_task(print, "never")
    future = loop:create_future()
    future:add_done_callback(print)
    loop:call_soon(print, "never")
    loop:call_later(0, print, "never")
    loop:add_signal_handler("SIGUSR1", print)
    pcall(loop.add_reader, loop, 0, print)
    os.exit(0, true)
  ]]
end

function TestExitInTheMiddle:test_without_closing_the_state()
  assert_clean(WORLD .. [[
    asyncio.run(function()
      world()
      os.exit(0)
    end)
  ]])
end

function TestExitInTheMiddle:test_with_a_name_resolution_that_has_just_begun()
  for _ = 1, t.count(20) do
    assert_clean [[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local loop = asyncio.get_running_loop()
        for _ = 1, 5 do asyncio.create_task(loop.getaddrinfo, loop, "localhost", 80) end
        asyncio.sleep(0)
        os.exit(0, true)
      end)
    ]]
  end
end

function TestExitInTheMiddle:test_runs_no_Lua_code_of_the_tasks()
  assert_clean([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.create_task(function()
        local _ <close> = setmetatable({}, { __close = function() print "a task's <close>" end })
        asyncio.sleep(1000)
      end)
      asyncio.sleep(0)
      os.exit(0, true)
    end)
  ]], "")
end

-- every method from a finaliser that is older than the loop

--- Collects all objects of all kinds in `objects`, then calls each method of each of them with
-- fitting and with odd arguments. What they raise must be an Error, an argument error or what a
-- future holds; anything else is printed.
local METHODS = [[
  local asyncio -- set below
  objects = {}
  local function nothing() end
  local FITTING = {
    call_soon = { nothing }, call_later = { 0, nothing }, call_at = { 0, nothing }, create_task = { function() end },
    run_until_complete = { function() end },
    remove_reader = { 0 }, remove_writer = { 1 }, remove_signal_handler = { "SIGUSR1" },
    getaddrinfo = { "127.0.0.1", 80 }, getnameinfo = { { host = "127.0.0.1", port = 80 } }, set_debug = { true },
    set_result = { 1 }, set_exception = { "the error of a future" },
    add_done_callback = { nothing }, remove_done_callback = { nothing },
    set_name = { "n" }, write = { "x" }, writelines = { { "x", "y" } }, send = { "x" },
    get_extra_info = { "peername" }, set_write_buffer_limits = { { high = 10 } }, read = { 1 },
    readexactly = { 1 }, readuntil = { "\n" }, reschedule = { 1 },
    _get = { "x" }, _set = { "x", 1 }, _on_cancel = { nil },
    _request = { "r" }, _withdraw = { "r" }, _requeue = { "r" },
  }
  local LEFT_OUT = { -- what writes, what never ends, and what has a finaliser that Lua won't call any more
    default_exception_handler = true, call_exception_handler = true, set_exception_handler = true,
    run_forever = true, new_event_loop = true, add_reader = true, add_writer = true, add_signal_handler = true,
    stdin = true, stdout = true, stderr = true, run = true, print_call_graph = true,
    ThreadPoolExecutor = true, Channel = true, remote = true,
  }
  local calls, odd
  local function fits(err)
    if type(err) == "table" then
      return asyncio.isinstance(err, asyncio.Error) or asyncio.isinstance(err, asyncio.CancelledError)
    end
    for _, text in ipairs { "bad argument", "bad self", "expected", "no field", "outside a coroutine" } do
      if tostring(err):find(text, 1, true) then return true end
    end
    return err == "the error of a future"
  end
  local function try(what, fn, ...)
    if type(fn) ~= "function" then return end
    calls = calls + 1
    local ok, err = pcall(fn, ...)
    if not ok and not fits(err) then
      odd = odd + 1
      print(what, type(err), err)
    end
  end
  function call_everything()
    calls, odd = 0, 0
    for _, object in ipairs(objects) do
      local meta = getmetatable(object)
      local methods = meta.methods or type(meta.__index) == "table" and meta.__index or {}
      for name, method in pairs(methods) do
        if not LEFT_OUT[name] and name:sub(1, 2) ~= "__" then
          local what = tostring(meta.__name) .. "." .. name
          try(what, method, object, table.unpack(FITTING[name] or {}))
          if name:sub(1, 1) ~= "_" then
            try(what, method, object)
            try(what, method, object, {}, 0 / 0)
            try(what, method, object, "x", -1, nothing)
            if meta.methods then try(what, method) end
          end
        end
      end
      for _, name in ipairs { "__tostring", "__close", "__call", "__len" } do
        try(tostring(meta.__name) .. name, meta[name], object)
        try(tostring(meta.__name) .. name, meta[name], object, "an error")
      end
      try("tostring", tostring, object)
      try("index", function() return object.no_such_field end)
      try("slow", function() return object.slow_callback_duration end)
      try("await", asyncio.await, object)
      try("isfuture", asyncio.isfuture, object)
      try("shield", asyncio.shield, object)
      try("gather", asyncio.gather, object)
      try("all_tasks", asyncio.all_tasks, object)
    end
    for name, fn in pairs(asyncio) do
      if type(fn) == "function" and not LEFT_OUT[name] then
        try("asyncio." .. name, fn)
        try("asyncio." .. name, fn, 0.001)
        try("asyncio." .. name, fn, function() end, 1)
        try("asyncio." .. name, fn, {})
      end
    end
    for name, fn in pairs(asyncio.coroutine) do try("coroutine." .. name, fn, objects.co) end
    pcall(asyncio.run, function() asyncio.sleep(0.001) end)
    print(calls > 500 and "called" or "too few calls: " .. calls, odd)
  end
  local function on_gc(fn) return setmetatable({}, { __gc = fn }) end
  older = on_gc(function() call_everything() end)
  asyncio = require "asyncio"
  local function long() asyncio.sleep(1000) end
  function make_objects(with_newer)
    local loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 1e9
    loop:set_exception_handler(nothing)
    local function add(...) for _, x in ipairs { ... } do objects[#objects + 1] = x end return ... end
    add(loop, asyncio.new_event_loop(), loop:create_future(), asyncio.create_task(long))
    local done, failed, cancelled = loop:create_future(), loop:create_future(), loop:create_future()
    done:set_result(1, 2)
    failed:set_exception "the error of a future"
    failed:exception()
    cancelled:cancel()
    add(done, failed, cancelled, loop:call_soon(nothing), loop:call_later(1000, nothing))
    local runner = add(asyncio.Runner {})
    add(runner:get_loop())
    local server = add(asyncio.start_server(function(reader, writer)
      add(reader, writer)
      writer:write(("x"):rep(3000000))
      long()
    end, "127.0.0.1", 0))
    local port = server:sockets()[1].port
    for i = 1, 3 do
      local reader, writer = add(asyncio.open_connection("127.0.0.1", port))
      if i == 2 then writer:write(("x"):rep(3000000)) end
      if i == 3 then writer:close() end
      if i == 1 then add(asyncio.create_task(reader.readexactly, reader, 10000000)) end
    end
    add(asyncio.create_task(server.serve_forever, server))
    add(asyncio.create_task(asyncio.await, objects[3]), asyncio.shield(objects[3]))
    add(asyncio.create_task(loop.getaddrinfo, loop, "localhost", 80))
    loop:add_signal_handler("SIGUSR1", print)
    add(asyncio.create_task(function()
      add(asyncio.timeout(100))
      local group <close> = add(asyncio.TaskGroup())
      group:create_task(long)
    end))
    objects.co = asyncio.coroutine.create(function() asyncio.coroutine.yield() end)
    asyncio.coroutine.resume(objects.co)
    asyncio.sleep(0.02)
    if with_newer then newer = on_gc(function() call_everything() end) end
  end
]]

function TestOlderFinaliser:test_after_run_has_ended()
  assert_clean(METHODS .. [[
    asyncio.run(make_objects)
  ]], "called\t0\n")
end

function TestOlderFinaliser:test_of_a_state_that_closes_with_the_loop_open()
  assert_clean(METHODS .. [[
    kept = asyncio.new_event_loop()
    kept:run_until_complete(make_objects)
  ]], "called\t0\n")
end

function TestOlderFinaliser:test_of_a_state_that_closes_beneath_a_task()
  assert_clean(METHODS .. [[
    asyncio.run(function()
      make_objects()
      os.exit(0, true)
    end)
  ]], "called\t0\n")
end

function TestOlderFinaliser:test_and_a_newer_one_beneath_a_task()
  assert_clean(METHODS .. [[
    asyncio.run(function()
      make_objects(true)
      os.exit(0, true)
    end)
  ]], "called\t0\ncalled\t0\n")
end

function TestOlderFinaliser:test_of_a_state_that_closes_beneath_a_callback()
  assert_clean(METHODS .. [[
    asyncio.run(function()
      make_objects(true)
      asyncio.get_running_loop():call_soon(os.exit, 0, true)
      long()
    end)
  ]], "called\t0\ncalled\t0\n")
end

function TestOlderFinaliser:test_gets_ClosedError_where_a_loop_is_needed()
  assert_clean([[
    local asyncio
    older = setmetatable({}, { __gc = function()
      local function closed(fn, ...)
        local ok, err = pcall(fn, ...)
        print(not ok and asyncio.isinstance(err, asyncio.ClosedError) or tostring(err))
      end
      closed(loop.call_soon, loop, print)
      closed(loop.call_later, loop, 0, print)
      closed(loop.create_future, loop)
      closed(loop.create_task, loop, print)
      closed(loop.run_until_complete, loop, print)
      closed(loop.run_forever, loop)
      closed(loop.add_signal_handler, loop, "SIGTERM", print)
      closed(loop.add_reader, loop, 0, print)
      closed(loop.set_exception_handler, loop, print)
      closed(future.set_result, future, 1)
      closed(future.add_done_callback, future, print)
      closed(future.get_loop, future)
      closed(writer.write, writer, "x")
      closed(server.start_serving, server)
      print(loop:is_closed(), future:done(), task:cancel(), future:cancel(), server:is_serving())
    end })
    asyncio = require "asyncio"
    asyncio.run(function()
      loop = asyncio.get_running_loop()
      future = loop:create_future()
      task = asyncio.create_task(asyncio.sleep, 1000)
      server = asyncio.start_server(function() end, "127.0.0.1", 0)
      local reader -- luacheck: ignore
      reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      asyncio.sleep(0)
      os.exit(0, true)
    end)
  ]], ("true\n"):rep(14) .. "true\tfalse\tfalse\tfalse\tfalse\n")
end

function TestOlderFinaliser:test_may_run_a_loop_of_its_own()
  local out = assert_clean [[
    local asyncio
    older = setmetatable({}, { __gc = function()
      print(pcall(asyncio.run, function()
        asyncio.sleep(0.001)
        return "ran"
      end))
    end })
    asyncio = require "asyncio"
    asyncio.run(function() end)
  ]]
  t.assertStrContains(out, "ran") -- it is no state that closes beneath a task
end

-- collection

--- Descriptors that this process has open; nil where that can't be seen.
local function count_descriptors()
  local name = os.tmpname()
  os.execute(("ls /proc/$PPID/fd 2>/dev/null | wc -l >'%s'"):format(name))
  local file <close> = assert(io.open(name))
  os.remove(name)
  local n = file:read "n"
  return n and n > 0 and n or nil
end

function TestCollection:test_of_an_open_loop_closes_it()
  do -- libuv opens descriptors of its own for the first signal
    local loop <close> = asyncio.new_event_loop()
    loop:add_signal_handler("SIGUSR1", print)
  end
  t.collect()
  local before = count_descriptors()
  if not before then t.skip "no /proc" end
  local gone = setmetatable({}, { __mode = "k" })
  do
    local loop = asyncio.new_event_loop()
    loop:create_task(asyncio.sleep, 1000)
    loop:run_until_complete(function() asyncio.sleep(0) end)
    loop:add_signal_handler("SIGUSR1", print)
    gone[loop] = true
  end
  t.collect()
  t.assertNil(next(gone))
  t.assertEquals(count_descriptors(), before)
end

function TestCollection:test_of_a_loop_that_its_objects_outlive()
  local future, task, handle, server, reader, writer
  do
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(function()
      future, task = loop:create_future(), loop:create_task(asyncio.sleep, 1000)
      handle = loop:call_later(1000, print)
      server = asyncio.start_server(function() asyncio.sleep(1000) end, "127.0.0.1", 0)
      reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      writer:write(("x"):rep(3000000))
      asyncio.sleep(0.005)
    end)
  end
  t.collect()
  t.assert_raises(asyncio.ClosedError, future.get_loop, future)
  t.assert_raises(asyncio.ClosedError, future.set_result, future, 1)
  t.assert_raises(asyncio.ClosedError, writer.write, writer, "x")
  t.assertFalse(future:cancel())
  t.assertFalse(task:cancel())
  t.assertFalse(task:done())
  handle:cancel()
  for _, object in ipairs { future, task, handle, server, reader, writer } do t.assertTrue(#tostring(object) > 0) end
  t.assertFalse(server:is_serving())
  server:close()
  writer:close()
  writer:abort()
end

--- Makes a loop with objects of all kinds, and drops them in an order that depends on the seed.
local function drop_in_some_order(seed)
  math.randomseed(seed)
  local objects = {}
  local function add(x) table.insert(objects, math.random(#objects + 1), x) end
  local runner = asyncio.Runner {}
  add(runner)
  add(runner:get_loop())
  runner:run(function()
    local loop = asyncio.get_running_loop()
    loop:set_exception_handler(function() end)
    local future = loop:create_future()
    add(future)
    add(asyncio.create_task(asyncio.await, future))
    add(asyncio.create_task(asyncio.sleep, 1000))
    add(asyncio.create_task(error, "lost"))
    add(asyncio.shield(future))
    add(loop:call_later(1000, print))
    local server = asyncio.start_server(function() asyncio.sleep(1000) end, "127.0.0.1", 0)
    add(server)
    for _ = 1, 2 do
      local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      writer:write(("x"):rep(math.random(3000000)))
      add(reader)
      add(writer)
      add(asyncio.create_task(pcall, reader.read, reader))
    end
    asyncio.sleep(0.001)
  end)
  runner = nil -- luacheck: ignore
  while #objects > 0 do
    table.remove(objects)
    collectgarbage(math.random(2) == 1 and "collect" or "step")
  end
end

function TestCollection:test_of_objects_in_any_order()
  local before = collectgarbage "count"
  for seed = 1, t.count(60) do drop_in_some_order(seed) end
  t.collect()
  t.assertTrue(collectgarbage "count" < before + 500)
end

function TestCollection:test_of_a_task_that_waits_is_left_to_its_loop()
  t.run(function()
    local woken = false
    asyncio.create_task(function()
      asyncio.sleep(0.01)
      woken = true
    end)
    t.collect()
    asyncio.sleep(1)
    t.assertTrue(woken)
  end)
end

function TestCollection:test_of_thousands_of_loops()
  local left = setmetatable({}, { __mode = "k" })
  for _ = 1, t.count(3000) do
    local loop = asyncio.new_event_loop()
    loop:call_soon(print)
    left[loop] = true
  end
  t.collect()
  t.assertNil(next(left))
end

function TestCollection:test_of_thousands_of_loops_that_were_closed()
  for i = 1, t.count(3000) do
    local loop <close> = asyncio.new_event_loop()
    t.assertEquals(loop:run_until_complete(function() return i end), i)
  end
end

function TestCollection:test_of_thousands_of_runs_leaves_no_descriptor_and_no_memory()
  local function some_runs(n)
    for _ = 1, n do
      asyncio.run(function()
        asyncio.create_task(asyncio.sleep, 1000)
        asyncio.sleep(0)
      end)
    end
    t.collect()
    return collectgarbage "count", count_descriptors()
  end
  local memory, descriptors = some_runs(50)
  local memory_after, descriptors_after = some_runs(t.count(2000))
  t.assertEquals(descriptors_after, descriptors)
  t.assertTrue(memory_after < memory + 50, "kilobytes: " .. memory .. " then " .. memory_after)
end

t.finish { sampled = true }
