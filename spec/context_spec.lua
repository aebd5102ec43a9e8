-- ContextVar: each task has its own values and passes them on to what it starts.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

TestContextVar = {}

function TestContextVar:test_the_first_set_of_a_program_stays_in_its_task()
  -- in a program of its own: the first set is a case of its own
  local out = t.lua [[
    local asyncio = require "asyncio"
    local var = asyncio.ContextVar("var", "default")
    asyncio.run(function()
      local other = asyncio.create_task(function()
        asyncio.sleep(0)
        asyncio.sleep(0)
        return var:get()
      end)
      print(asyncio.await(asyncio.create_task(function()
        var:set "inner"
        asyncio.sleep(0)
        return var:get()
      end)))
      print(var:get(), asyncio.await(other))
    end)
    print(var:get())
  ]]
  t.assertEquals(out, "inner\ndefault\tdefault\ndefault\n")
end

function TestContextVar:test_get_without_a_value()
  local var = asyncio.ContextVar "lonely"
  local err = t.assert_raises(asyncio.Error, var.get, var)
  t.assertStrContains(err.message, "'lonely' has no value")
  t.assertEquals(var:get(7), 7)
  t.assertNil(var:get(nil))
  t.assertNil(asyncio.ContextVar("nil", nil):get())
  t.assertEquals(asyncio.ContextVar("seven", 7):get(8), 8)
end

function TestContextVar:test_nil_and_false_are_values()
  t.run(function()
    local var = asyncio.ContextVar("var", "default")
    var:set(nil)
    t.assertNil(var:get())
    var:set(false)
    t.assertIs(var:get(), false)
  end)
end

function TestContextVar:test_is_inherited_and_then_independent()
  t.run(function()
    local var = asyncio.ContextVar "var"
    var:set "parent"
    local child = create_task(function()
      local inherited = var:get()
      var:set "child"
      sleep(0)
      return inherited, var:get()
    end)
    var:set "parent later"
    sleep(0)
    t.assertEquals(var:get(), "parent later")
    t.assertEquals({ await(child) }, { "parent", "child" })
    t.assertEquals(var:get(), "parent later")
  end)
end

function TestContextVar:test_callbacks_run_with_the_context_in_which_they_were_made()
  t.run(function()
    local loop, var, seen = asyncio.get_running_loop(), asyncio.ContextVar("var"), {}
    local function note(key) seen[key] = var:get() end
    local future = loop:create_future()
    var:set "soon"
    loop:call_soon(note, "soon")
    var:set "later"
    loop:call_later(0.001, note, "later")
    var:set "done"
    future:add_done_callback(function() note "done" end)
    var:set "set within"
    loop:call_soon(function()
      var:set "callback's own"
      note "own"
    end)
    var:set "now"
    future:set_result()
    sleep(0.01)
    t.assertEquals(seen, { soon = "soon", later = "later", done = "done", own = "callback's own" })
    t.assertEquals(var:get(), "now")
  end)
end

function TestContextVar:test_handlers_of_a_server_have_the_context_in_which_it_was_started()
  t.real(function()
    local var = asyncio.ContextVar "var"
    var:set "server"
    local server <close> = asyncio.start_server(function(_, writer)
      writer:send(var:get())
      var:set "handler"
    end, "127.0.0.1", 0)
    var:set "client"
    for _ = 1, 2 do
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      t.assertEquals(reader:read(), "server")
      writer:close()
    end
    t.assertEquals(var:get(), "client")
  end)
end

function TestContextVar:test_coroutines_share_the_context_of_their_task()
  t.run(function()
    local var = asyncio.ContextVar "var"
    var:set(1)
    local gen = asyncio.coroutine.wrap(function()
      sleep(0)
      var:set(var:get() + 1)
      asyncio.coroutine.yield(var:get())
    end)
    t.assertEquals(gen(), 2)
    t.assertEquals(var:get(), 2)
  end)
end

function TestContextVar:test_what_is_set_outside_is_what_main_begins_with()
  local var = asyncio.ContextVar "var"
  var:set "outside"
  local seen = asyncio.run(function()
    local before = var:get()
    var:set "inside"
    return before
  end)
  t.assertEquals(seen, "outside")
  t.assertEquals(var:get(), "outside")
end

function TestContextVar:test_a_run_that_breaks_off_leaves_the_outer_context()
  local var = asyncio.ContextVar "var"
  var:set "outside"
  local run = t.testing.async(function()
    var:set "inside"
    await(asyncio.get_running_loop():create_future())
  end, { clock = "virtual" })
  t.assertStrContains(t.error_of(run), "deadlock")
  t.assertEquals(var:get(), "outside")
end

function TestContextVar:test_reset()
  t.run(function()
    local var, other = asyncio.ContextVar("var", 0), asyncio.ContextVar "other"
    local first = var:set(1)
    local second = var:set(2)
    var:reset(second)
    t.assertEquals(var:get(), 1)
    var:reset(first)
    t.assertEquals(var:get(), 0)
    t.assert_raises(asyncio.InvalidStateError, var.reset, var, first)
    t.assertStrContains(t.error_of(other.reset, other, var:set(3)), "token")
    do
      local _ <close> = var:set(4)
      t.assertEquals(var:get(), 4)
    end
    t.assertEquals(var:get(), 3)
  end)
end

function TestContextVar:test_goes_along_to_a_thread_and_changes_nothing_here()
  t.real(function()
    local var, unset, socket = asyncio.ContextVar "var", asyncio.ContextVar("unset", "default"), asyncio.ContextVar "s"
    var:set { 1 }
    socket:set(io.stdout) -- cannot cross: left out
    local seen, changed, default, missing = asyncio.to_thread(function()
      local before = var:get()[1]
      var:set "there"
      return before, var:get(), unset:get(), not pcall(socket.get, socket)
    end)
    t.assertEquals({ seen, changed, default, missing }, { 1, "there", "default", true })
    t.assertEquals(var:get(), { 1 })
    t.assertIs(asyncio.to_thread(function() return var end), var)
    t.assertEquals(asyncio.to_thread(function(x) return x end, 5), 5)
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local loop = asyncio.get_running_loop()
    loop:set_default_executor(pool)
    asyncio.to_thread(function() return var:get() end)
    local function left() return pcall(var.get, var) end
    t.assertFalse((await(loop:run_in_executor(pool, left)))) -- the next job has nothing of it
  end)
end

function TestContextVar:test_is_refused_in_a_message_that_is_not_trusted()
  local core = require "asyncio.core"
  local bytes = core.codec_encode(asyncio.ContextVar "var")
  t.assertStrContains(t.error_of(core.codec_decode, bytes, false), "not trusted")
end

function TestContextVar:test_a_refusal_names_the_argument_as_ever()
  t.real(function()
    asyncio.ContextVar "var":set(1)
    local err = t.error_of(asyncio.to_thread, print, 1, coroutine.create(print))
    t.assertStrContains(err, "cannot send a coroutine at argument 2")
  end)
end

function TestContextVar:test_arguments_and_names()
  t.assertStrContains(t.error_of(asyncio.ContextVar), "string expected, got nil")
  local var = asyncio.ContextVar "var"
  t.assertEquals(tostring(var), "asyncio.ContextVar 'var'")
  t.assertEquals(tostring(var:set(1)), "asyncio.ContextToken of 'var'")
  t.assertStrContains(t.error_of(var.get, {}), "asyncio.ContextVar expected, got table")
end

t.finish()
