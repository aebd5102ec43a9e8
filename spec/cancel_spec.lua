-- Cancellation: who gets a request, where it is raised, how often, and what it takes along.
-- check_kind and check_read assert what is the same for each kind of wait.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep
local CancelledError, TimeoutError = asyncio.CancelledError, asyncio.TimeoutError

-- A task that has taken its first step and waits.
local function parked(fn, ...)
  local task = create_task(fn, ...)
  sleep(0)
  t.assertStrContains(tostring(task), "waits")
  return task
end

-- t.run without its list of reports.
local function run(fn, ...)
  t.run(function(_, ...) fn(...) end, ...)
end

local function new_future() return asyncio.get_running_loop():create_future() end

-- The task ends cancelled; the error that its awaiter gets.
local function assert_ends_cancelled(task)
  local err = t.assert_raises(CancelledError, await, task)
  t.assertTrue(task:cancelled())
  return err
end

-- A moment of the virtual clock. What is due then comes in one turn, in the order in which it was set.
local function soon() return asyncio.get_running_loop():time() + 1 end

-- Calls fn with both ends of a connection: reader, writer, the peer's reader, the peer's writer, server.
local function with_connection(fn)
  t.real(function()
    local accepted, over = new_future(), new_future()
    local server = asyncio.start_server(function(reader, writer)
      accepted:set_result(reader, writer)
      await(asyncio.shield(over))
    end, "127.0.0.1", 0)
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local peer_reader, peer_writer = await(accepted)
    fn(reader, writer, peer_reader, peer_writer, server)
    writer:abort()
    over:set_result()
    server:close()
    server:wait_closed()
  end)
end

TestCancelBeforeTheFirstStep = {}

function TestCancelBeforeTheFirstStep:test_the_function_never_runs()
  t.run(function()
    local ran = false
    local task = create_task(function() ran = true end)
    t.assertTrue(task:cancel())
    t.assertFalse(task:done())
    assert_ends_cancelled(task)
    t.assertFalse(ran)
  end)
end

function TestCancelBeforeTheFirstStep:test_a_coroutine_never_runs_either()
  t.run(function()
    local ran = false
    local co = coroutine.create(function() ran = true end)
    local task = create_task(co)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertFalse(ran)
  end)
end

function TestCancelBeforeTheFirstStep:test_the_error_carries_the_message()
  t.run(function()
    local task = create_task(sleep, 1)
    task:cancel("not needed")
    t.assertEquals(assert_ends_cancelled(task).message, "not needed")
  end)
end

function TestCancelBeforeTheFirstStep:test_two_requests_end_it_with_the_first()
  t.run(function()
    local task = create_task(sleep, 1)
    t.assertTrue(task:cancel("first"))
    t.assertTrue(task:cancel("second"))
    t.assertEquals(assert_ends_cancelled(task).message, "first")
  end)
end

function TestCancelBeforeTheFirstStep:test_a_request_that_is_taken_back_lets_it_run()
  t.run(function()
    local task = create_task(function() return sleep(0, "ran") end)
    task:cancel()
    t.assertEquals(task:uncancel(), 0)
    t.assertEquals(await(task), "ran")
  end)
end

function TestCancelBeforeTheFirstStep:test_what_it_would_have_held_is_garbage()
  t.run(function()
    local held = setmetatable({ {} }, { __mode = "v" })
    local task = create_task(function() end, held[1])
    task:cancel()
    assert_ends_cancelled(task)
    t.collect()
    t.assertNil(held[1])
  end)
end

-- What all kinds of waiting have in common: the request is raised there, once, and the same error
-- leaves the task. `wait` runs in the task; `word` is what tostring says of it.
TestCancelWhileParked = {}

local function check_kind(wait, word)
  local seen
  local task = create_task(function()
    local ok, err = pcall(wait)
    t.assertFalse(ok)
    seen = err
    sleep(0) -- a second delivery would show here
    sleep(0.001)
    error(err, 0)
  end)
  sleep(0)
  t.assertStrContains(tostring(task), "waits (" .. word)
  t.assertTrue(task:cancel("enough"))
  local err = assert_ends_cancelled(task)
  t.assertIs(err, seen)
  t.assertEquals(err.message, "enough")
end

function TestCancelWhileParked:test_sleep()
  run(check_kind, function() sleep(60) end, "sleep")
end

function TestCancelWhileParked:test_sleep_without_end()
  run(check_kind, function() sleep(math.huge) end, "sleep")
end

function TestCancelWhileParked:test_giving_way()
  run(check_kind, function() while true do sleep(0) end end, "")
end

function TestCancelWhileParked:test_a_future_which_is_cancelled_with_it()
  t.run(function()
    local future = new_future()
    check_kind(function() await(future) end, "await")
    t.assertTrue(future:cancelled())
  end)
end

function TestCancelWhileParked:test_a_task_which_is_cancelled_with_it()
  t.run(function()
    local inner = create_task(sleep, 60)
    check_kind(function() await(inner) end, "await")
    t.assertTrue(inner:cancelled())
  end)
end

function TestCancelWhileParked:test_an_awaited_coroutine()
  t.run(function()
    local closed = false
    check_kind(function()
      await(coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        sleep(60)
      end))
    end, "sleep")
    t.assertTrue(closed)
  end)
