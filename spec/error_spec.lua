-- The error classes; asyncio.pcall and asyncio.xpcall.
local t = require "helper"
local asyncio = t.asyncio

TestErrorClasses = {}
TestIsinstance = {}
TestErrorText = {}
TestOSError = {}
TestPcall = {}
TestXpcall = {}

local ERRORS = {
  "TimeoutError", "InvalidStateError", "QueueEmpty", "QueueFull", "QueueShutDown", "IncompleteReadError",
  "LimitOverrunError", "BrokenBarrierError", "BrokenExecutorError", "BusyError", "ClosedError",
  "ExceptionGroup", "OSError", "CalledProcessError", "DeadlockError",
}
local OS_ERRORS = {
  "ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "BrokenPipeError", "AddressInUseError",
  "FileNotFoundError", "PermissionError", "GaiError", "SSLError", "SSLCertVerificationError", "SSLEOFError",
  "FileExistsError", "IsADirectoryError", "NotADirectoryError", "ProcessLookupError", "ChildProcessError",
}
local CONNECTION_ERRORS = {
  ConnectionError = true, ConnectionRefusedError = true, ConnectionResetError = true, BrokenPipeError = true,
}
local INTERRUPTIONS = { "CancelledError", "KeyboardInterrupt" }

local function make(name)
  if name == "ExceptionGroup" then return asyncio.ExceptionGroup("message", {}) end
  return asyncio[name] "message"
end

-- classes

function TestErrorClasses:test_all_are_there_and_below_Error()
  for _, list in ipairs { ERRORS, OS_ERRORS } do
    for _, name in ipairs(list) do
      t.assertNotNil(asyncio[name], name)
      t.assert_isinstance(make(name), asyncio.Error)
      t.assert_isinstance(make(name), asyncio[name])
    end
  end
  t.assert_isinstance(asyncio.Error "x", asyncio.Error)
end

function TestErrorClasses:test_of_the_operating_system_are_below_OSError()
  for _, name in ipairs(OS_ERRORS) do t.assert_isinstance(make(name), asyncio.OSError) end
  for _, name in ipairs(ERRORS) do
    t.assertEquals(asyncio.isinstance(make(name), asyncio.OSError), name == "OSError", name)
  end
end

function TestErrorClasses:test_of_TLS_are_below_SSLError()
  for _, name in ipairs { "SSLCertVerificationError", "SSLEOFError" } do
    t.assertIs(asyncio[name].super, asyncio.SSLError)
  end
  t.assertIs(asyncio.SSLError.super, asyncio.OSError)
end

function TestErrorClasses:test_of_a_peer_that_is_gone_are_below_ConnectionError()
  for _, name in ipairs(OS_ERRORS) do
    t.assertEquals(asyncio.isinstance(make(name), asyncio.ConnectionError), CONNECTION_ERRORS[name] or false, name)
  end
  t.assertIs(asyncio.ConnectionError.super, asyncio.OSError)
  t.assertEquals(tostring(asyncio.ConnectionError()), "ConnectionError: the connection failed")
end

function TestErrorClasses:test_keep_what_stands_above_them_when_they_come_from_a_thread()
  t.real(function()
    for name in pairs(CONNECTION_ERRORS) do
      local err = t.error_of(asyncio.to_thread, function(class)
        local lib = require "asyncio"
        error(lib[class] { message = "gone", code = "ECONNRESET" }, 0)
      end, name)
      t.assertIs(getmetatable(err), asyncio[name])
      t.assert_isinstance(err, asyncio.ConnectionError)
      t.assert_isinstance(err, asyncio.OSError)
    end
  end)
end

function TestErrorClasses:test_that_interrupt_are_no_Errors()
  for _, name in ipairs(INTERRUPTIONS) do
    t.assert_isinstance(make(name), asyncio[name])
    t.assertFalse(asyncio.isinstance(make(name), asyncio.Error))
  end
  t.assertFalse(asyncio.isinstance(make "CancelledError", asyncio.KeyboardInterrupt))
  t.assertFalse(asyncio.isinstance(make "KeyboardInterrupt", asyncio.CancelledError))
end

function TestErrorClasses:test_are_called_with_a_message()
  local err = asyncio.TimeoutError "too late"
  t.assertEquals(type(err), "table")
  t.assertEquals(err.message, "too late")
  t.assertIs(getmetatable(err), asyncio.TimeoutError)
end

