-- errors_spec.lua - the error classes of asyncio.http, and the module itself.
local t = require "helper"

local asyncio = t.asyncio
local http = asyncio.http

TestErrors = {}

function TestErrors:test_the_module_is_loaded_when_it_is_first_used_either_way()
  local out = t.lua [[
    local asyncio = require "asyncio"
    print(package.loaded["asyncio.http"], require "asyncio.http" == asyncio.http)]]
  t.assertEquals(out, "nil\ttrue\n")
end

function TestErrors:test_all_stand_below_httperror()
  for _, name in ipairs { "ProtocolError", "BodyTooLarge", "TooManyRedirects", "HTTPStatusError", "WebSocketError" } do
    local err = http[name] "why"
    t.assertTrue(asyncio.isinstance(err, http.HTTPError) and asyncio.isinstance(err, asyncio.Error))
    t.assertEquals({ tostring(err), asyncio.type(err) }, { name .. ": why", name })
  end
end

function TestErrors:test_one_without_a_message_says_what_its_kind_is()
  t.assertEquals(tostring(http.BodyTooLarge { limit = 10 }), "BodyTooLarge: the body is too large")
end

function TestErrors:test_they_are_known_again_when_they_come_from_another_thread()
  t.real(function()
    local err = t.error_of(asyncio.to_thread, function()
      error(require "asyncio.http".BodyTooLarge { message = "too much", limit = 5 }, 0)
    end)
    t.assertTrue(asyncio.isinstance(err, http.BodyTooLarge))
    t.assertEquals(err.limit, 5)
  end)
end

function TestErrors:test_one_that_came_before_the_module_was_loaded_is_the_modules()
  local out, errors = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local ok, err = pcall(asyncio.to_thread, function() error(require "asyncio.http".ProtocolError "cut", 0) end)
      print(package.loaded["asyncio.http"], asyncio.isinstance(err, asyncio.http.ProtocolError), err)
      print(asyncio.isinstance(asyncio.http.ProtocolError "x", asyncio.http.HTTPError))
    end)]]
  t.assertEquals(errors, "")
  t.assertStrContains(out, "nil\ttrue\tProtocolError: cut")
  t.assertStrContains(out, "\ntrue\n")
end

t.finish()