end

function TestCancelWhileParked:test_a_generator_three_levels_down()
  t.run(function()
    local co = asyncio.coroutine
    local function generator(depth)
      return co.wrap(function()
        if depth == 0 then
          sleep(60)
        else
          co.yield(generator(depth - 1)())
        end
      end)
    end
    check_kind(function() generator(2)() end, "sleep")
  end)
end

function TestCancelWhileParked:test_something_with_its_own_await()
  run(check_kind, function()
    await(setmetatable({}, { __await = function() return sleep(60) end }))
  end, "sleep")
end

function TestCancelWhileParked:test_gather_which_cancels_all_of_its_tasks()
  t.run(function()
    local a, b = create_task(sleep, 60), create_task(sleep, 60)
    check_kind(function() asyncio.gather(a, b) end, "gather")
    t.assertTrue(a:cancelled())
    t.assertTrue(b:cancelled())
  end)
end

function TestCancelWhileParked:test_wait_which_leaves_its_tasks_alone()
  t.run(function()
    local task = create_task(sleep, 0.02, "went on")
    check_kind(function() asyncio.wait { task } end, "wait")
    t.assertEquals(await(task), "went on")
  end)
end

function TestCancelWhileParked:test_as_completed_which_leaves_its_tasks_alone()
  t.run(function()
    local task = create_task(sleep, 0.02, "went on")
    check_kind(function() for _ in asyncio.as_completed { task } do end end, "as_completed")
    t.assertEquals(await(task), "went on")
  end)
end

function TestCancelWhileParked:test_wait_for_with_a_function()
  run(check_kind, function() asyncio.wait_for(function() sleep(60) end, 30) end, "sleep")
end

function TestCancelWhileParked:test_wait_for_with_a_task_which_is_cancelled_with_it()
  t.run(function()
    local task = create_task(sleep, 60)
    check_kind(function() asyncio.wait_for(task, 30) end, "await")
    t.assertTrue(task:cancelled())
  end)
end

function TestCancelWhileParked:test_a_timeout_of_which_it_is_not_the_request()
  run(check_kind, function()
    local _ <close> = asyncio.timeout(30)
    sleep(60)
  end, "sleep")
end

-- Each way to read: "wo" has come, the read waits for more; afterwards all of it is there.
local function check_read(read, word)
  with_connection(function(reader, _, _, peer_writer)
    peer_writer:send "hello wo"
    t.assertEquals(reader:readexactly(6), "hello ")
    check_kind(function() read(reader) end, word)
    peer_writer:send "rld\n"
    t.assertEquals(reader:readline(), "world\n")
  end)
end

function TestCancelWhileParked:test_readline_which_has_taken_nothing()
  check_read(function(reader) reader:readline() end, "readline")
end

function TestCancelWhileParked:test_readexactly_which_has_taken_nothing()
  check_read(function(reader) reader:readexactly(6) end, "readexactly")
end

function TestCancelWhileParked:test_readuntil_which_has_taken_nothing()
  check_read(function(reader) reader:readuntil "\n" end, "readuntil")
end

function TestCancelWhileParked:test_read_to_the_end_which_has_taken_nothing()
  check_read(function(reader) reader:read(-1) end, "read")
end

function TestCancelWhileParked:test_lines_which_has_taken_nothing()
  check_read(function(reader) for _ in reader:lines() do end end, "lines")
end

function TestCancelWhileParked:test_lines_with_a_separator_which_has_taken_nothing()
  check_read(function(reader) for _ in reader:lines "\r\n" do end end, "lines")
end

function TestCancelWhileParked:test_peek_which_has_taken_nothing()
  check_read(function(reader) reader:peek(6, 6) end, "peek")
end

function TestCancelWhileParked:test_blocks()
  with_connection(function(reader, _, _, peer_writer)
    check_kind(function() for _ in reader:blocks(10) do end end, "blocks")
    peer_writer:send "later"
    t.assertEquals(reader:read(10), "later")
  end)
end

function TestCancelWhileParked:test_wait_eof_which_leaves_the_stream_as_it_was()
  with_connection(function(reader, _, _, peer_writer)
    check_kind(function() reader:wait_eof() end, "wait_eof")
    peer_writer:send "later"
    t.assertEquals(reader:read(10), "later")
  end)
end

function TestCancelWhileParked:test_read()
  with_connection(function(reader, _, _, peer_writer)
    check_kind(function() reader:read(10) end, "read")
    peer_writer:send "later"
    t.assertEquals(reader:read(10), "later")
  end)
end