function TestErrorClasses:test_are_called_with_a_table_of_fields()
  local fields = { message = "short", partial = "abc", expected = 10 }
  local err = asyncio.IncompleteReadError(fields)
  t.assertEquals({ err.message, err.partial, err.expected }, { "short", "abc", 10 })
  t.assertNotIs(err, fields) -- and leave that as it was
  t.assertNil(getmetatable(fields))
  err = asyncio.LimitOverrunError { consumed = 7 }
  t.assertEquals(err.consumed, 7)
end

function TestErrorClasses:test_are_called_with_nothing()
  local err = asyncio.QueueEmpty()
  t.assert_isinstance(err, asyncio.QueueEmpty)
  t.assertTrue(#tostring(err) > 0)
end

function TestErrorClasses:test_give_a_new_error_each_time()
  t.assertNotIs(asyncio.Error "x", asyncio.Error "x")
end

function TestErrorClasses:test_can_be_subclassed()
  local Mine = asyncio.Error:subclass "Mine"
  local Yours = Mine:subclass "Yours"
  local err = Yours { message = "m", field = 1 }
  t.assert_isinstance(err, Yours)
  t.assert_isinstance(err, Mine)
  t.assert_isinstance(err, asyncio.Error)
  t.assertFalse(asyncio.isinstance(Mine "m", Yours))
  t.assertEquals({ err.message, err.field }, { "m", 1 })
  t.assertStrContains(tostring(err), "Yours")
  t.assertStrContains(tostring(err), "m")
end

function TestErrorClasses:test_of_two_subclasses_with_one_name_are_two()
  local A, B = asyncio.Error:subclass "Same", asyncio.Error:subclass "Same"
  t.assertFalse(asyncio.isinstance(A "x", B))
end

function TestErrorClasses:test_hand_their_methods_down()
  local Mine = asyncio.OSError:subclass "Mine"
  function Mine:hint() return "try " .. self.message end
  t.assertEquals(Mine("again"):hint(), "try again")
  t.assertEquals(Mine:subclass("Yours")("again"):hint(), "try again")
end

function TestErrorClasses:test_subclass_of_CancelledError_is_a_cancellation()
  local Mine = asyncio.CancelledError:subclass "Mine"
  t.assertFalse(asyncio.isinstance(Mine "x", asyncio.Error))
  t.run(function()
    local task = asyncio.create_task(function() error(Mine "x") end)
    t.assert_raises(Mine, asyncio.await, task)
    t.assertTrue(task:cancelled())
  end)
end

function TestErrorClasses:test_subclass_without_a_name_is_an_argument_error()
  t.assertStrContains(t.error_of(asyncio.Error.subclass, asyncio.Error), "bad argument")
  t.assertFalse((pcall(asyncio.Error.subclass)))
end

function TestErrorClasses:test_an_Error_that_leaves_a_task_carries_its_traceback()
  t.run(function()
    local function here_it_fails() error(asyncio.Error "x") end
    local err = t.error_of(asyncio.await, asyncio.create_task(function()
      here_it_fails()
      return 1
    end))
    t.assertStrContains(err.traceback, "stack traceback")
    t.assertStrContains(err.traceback, "here_it_fails")
  end)
end

-- isinstance

function TestIsinstance:test_is_false_for_values_of_any_other_kind()
  for _, value in ipairs {
    false, true, 0, 1.5, "Error", {}, print, coroutine.create(print), io.stdout, asyncio, asyncio.Error,
    setmetatable({}, {}), setmetatable({}, { __metatable = "locked" }),
    setmetatable({}, { __index = function() error "do not look" end }),
    setmetatable({}, { __metatable = asyncio.Error }),
  } do
    t.assertIs(asyncio.isinstance(value, asyncio.Error), false)
  end
  t.assertIs(asyncio.isinstance(nil, asyncio.Error), false)
end

function TestIsinstance:test_is_false_for_a_class_itself()
  t.assertFalse(asyncio.isinstance(asyncio.TimeoutError, asyncio.TimeoutError))
  t.assertFalse(asyncio.isinstance(asyncio.TimeoutError, asyncio.Error))
  t.assertFalse(asyncio.isinstance(asyncio.Error:subclass "Mine", asyncio.Error))
end

function TestIsinstance:test_with_something_else_than_a_class_is_an_argument_error()
  t.assertStrContains(t.error_of(asyncio.isinstance, 1, asyncio.TimoutError),
    "(class expected, got nil: is its name misspelt?)")
  t.assertStrContains(t.error_of(asyncio.isinstance, 1, "Error"), "(class expected, got string)")
  t.assertStrContains(t.error_of(asyncio.isinstance), "bad argument #1")
end

-- text

function TestErrorText:test_holds_the_message()
  for _, list in ipairs { ERRORS, OS_ERRORS, INTERRUPTIONS } do
    for _, name in ipairs(list) do t.assertStrContains(tostring(make(name)), "message") end
  end
  t.assertEquals(tostring(asyncio.Error "a sentence for people"), "a sentence for people")
end

function TestErrorText:test_says_something_without_a_message()
  for _, list in ipairs { ERRORS, OS_ERRORS, INTERRUPTIONS } do
    for _, name in ipairs(list) do
      local err = setmetatable({ errors = {} }, asyncio[name])
      t.assertTrue(#tostring(err) > 3, name)
      t.assertFalse(tostring(err):find "nil" ~= nil, name)
    end
  end
end

function TestErrorText:test_of_an_odd_message()
  t.assertStrContains(tostring(asyncio.TimeoutError(42)), "42")
  t.assertStrContains(tostring(asyncio.TimeoutError(false)), "false")
  local message = setmetatable({}, { __tostring = function() return "custom" end })
  t.assertStrContains(tostring(asyncio.TimeoutError { message = message }), "custom")
end

function TestErrorText:test_of_an_OSError_begins_with_its_code()
  local err = asyncio.OSError { code = "ECONNREFUSED", message = "connection refused: connect 127.0.0.1:1" }
  t.assertEquals(tostring(err), "[ECONNREFUSED] connection refused: connect 127.0.0.1:1")
end

function TestErrorText:test_of_a_class_names_it()
  t.assertStrContains(tostring(asyncio.TimeoutError), "TimeoutError")
  t.assertStrContains(tostring(asyncio.Error:subclass "Mine"), "Mine")
end

-- OSError

--- A port of this machine where nobody listens.
local function closed_port()
  local server = asyncio.start_server(function() end, "127.0.0.1", 0)
  local port = server:sockets()[1].port
  server:close()
  server:wait_closed()
  return port
end

function TestOSError:test_has_code_errno_syscall_and_address()
  t.real(function()
    local port = closed_port()
    local err = t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_connection, "127.0.0.1", port)
    t.assertEquals({ err.code, err.syscall, err.address }, { "ECONNREFUSED", "connect", "127.0.0.1:" .. port })
    t.assertEquals(math.type(err.errno), "integer")
    t.assertTrue(err.errno > 0)
    t.assertEquals(tostring(err), "[ECONNREFUSED] connection refused: connect 127.0.0.1:" .. port)
  end)
end

function TestOSError:test_of_an_address_in_use()
  t.real(function()
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    local port = server:sockets()[1].port
    local err = t.assert_raises(asyncio.AddressInUseError, asyncio.start_server, function() end, "127.0.0.1", port)
    t.assertEquals(err.code, "EADDRINUSE")
    t.assertStrContains(tostring(err), "[EADDRINUSE] ")
    t.assertStrContains(tostring(err), "127.0.0.1:" .. port)
  end)
end

function TestOSError:test_of_a_name_that_does_not_resolve_is_a_GaiError()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local err = t.assert_raises(asyncio.GaiError, loop.getaddrinfo, loop, "::1", 80, { family = "inet" })
    t.assertEquals(type(err.code), "string")
    t.assertStrContains(tostring(err), "[" .. err.code .. "] ")
  end)
