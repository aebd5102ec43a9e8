-- resolve_spec.lua - Loop:getaddrinfo and Loop:getnameinfo.
local t = require "helper"

local asyncio = t.asyncio

local function lookup(...) return asyncio.get_running_loop():getaddrinfo(...) end
local function names(...) return asyncio.get_running_loop():getnameinfo(...) end

TestGetaddrinfo = {}

function TestGetaddrinfo:test_of_a_number_gives_that_address()
  t.real(function()
    local list = lookup("127.0.0.1", 80)
    t.assertEquals(#list, 1)
    t.assertEquals(list[1].host, "127.0.0.1")
    t.assertEquals(list[1].port, 80)
    t.assertEquals(list[1].family, "inet")
    t.assertEquals(tostring(list[1]), "127.0.0.1:80")
  end)
end

function TestGetaddrinfo:test_of_an_ipv6_number_gives_that_address()
  t.real(function()
    local list = lookup("::1", 80)
    t.assertEquals(list[1].host, "::1")
    t.assertEquals(list[1].family, "inet6")
    t.assertEquals(tostring(list[1]), "[::1]:80")
  end)
end

function TestGetaddrinfo:test_of_a_number_does_not_wait()
  t.real(function()
    local turned = false
    asyncio.get_running_loop():call_soon(function() turned = true end)
    lookup("127.0.0.1", 80)
    t.assertFalse(turned)
  end)
end

function TestGetaddrinfo:test_of_a_name_gives_its_addresses()
  t.real(function()
    local list = lookup("localhost", 1234)
    t.assertTrue(#list >= 1)
    for _, address in ipairs(list) do
      t.assertTrue(address.host == "127.0.0.1" or address.host == "::1", tostring(address))
      t.assertEquals(address.port, 1234)
    end
  end)
end

function TestGetaddrinfo:test_with_a_family_gives_only_that_one()
  t.real(function()
    for _, address in ipairs(lookup("localhost", 80, { family = "inet" })) do
      t.assertEquals(address.family, "inet")
    end
    t.assert_raises(asyncio.GaiError, lookup, "127.0.0.1", 80, { family = "inet6" })
    t.assert_raises(asyncio.GaiError, lookup, "::1", 80, { family = "inet" })
  end)
end

function TestGetaddrinfo:test_without_a_host_gives_the_loopback_or_with_passive_all_addresses()
  t.real(function()
    t.assertEquals(lookup(nil, 80, { family = "inet" })[1].host, "127.0.0.1")
    t.assertEquals(lookup(nil, 80, { family = "inet", passive = true })[1].host, "0.0.0.0")
  end)
end

function TestGetaddrinfo:test_without_a_port_gives_port_0()
  t.real(function() t.assertEquals(lookup("127.0.0.1")[1].port, 0) end)
end

function TestGetaddrinfo:test_takes_the_name_of_a_service()
  t.real(function()
    local ok, list = pcall(lookup, "127.0.0.1", "http")
    if not ok then t.skip "this machine knows no services" end
    t.assertEquals(list[1].port, 80)
    t.assert_raises(asyncio.GaiError, lookup, "127.0.0.1", "no-such-service")
  end)
end

function TestGetaddrinfo:test_of_an_unknown_name_raises_and_says_which()
  t.real(function()
    local err = t.assert_raises(asyncio.GaiError, lookup, "no-such-name.invalid", 80)
    t.assertStrContains(tostring(err), "getaddrinfo no-such-name.invalid")
    t.assertStrMatches(err.code, "EAI_.*")
  end)
end

function TestGetaddrinfo:test_refuses_wrong_arguments()
  t.real(function()
    t.assertErrorMsgContains("host or a port", lookup)
    t.assertErrorMsgContains("name expected", lookup, {}, 80)
    t.assertErrorMsgContains("zero byte", lookup, "local\0host", 80)
    t.assertErrorMsgContains("too long", lookup, ("x"):rep(5000), 80)
    t.assertErrorMsgContains("table of options expected", lookup, "127.0.0.1", 80, 5)
    t.assertErrorMsgContains([['family': "inet", "inet6" or "any" expected]], lookup, "127.0.0.1", 80,
      { family = "ipx" })
  end)
end

function TestGetaddrinfo:test_runs_many_lookups_at_once()
  t.real(function()
    local tasks = {}
    for i = 1, t.count(60) do
      local name = i % 3 == 0 and ("no-such-name-%d.invalid"):format(i) or "localhost"
      tasks[i] = asyncio.create_task(lookup, name, i)
    end
    for i, task in ipairs(tasks) do
      if i % 3 == 0 then
        t.assert_raises(asyncio.GaiError, asyncio.await, task)
      else
        t.assertEquals(asyncio.await(task)[1].port, i)
      end
    end
  end)
end

function TestGetaddrinfo:test_can_be_cancelled_at_whatever_moment()
  t.real(function()
    for i = 1, t.count(60) do
      local task = asyncio.create_task(lookup, "localhost", i)
      for _ = 1, i % 4 do asyncio.sleep(0) end
      if i % 4 == 3 then asyncio.sleep(0.001) end
      task:cancel()
      local ok, result = pcall(asyncio.await, task)
      if ok then
        t.assertEquals(result[1].port, i)
      else
        t.assert_isinstance(result, asyncio.CancelledError)
      end
    end
  end)
end

function TestGetaddrinfo:test_under_way_does_not_hold_up_the_end_of_the_program()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      for i = 1, 20 do
        local name = "no-such-name-" .. i .. ".invalid"
        asyncio.create_task(function() pcall(loop.getaddrinfo, loop, name, 80) end)
      end
      asyncio.sleep(0)
    end)
    print "over"
  ]]
  t.assertEquals(err, "")
  t.assertEquals(out, "over\n")
  t.assertEquals(code, 0)
end

TestGetnameinfo = {}

function TestGetnameinfo:test_in_numbers_needs_no_lookup()
  t.real(function()
    local host, service = names({ host = "127.0.0.1", port = 80 }, { numeric = true })
    t.assertEquals(host, "127.0.0.1")
    t.assertEquals(service, "80")
    t.assertEquals((names({ host = "::1", port = 80 }, { numeric = true })), "::1")
  end)
end

function TestGetnameinfo:test_gives_the_names_of_an_address()
  t.real(function()
    local host, service = names { host = "127.0.0.1", port = 65000 }
    t.assertStrMatches(host, ".+")
    t.assertEquals(service, "65000")
  end)
end

function TestGetnameinfo:test_takes_what_getaddrinfo_gives()
  t.real(function()
    local host, service = names(lookup("127.0.0.1", 4321)[1], { numeric = true })
    t.assertEquals({ host, service }, { "127.0.0.1", "4321" })
  end)
end

function TestGetnameinfo:test_refuses_what_is_no_address()
  t.real(function()
    t.assertErrorMsgContains("table expected", names, "127.0.0.1")
    t.assertErrorMsgContains("host", names, {})
    t.assertErrorMsgContains("numeric host", names, { host = "localhost", port = 80 })
    t.assertErrorMsgContains("port", names, { host = "127.0.0.1", port = 65536 })
    t.assertErrorMsgContains("port", names, { host = "127.0.0.1" })
  end)
end

t.finish()