function TestCancelWhileParked:test_drain_which_takes_nothing_back()
  with_connection(function(_, writer, peer_reader)
    local text = ("x"):rep(16 * 1024 * 1024)
    writer:write(text)
    check_kind(function() writer:drain() end, "drain")
    writer:write "end"
    writer:write_eof()
    local n, last = 0, ""
    for piece in function() return peer_reader:read(65536) end do
      n, last = n + #piece, (last .. piece):sub(-3)
    end
    t.assertEquals(n, #text + 3)
    t.assertEquals(last, "end")
  end)
end

function TestCancelWhileParked:test_wait_closed_of_a_stream_that_still_sends()
  with_connection(function(_, writer)
    writer:write(("x"):rep(16 * 1024 * 1024))
    writer:close()
    check_kind(function() writer:wait_closed() end, "wait_closed")
  end)
end

function TestCancelWhileParked:test_connect()
  t.real(function()
    local server = asyncio.start_server(function() end, "127.0.0.1", 0)
    check_kind(function() asyncio.open_connection("127.0.0.1", server:sockets()[1].port) end, "connect")
    server:close()
    server:wait_closed()
  end)
end

function TestCancelWhileParked:test_name_lookup()
  run(check_kind, function()
    asyncio.get_running_loop():getaddrinfo("localhost", 80)
  end, "name lookup")
end

function TestCancelWhileParked:test_serve_forever_which_closes_the_server()
  t.real(function()
    local server = asyncio.start_server(function() end, "127.0.0.1", 0)
    check_kind(function() server:serve_forever() end, "serve")
    t.assertFalse(server:is_serving())
    server:wait_closed()
  end)
end

function TestCancelWhileParked:test_wait_closed_of_a_server_whose_handlers_go_on()
  with_connection(function(_, writer, peer_reader, _, server)
    server:close()
    check_kind(function() server:wait_closed() end, "wait_closed")
    writer:send "still there\n"
    t.assertEquals(peer_reader:readline(), "still there\n")
  end)
end

TestCancelMessage = {}

function TestCancelMessage:test_without_one_the_error_says_what_it_is()
  t.run(function()
    local task = parked(sleep, 60)
    task:cancel()
    local err = assert_ends_cancelled(task)
    t.assertStrContains(tostring(err), "cancelled")
    t.assertFalse(asyncio.isinstance(err, asyncio.Error))
  end)
end

function TestCancelMessage:test_goes_to_the_awaiter_and_to_result_and_exception()
  t.run(function()
    local task = parked(sleep, 60)
    task:cancel("out of time")
    local err = assert_ends_cancelled(task)
    t.assertEquals(err.message, "out of time")
    t.assertIs(t.assert_raises(CancelledError, task.result, task), err)
    t.assertIs(t.assert_raises(CancelledError, task.exception, task), err)
  end)
end

function TestCancelMessage:test_may_be_any_value()
  t.run(function()
    local task = parked(sleep, 60)
    task:cancel(false)
    t.assertEquals(rawget(assert_ends_cancelled(task), "message"), false)
  end)
end

TestCancelTwice = {}

function TestCancelTwice:test_both_requests_are_delivered_one_after_the_other()
  t.run(function()
    local task = parked(function()
      local _, first = pcall(sleep, 60)
      local _, second = pcall(sleep, 60)
      sleep(0.001)
      return first, second
    end)
    task:cancel("one")
    task:cancel("two")
    local first, second = await(task)
    t.assert_isinstance(first, CancelledError)
    t.assert_isinstance(second, CancelledError)
    t.assertFalse(rawequal(first, second))
    t.assertEquals({ first.message, second.message }, { "one", "two" })
    t.assertEquals(task:cancelling(), 2)
  end)
end

function TestCancelTwice:test_a_thousand_requests_are_all_delivered_in_order()
  t.run(function()
    local n = t.count(1000)
    local task = parked(function()
      local seen = {}
      for i = 1, n do
        local _, err = pcall(sleep, 60)
        seen[i] = err.message
      end
      sleep(0)
      return seen
    end)
    for i = 1, n do task:cancel(i) end
    local seen = await(task)
    for i = 1, n do t.assertEquals(seen[i], i) end
  end)
end

function TestCancelTwice:test_the_inner_of_two_scopes_first_and_each_knows_its_own()
  t.run(function()
    local inner_error, outer_scope, inner_scope
    t.assert_raises(TimeoutError, function()
      local outer <close> = asyncio.timeout()
      outer_scope = outer
      local ok
      ok, inner_error = pcall(function()
        local inner <close> = asyncio.timeout_at(soon())
        inner_scope = inner
        outer:reschedule(soon())
        sleep(60)
      end)
      t.assertFalse(ok)
      sleep(60)
    end)
    t.assert_isinstance(inner_error, TimeoutError)
    t.assertTrue(inner_scope:expired())
    t.assertTrue(outer_scope:expired())
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    sleep(0)
  end)
end

function TestCancelTwice:test_the_outer_of_two_scopes_first_and_the_inner_one_lets_it_through()
  t.run(function()
    local inner_error
    t.assert_raises(TimeoutError, function()
      local _ <close> = asyncio.timeout_at(soon())
      local ok
      ok, inner_error = pcall(function()
        local _ <close> = asyncio.timeout_at(soon())
        sleep(60)
      end)
      t.assertFalse(ok)
      error(inner_error, 0)
    end)
    t.assert_isinstance(inner_error, CancelledError)
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    sleep(0.001) -- neither is left over
  end)
end

function TestCancelTwice:test_a_scope_and_a_request_from_outside_are_both_delivered()
  t.run(function()
    local task = create_task(function()
      local ok, err = pcall(function()
        local _ <close> = asyncio.timeout_at(soon())
        sleep(60)
      end)
      t.assertFalse(ok)
      local _, second = pcall(sleep, 60)
      return err, second
    end)
    sleep(0)
    asyncio.get_running_loop():call_at(soon(), function() task:cancel("outside") end)
    local first, second = await(task)
    t.assert_isinstance(first, TimeoutError)
    t.assertEquals(t.assert_isinstance(second, CancelledError).message, "outside")
  end)
end

TestCancelSwallowed = {}

function TestCancelSwallowed:test_by_pcall_the_task_goes_on_to_its_end()
  t.run(function()
    local task = parked(function()
      local ok = pcall(sleep, 60)
      sleep(0.001)
      return ok, "went on"
    end)
    t.assertTrue(task:cancel())
    local ok, text = await(task)
    t.assertFalse(ok)
    t.assertEquals(text, "went on")
    t.assertFalse(task:cancelled())
  end)
end

function TestCancelSwallowed:test_asyncio_pcall_lets_it_through()
  t.run(function()
    local after = false
    local task = parked(function()
      asyncio.pcall(sleep, 60)
      after = true
    end)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertFalse(after)
  end)
end

function TestCancelSwallowed:test_asyncio_xpcall_lets_it_through_and_does_not_ask_its_handler()
  t.run(function()
    local after, asked = false, false
    local task = parked(function()
      asyncio.xpcall(sleep, function() asked = true end, 60)
      after = true
    end)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertFalse(after)
    t.assertFalse(asked)
  end)
end

function TestCancelSwallowed:test_asyncio_pcall_and_xpcall_catch_everything_else()
  t.run(function()
    local ok, err = asyncio.pcall(function()
      sleep(0)
      error("boom", 0)
    end)
    t.assertFalse(ok)
    t.assertEquals(err, "boom")
    t.assertEquals(table.pack(asyncio.pcall(sleep, 0, 1, nil, 3)), { n = 4, true, 1, nil, 3 })
    local _, handled = asyncio.xpcall(function(x)
      sleep(0)
      error(x, 0)
    end, function(e) return "handled " .. e end, "boom")
    t.assertEquals(handled, "handled boom")
  end)
end

function TestCancelSwallowed:test_an_error_in_place_of_it_is_the_tasks_error()
  t.run(function()
    local task = parked(function()
      pcall(sleep, 60)
      error("something else", 0)
    end)
    task:cancel()
    t.assertEquals(t.error_of(await, task), "something else")
    t.assertFalse(task:cancelled())
  end)
end

TestCancelWhileClosing = {}

local function closing(fn) return setmetatable({}, { __close = fn }) end

function TestCancelWhileClosing:test_every_close_runs_and_may_await()
  t.run(function()
    local log = {}
    local function note(word)
      return closing(function(_, err)
        sleep(0.001)
        t.assert_isinstance(err, CancelledError)
        log[#log + 1] = word
      end)
    end
    local task = parked(function()
      local _ <close> = note "outer"
      local _ <close> = note "inner"
      sleep(60)
    end)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(log, { "inner", "outer" })
  end)
end

function TestCancelWhileClosing:test_a_second_request_is_raised_in_the_close_that_awaits()
  t.run(function()
    local first, second
    local task = parked(function()
      local _ <close> = closing(function(_, err)
        first = err
        local _
        _, second = pcall(sleep, 60)
        error(second, 0)
      end)
      sleep(60)
    end)
    task:cancel("one")
    sleep(0)
    t.assertFalse(task:done())
    task:cancel("two")
    local err = assert_ends_cancelled(task)
    t.assertEquals({ first.message, second.message }, { "one", "two" })
    t.assertIs(err, second)
  end)
end

function TestCancelWhileClosing:test_after_a_return_it_takes_the_place_of_the_result()
  t.run(function()
    local task = parked(function()
      local _ <close> = closing(function() sleep(60) end)
      return "result"
    end)
    task:cancel("while it closes")
    t.assertEquals(assert_ends_cancelled(task).message, "while it closes")
  end)
end

function TestCancelWhileClosing:test_after_an_error_it_takes_the_place_of_the_error()
  t.run(function()
    local seen
    local task = parked(function()
      local _ <close> = closing(function(_, err)
        seen = err
        sleep(60)
      end)
      error("boom", 0)
    end)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(seen, "boom")
  end)
end

function TestCancelWhileClosing:test_the_outer_closes_still_run_and_see_it()
  t.run(function()
    local seen
    local task = parked(function()
      local _ <close> = closing(function(_, err)
        sleep(0)
        seen = err
      end)
      local _ <close> = closing(function() sleep(60) end)
    end)
    task:cancel("two levels")
    t.assertIs(assert_ends_cancelled(task), seen)
  end)
end

TestCancelOfAnAwaitedTask = {}

function TestCancelOfAnAwaitedTask:test_every_one_of_its_awaiters_gets_the_error()
  t.run(function()
    local inner = create_task(sleep, 60)
    local awaiters = {}
    for i = 1, 5 do awaiters[i] = create_task(await, inner) end
    sleep(0)
    inner:cancel("for all")
    for _, task in ipairs(awaiters) do
      t.assertEquals(assert_ends_cancelled(task).message, "for all")
      t.assertEquals(task:cancelling(), 0)
    end
  end)
end

function TestCancelOfAnAwaitedTask:test_an_awaiter_may_catch_it_and_go_on()
  t.run(function()
    local inner = create_task(sleep, 60)
    local task = parked(function()
      local ok, err = pcall(await, inner)
      sleep(0.001)
      return ok, err
    end)
    inner:cancel()
    local ok, err = await(task)
    t.assertFalse(ok)
    t.assert_isinstance(err, CancelledError)
  end)
end

function TestCancelOfAnAwaitedTask:test_a_cancelled_awaiter_takes_it_along_and_so_the_other_awaiters()
  t.run(function()
    local inner = create_task(sleep, 60)
    local cancelled, other = create_task(await, inner), create_task(await, inner)
    sleep(0)
    cancelled:cancel("mine")
    t.assertEquals(assert_ends_cancelled(cancelled).message, "mine")
    assert_ends_cancelled(other)
    t.assertTrue(inner:cancelled())
  end)
end

TestCancelPassesAlong = {}

function TestCancelPassesAlong:test_each_of_a_chain_raises_a_request_of_its_own()
  t.run(function()
    local seen = {}
    local function step(depth)
      local ok, err = pcall(function()
        if depth == 0 then sleep(60) else await(create_task(step, depth - 1)) end
      end)
      t.assertFalse(ok)
      seen[depth] = err
      error(err, 0)
    end
    local task = create_task(step, 2)
    t.wait_until(function() return #asyncio.all_tasks() == 4 and tostring(task):find "waits" end)
    sleep(0)
    task:cancel("all the way")
    assert_ends_cancelled(task)
    for depth = 0, 2 do t.assertEquals(seen[depth].message, "all the way") end
    t.assertFalse(rawequal(seen[0], seen[1]))
    t.assertFalse(rawequal(seen[1], seen[2]))
  end)
end

function TestCancelPassesAlong:test_the_outer_one_waits_for_the_inner_one_to_end()
  t.run(function()
    local log = {}
    local inner = create_task(function()
      local _ <close> = closing(function()
        sleep(0.005)
        log[#log + 1] = "inner ended"
      end)
      sleep(60)
    end)
    local outer = create_task(function()
      local _ <close> = closing(function() log[#log + 1] = "outer unwinds" end)
      await(inner)
    end)
    sleep(0)
    outer:cancel()
    assert_ends_cancelled(outer)
    t.assertEquals(log, { "inner ended", "outer unwinds" })
  end)
end

function TestCancelPassesAlong:test_an_inner_one_that_returns_all_the_same_gives_its_result()
  t.run(function()
    local inner = create_task(function()
      pcall(sleep, 60)
      return "all the same", nil
    end)
    local got
    local outer = parked(function()
      got = table.pack(await(inner))
      sleep(60)
    end)
    outer:cancel("waits for the next suspension")
    t.assertEquals(assert_ends_cancelled(outer).message, "waits for the next suspension")
    t.assertEquals(got, { n = 2, "all the same" })
  end)
end

function TestCancelPassesAlong:test_an_inner_one_that_fails_gives_its_error()
  t.run(function()
    local inner = create_task(function()
      pcall(sleep, 60)
      error("instead", 0)
    end)
    local got
    local outer = parked(function()
      local _
      _, got = pcall(await, inner)
      sleep(60)
    end)
    outer:cancel()
    assert_ends_cancelled(outer)
    t.assertEquals(got, "instead")
  end)
end

function TestCancelPassesAlong:test_two_requests_reach_the_inner_one_as_one_and_a_later_one_again()
  t.run(function()
    local outer
    local inner = create_task(function()
      local _, first = pcall(sleep, 60)
      asyncio.get_running_loop():call_soon(outer.cancel, outer, "three")
      local _, second = pcall(sleep, 60)
      return first.message .. " " .. second.message
    end)
    local got
    outer = parked(function()
      got = await(inner)
      local messages = {}
      for i = 1, 3 do messages[i] = select(2, pcall(sleep, 60)).message end
      sleep(0)
      return table.concat(messages, " ")
    end)
    outer:cancel("one")
    outer:cancel("two")
    t.assertEquals(await(outer), "one two three")
    t.assertEquals(got, "one three")
  end)
end

function TestCancelPassesAlong:test_a_request_from_before_the_await_cancels_the_awaited_task_too()
  t.run(function()
    local inner = create_task(sleep, 60)
    local outer = create_task(function()
      asyncio.current_task():cancel("early")
      await(inner)
    end)
    t.assertEquals(assert_ends_cancelled(outer).message, "early")
    t.assertTrue(inner:cancelled())
  end)
end

function TestCancelPassesAlong:test_through_a_chain_of_ten_thousand_tasks()
  t.run(function()
    local inner = create_task(sleep, 60)
    local first = inner
    for _ = 1, t.count(10000) do inner = create_task(await, inner) end
    sleep(0)
    sleep(0)
    inner:cancel("far")
    t.assertEquals(assert_ends_cancelled(inner).message, "far")
    t.assertTrue(first:cancelled())
  end)
end

function TestCancelPassesAlong:test_gather_waits_until_all_of_its_tasks_have_ended()
  t.run(function()
    local log = {}
    local function child(name)
      local _ <close> = closing(function()
        sleep(0.002)
        log[#log + 1] = name
      end)
      sleep(60)
    end
    local outer = create_task(function()
      local _ <close> = closing(function() log[#log + 1] = "outer" end)
      asyncio.gather(create_task(child, "a"), create_task(child, "b"))
    end)
    sleep(0)
    sleep(0)
    outer:cancel()
    assert_ends_cancelled(outer)
    t.assertEquals(log, { "a", "b", "outer" })
  end)
end

function TestCancelPassesAlong:test_a_future_awaited_by_others_is_cancelled_for_all()
  t.run(function()
    local future = new_future()
    local a, b = create_task(await, future), create_task(await, future)
    sleep(0)
    a:cancel("only a")
    t.assertEquals(assert_ends_cancelled(a).message, "only a")
    assert_ends_cancelled(b)
    t.assertTrue(future:cancelled())
  end)
end

TestCancelShielded = {}

function TestCancelShielded:test_the_awaiter_is_cancelled_at_once_and_the_task_goes_on()
  t.run(function()
    local inner = create_task(sleep, 0.01, "went on")
    local outer = parked(function() await(asyncio.shield(inner)) end)
    outer:cancel("only the outer")
    t.assertEquals(assert_ends_cancelled(outer).message, "only the outer")
    t.assertFalse(inner:done())
    t.assertEquals(await(inner), "went on")
    t.assertEquals(inner:cancelling(), 0)
  end)
end

function TestCancelShielded:test_cancelling_the_task_itself_cancels_who_waits_for_the_shield()
  t.run(function()
    local inner = create_task(sleep, 60)
    local outer = create_task(function() await(asyncio.shield(inner)) end)
    sleep(0)
    inner:cancel()
    assert_ends_cancelled(outer)
  end)
end

function TestCancelShielded:test_the_error_of_a_task_whose_awaiter_was_cancelled_is_not_lost()
  t.run(function(reports)
    local inner = create_task(function()
      sleep(0.002)
      error("nobody hears", 0)
    end)
    local outer = create_task(function() await(asyncio.shield(inner)) end)
    sleep(0)
    outer:cancel()
    assert_ends_cancelled(outer)
    sleep(1)
    t.assertTrue(inner:done())
    inner = nil -- luacheck: ignore
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    t.assertEquals(t.take_report(reports, "never looked at").exception, "nobody hears")
  end)
end

function TestCancelShielded:test_a_result_comes_through()
  t.run(function()
    local inner = create_task(sleep, 0.001, "one", nil, "three")
    t.assertEquals(table.pack(await(asyncio.shield(inner))), { n = 3, "one", nil, "three" })
  end)
end

-- Either it happened or it was cancelled.
TestCancelTie = {}

function TestCancelTie:test_a_future_set_before_gives_its_result_and_the_request_waits()
  t.run(function()
    local future, got = new_future(), nil
    local task = parked(function()
      got = await(future)
      sleep(60)
    end)
    future:set_result("first")
    t.assertTrue(task:cancel("second"))
    t.assertEquals(assert_ends_cancelled(task).message, "second")
    t.assertEquals(got, "first")
  end)
end

function TestCancelTie:test_a_future_set_after_it_was_cancelled_raises()
  t.run(function()
    local future = new_future()
    local task = parked(await, future)
    task:cancel()
    t.assert_raises(asyncio.InvalidStateError, future.set_result, future, 1)
    assert_ends_cancelled(task)
  end)
end

function TestCancelTie:test_a_task_that_ended_before_gives_its_result()
  t.run(function()
    local inner, got = create_task(sleep, 0, "result"), nil
    local task = create_task(function()
      got = await(inner)
      sleep(60)
    end)
    while not inner:done() do sleep(0) end
    t.assertStrContains(tostring(task), "ready")
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(got, "result")
  end)
end

function TestCancelTie:test_a_sleep_that_is_over_returns()
  t.run(function()
    local slept, task = false, nil
    asyncio.get_running_loop():call_later(1, function() task:cancel() end)
    task = parked(function()
      slept = sleep(1, true)
      sleep(60)
    end) -- both are due in one turn, the cancellation before the task's step
    assert_ends_cancelled(task)
    t.assertTrue(slept)
  end)
end

function TestCancelTie:test_data_that_has_come_is_returned()
  with_connection(function(reader, _, _, peer_writer)
    local got
    local task = parked(function()
      got = reader:readline()
      sleep(60)
    end)
    peer_writer:write "here\n"
    repeat sleep(0) until not tostring(task):find "waits"
    t.assertStrContains(tostring(task), "ready")
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(got, "here\n")
  end)
end

function TestCancelTie:test_a_connection_that_is_there_is_returned()
  t.real(function()
    local server = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
    local writer
    local task = parked(function()
      local _
      _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      sleep(60)
    end)
    repeat sleep(0) until not tostring(task):find "waits"
    task:cancel()
    assert_ends_cancelled(task)
    t.assertNotNil(writer)
    writer:close()
    server:close()
    server:wait_closed()
  end)
end

function TestCancelTie:test_a_name_that_is_found_is_returned()
  t.real(function()
    local addresses
    local task = parked(function()
      addresses = asyncio.get_running_loop():getaddrinfo("localhost", 80)
      sleep(60)
    end)
    repeat sleep(0) until not tostring(task):find "waits"
    task:cancel()
    assert_ends_cancelled(task)
    t.assertTrue(#addresses > 0)
  end)
end

function TestCancelTie:test_a_request_from_outside_is_dropped_when_the_function_returns()
  t.run(function()
    local future = new_future()
    local task = parked(function() return await(future), "end" end)
    future:set_result("result")
    t.assertTrue(task:cancel()) -- requested, and nothing more
    t.assertEquals({ await(task) }, { "result", "end" })
    t.assertFalse(task:cancelled())
  end)
end

function TestCancelTie:test_wait_for_gives_the_result_and_the_request_from_outside_comes_next()
  t.run(function()
    local future, got = new_future(), nil
    local task = parked(function()
      got = asyncio.wait_for(future, 30)
      sleep(60)
    end)
    future:set_result("in time")
    task:cancel("outside")
    t.assertEquals(assert_ends_cancelled(task).message, "outside")
    t.assertEquals(got, "in time")
  end)
end

function TestCancelTie:test_wait_for_gives_the_result_when_its_own_time_is_up_in_the_same_turn()
  t.run(function()
    local future = new_future()
    asyncio.get_running_loop():call_later(1, function() future:set_result("in time") end)
    local task = parked(function()
      local result = asyncio.wait_for(future, 1)
      sleep(0.001) -- its request is withdrawn
      return result
    end)
    t.assertEquals(await(task), "in time")
    t.assertEquals(task:cancelling(), 0)
  end)
end

TestCancelNextAwait = {}

function TestCancelNextAwait:test_a_done_future_does_not_deliver_it()
  t.run(function()
    local done, future, got = new_future(), new_future(), nil
    done:set_result("done")
    local task = parked(function()
      await(future)
      got = await(done)
      sleep(0)
    end)
    future:set_result()
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(got, "done")
  end)
end

function TestCancelNextAwait:test_data_at_hand_does_not_deliver_it()
  with_connection(function(reader, _, _, peer_writer)
    local future, got = new_future(), nil
    peer_writer:send "a line\nanother\n"
    t.assertEquals(reader:readline(), "a line\n")
    local task = parked(function()
      await(future)
      got = reader:readline()
      reader:readline()
    end)
    future:set_result()
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(got, "another\n")
  end)
end

function TestCancelNextAwait:test_sleep_zero_delivers_it()
  t.run(function()
    local future, after = new_future(), false
    local task = parked(function()
      await(future)
      sleep(0)
      after = true
    end)
    future:set_result()
    task:cancel()
    assert_ends_cancelled(task)
    t.assertFalse(after)
  end)
end

function TestCancelNextAwait:test_a_wait_that_a_request_meets_takes_nothing()
  with_connection(function(reader, _, _, peer_writer)
    local future = new_future()
    local task = parked(function()
      await(future)
      reader:readline()
    end)
    future:set_result()
    task:cancel()
    assert_ends_cancelled(task)
    peer_writer:send "for the next one\n"
    t.assertEquals(reader:readline(), "for the next one\n")
  end)
end

function TestCancelNextAwait:test_a_future_that_a_request_meets_is_cancelled()
  t.run(function()
    local first, second = new_future(), new_future()
    local task = parked(function()
      await(first)
      await(second)
    end)
    first:set_result()
    task:cancel("met")
    t.assertEquals(assert_ends_cancelled(task).message, "met")
    t.assertTrue(second:cancelled())
  end)
end

-- The budget of calls that need not wait.
TestCancelBudget = {}

function TestCancelBudget:test_a_loop_over_a_done_future_can_be_cancelled()
  t.run(function()
    local done = new_future()
    done:set_result()
    local task = create_task(function() while true do await(done) end end)
    sleep(0)
    t.assertFalse(task:done())
    task:cancel()
    assert_ends_cancelled(task)
  end)
end

function TestCancelBudget:test_a_loop_over_buffered_lines_can_be_cancelled_and_loses_none()
  with_connection(function(reader, _, _, peer_writer)
    local n, taken = 5000, 0
    for i = 1, n do peer_writer:write(("line %d\n"):format(i)) end
    peer_writer:drain()
    sleep(0.01)
    local task = create_task(function()
      while true do
        local line = reader:readline()
        taken = taken + 1
        t.assertEquals(line, ("line %d\n"):format(taken))
      end
    end)
    sleep(0)
    t.assertTrue(taken < n)
    task:cancel()
    assert_ends_cancelled(task)
    t.assertEquals(reader:readline(), ("line %d\n"):format(taken + 1))
  end)
end

TestCancelSelf = {}

function TestCancelSelf:test_raises_at_the_next_suspension()
  t.run(function()
    local after, later = false, false
    local task = create_task(function()
      t.assertTrue(asyncio.current_task():cancel("by myself"))
      after = true
      sleep(0)
      later = true
    end)
    t.assertEquals(assert_ends_cancelled(task).message, "by myself")
    t.assertTrue(after)
    t.assertFalse(later)
  end)
end

function TestCancelSelf:test_a_task_that_then_returns_is_cancelled()
  t.run(function()
    local task = create_task(function()
      asyncio.current_task():cancel("on the way out")
      return "result"
    end)
    t.assertEquals(assert_ends_cancelled(task).message, "on the way out")
  end)
end

function TestCancelSelf:test_a_task_that_then_fails_has_failed()
  t.run(function()
    local task = create_task(function()
      asyncio.current_task():cancel()
      error("boom", 0)
    end)
    t.assertEquals(t.error_of(await, task), "boom")
    t.assertFalse(task:cancelled())
  end)
end

function TestCancelSelf:test_a_task_that_takes_it_back_returns_its_result()
  t.run(function()
    local task = create_task(function()
      asyncio.current_task():cancel()
      t.assertEquals(asyncio.current_task():uncancel(), 0)
      sleep(0)
      return "result"
    end)
    t.assertEquals(await(task), "result")
  end)
end

function TestCancelSelf:test_swallowed_it_is_over()
  t.run(function()
    local task = create_task(function()
      asyncio.current_task():cancel()
      local ok = pcall(sleep, 0)
      return ok, "result"
    end)
    local ok, result = await(task)
    t.assertFalse(ok)
    t.assertEquals(result, "result")
    t.assertFalse(task:cancelled())
  end)
end

TestCancelCount = {}

function TestCancelCount:test_cancelling_counts_the_requests_and_uncancel_takes_one_off()
  t.run(function()
    local task = parked(function()
      pcall(sleep, 60)
      pcall(sleep, 60)
      local self = asyncio.current_task()
      return self:cancelling(), self:uncancel(), self:uncancel(), self:uncancel(), self:cancelling()
    end)
    t.assertEquals(task:cancelling(), 0)
    task:cancel()
    t.assertEquals(task:cancelling(), 1)
    task:cancel()
    t.assertEquals({ await(task) }, { 2, 1, 0, 0, 0 })
  end)
end

function TestCancelCount:test_at_zero_the_requests_that_were_not_delivered_are_dropped()
  t.run(function()
    local future = new_future()
    local task = parked(function()
      await(future)
      t.assertEquals(asyncio.current_task():uncancel(), 0)
      return sleep(0.001, "undisturbed")
    end)
    future:set_result()
    task:cancel()
    t.assertEquals(await(task), "undisturbed")
  end)
end

function TestCancelCount:test_a_scope_leaves_it_as_it_was()
  t.run(function()
    pcall(function()
      local _ <close> = asyncio.timeout(0)
      sleep(60)
    end)
    t.assertEquals(asyncio.current_task():cancelling(), 0)
  end)
end

function TestCancelCount:test_what_is_under_way_is_raised_although_it_was_taken_back()
  t.run(function()
    local task = parked(sleep, 60)
    task:cancel()
    task:uncancel()
    assert_ends_cancelled(task)
    t.assertEquals(task:cancelling(), 0)
  end)
end

TestCancelDone = {}

function TestCancelDone:test_changes_nothing_and_says_so()
  t.run(function()
    local task = create_task(sleep, 0, "result")
    t.assertEquals(await(task), "result")
    t.assertFalse(task:cancel())
    t.assertFalse(task:cancelled())
    t.assertEquals(task:cancelling(), 0)
    t.assertEquals(task:result(), "result")
  end)
end

function TestCancelDone:test_a_cancelled_task_cannot_be_cancelled_again()
  t.run(function()
    local task = parked(sleep, 60)
    task:cancel("first")
    assert_ends_cancelled(task)
    t.assertFalse(task:cancel("second"))
    t.assertEquals(t.error_of(task.result, task).message, "first")
  end)
end

function TestCancelDone:test_its_callbacks_are_called()
  t.run(function()
    local task, seen = parked(sleep, 60), nil
    task:add_done_callback(function(arg) seen = arg end)
    task:cancel()
    assert_ends_cancelled(task)
    t.wait_until(function() return seen end)
    t.assertIs(seen, task)
  end)
end

TestCancelFromElsewhere = {}

function TestCancelFromElsewhere:test_from_a_callback()
  t.run(function()
    local task = parked(sleep, 60)
    asyncio.get_running_loop():call_soon(task.cancel, task, "callback")
    t.assertEquals(assert_ends_cancelled(task).message, "callback")
  end)
end

function TestCancelFromElsewhere:test_from_outside_of_the_running_loop()
  local runner <close> = asyncio.Runner {}
  local loop = runner:get_loop()
  local task = loop:create_task(sleep, 60)
  runner:run(sleep, 0)
  task:cancel("between two runs")
  local err = t.assert_raises(CancelledError, runner.run, runner, task)
  t.assertEquals(err.message, "between two runs")
end

function TestCancelFromElsewhere:test_many_tasks_at_random_moments_and_none_is_left()
  t.run(function()
    math.randomseed(42)
    local tasks, ended = {}, 0
    for i = 1, t.count(2000) do
      tasks[i] = create_task(function()
        local _ <close> = closing(function() ended = ended + 1 end)
        local previous = tasks[i - 1]
        if i % 3 == 0 and not previous:done() then await(asyncio.shield(previous)) end
        for _ = 1, math.random(5) do sleep(math.random() * 0.01) end
      end)
    end
    sleep(0)
    for _ = 1, #tasks do
      tasks[math.random(#tasks)]:cancel()
      if math.random(20) == 1 then sleep(0) end
    end
    asyncio.wait(tasks)
    t.assertEquals(ended, #tasks)
    for _, task in ipairs(tasks) do
      if not task:cancelled() then task:exception() end
    end
  end)
end

t.finish()