end

function TestOSError:test_in_a_task_carries_a_traceback()
  t.real(function()
    local port = closed_port()
    local function here_it_connects() return (asyncio.open_connection("127.0.0.1", port)) end
    local err = t.error_of(asyncio.await, asyncio.create_task(function()
      here_it_connects()
      return 1
    end))
    t.assertStrContains(err.traceback, "here_it_connects")
  end)
end

-- pcall

function TestPcall:test_gives_what_Luas_gives()
  local function echo(...) return ... end
  t.assertEquals(table.pack(asyncio.pcall(echo)), { true, n = 1 })
  t.assertEquals(table.pack(asyncio.pcall(echo, nil, 2, nil)), { true, nil, 2, nil, n = 4 })
  local boom = {}
  for _, value in ipairs { boom, false, 42, "text" } do
    t.assertEquals(table.pack(asyncio.pcall(error, value, 0)), { false, value, n = 2 })
  end
  t.assertEquals(table.pack(asyncio.pcall(error, nil)), { false, t.NO_ERROR, n = 2 })
  t.assertEquals((asyncio.pcall(nil)), false)
  t.assertStrContains(t.error_of(asyncio.pcall), "bad argument #1")
end

function TestPcall:test_catches_Errors()
  local err = asyncio.TimeoutError "x"
  t.assertEquals({ asyncio.pcall(error, err) }, { false, err })
end

function TestPcall:test_lets_cancellation_and_KeyboardInterrupt_pass()
  for _, class in ipairs {
    asyncio.CancelledError, asyncio.KeyboardInterrupt, asyncio.CancelledError:subclass "Mine",
  } do
    local err = class "x"
    t.assertEquals({ pcall(asyncio.pcall, error, err) }, { false, err }) -- and Lua's own catches it
  end
end

function TestPcall:test_lets_its_function_wait()
  t.run(function()
    t.assertEquals({ asyncio.pcall(function(...)
      asyncio.sleep(0)
      return ...
    end, 1, nil, 3) }, { true, 1, nil, 3 })
    t.assertEquals({ asyncio.pcall(function()
      asyncio.sleep(0)
      error("late", 0)
    end) }, { false, "late" })
  end)
end

function TestPcall:test_lets_the_cancellation_of_its_task_pass()
  t.run(function()
    local went_on = false
    local task = asyncio.create_task(function()
      asyncio.pcall(asyncio.pcall, asyncio.sleep, 1000)
      went_on = true
    end)
    asyncio.sleep(0)
    task:cancel "stop"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "stop")
    t.assertTrue(task:cancelled())
    t.assertFalse(went_on)
  end)
end

function TestPcall:test_of_Lua_catches_a_cancellation()
  t.run(function()
    local task = asyncio.create_task(function() return pcall(asyncio.sleep, 1000) end)
    asyncio.sleep(0)
    task:cancel()
    local ok, err = asyncio.await(task)
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.CancelledError)
    t.assertFalse(task:cancelled())
  end)
end

-- xpcall

function TestXpcall:test_gives_what_Luas_gives()
  local function echo(...) return ... end
  t.assertEquals(table.pack(asyncio.xpcall(echo, echo)), { true, n = 1 })
  t.assertEquals(table.pack(asyncio.xpcall(echo, echo, nil, 2, nil)), { true, nil, 2, nil, n = 4 })
  t.assertEquals({ asyncio.xpcall(error, function(err) return "handled " .. err end, "boom", 0) },
    { false, "handled boom" })
  t.assertEquals({ asyncio.xpcall(error, function(err) return { err } end, "boom", 0) }, { false, { "boom" } })
  t.assertFalse((asyncio.xpcall(nil, echo)))
end

function TestXpcall:test_calls_its_handler_where_the_error_is()
  local function here_it_fails() error "boom" end
  local _, text = asyncio.xpcall(function()
    here_it_fails()
    return 1
  end, debug.traceback)
  t.assertStrContains(text, "boom")
  t.assertStrContains(text, "here_it_fails")
end

function TestXpcall:test_lets_cancellation_and_KeyboardInterrupt_pass_without_a_word_to_the_handler()
  for _, class in ipairs { asyncio.CancelledError, asyncio.KeyboardInterrupt } do
    local err, called = class "x", false
    t.assertEquals({ pcall(asyncio.xpcall, error, function() called = true end, err) }, { false, err })
    t.assertFalse(called)
  end
end

function TestXpcall:test_lets_its_function_wait()
  t.run(function()
    t.assertEquals({ asyncio.xpcall(function(...)
      asyncio.sleep(0)
      return ...
    end, print, 1, 2) }, { true, 1, 2 })
    t.assertEquals({ asyncio.xpcall(function()
      asyncio.sleep(0)
      error("late", 0)
    end, function(err) return err .. "!" end) }, { false, "late!" })
  end)
end

function TestXpcall:test_survives_a_handler_that_fails()
  local ok = asyncio.xpcall(error, function() error "in the handler" end, "boom")
  t.assertFalse(ok)
end

function TestXpcall:test_with_wrong_arguments_is_an_argument_error()
  t.assertStrContains(t.error_of(asyncio.xpcall, print), "bad argument #2")
  t.assertStrContains(t.error_of(asyncio.xpcall, print, 42), "bad argument #2")
end

t.finish()
