-- Datagrams: words of errors, errors that were told twice, options that ask for what there isn't, a stranger's code in
-- the middle of a call.
local t = require "helper"
local place = require "datagram.place"

local asyncio = t.asyncio
local NAME = "bad argument #1 to 'create_datagram_endpoint' "

TestWords = {}

local function words_of(opts)
  local ok, err = asyncio.pcall(asyncio.create_datagram_endpoint, opts)
  t.assertFalse(ok)
  return tostring(err):gsub("^%S+:%d+: ", "")
end

function TestWords:test_a_host_that_is_none_is_an_argument_error_of_that_option()
  t.run(function()
    t.assertEquals(words_of { local_addr = { host = "" } },
      NAME .. "('local_addr.host': a name or an address expected, got \"\")")
    t.assertEquals(words_of { remote_addr = { host = "", port = 1 } },
      NAME .. "('remote_addr.host': a name or an address expected, got \"\")")
    t.assertEquals(words_of { local_addr = { host = "local\0host" } },
      NAME .. "('local_addr.host': name with a zero byte)")
    t.assertEquals(words_of { remote_addr = { host = ("x"):rep(2000), port = 1 } },
      NAME .. "('remote_addr.host': name too long)")
  end)
end

function TestWords:test_an_address_with_a_zero_byte_is_not_cut_there()
  t.run(function()
    local e <close> = place.open()
    local unix <close> = asyncio.create_datagram_endpoint { family = "unix" }
    t.assertErrorMsgContains("got one with a zero byte", e.send, e, "x", { host = "127.0.0.1\0x", port = 9 })
    t.assertErrorMsgContains("needs a numeric host, got \"\"", e.send, e, "x", { host = "", port = 9 })
    t.assertErrorMsgContains("has a zero byte", unix.send, unix, "x", { path = "/tmp\0x" })
  end)
end

function TestWords:test_what_is_no_interface_of_such_an_endpoint_is_an_argument_error()
  t.run(function()
    local ipv4 = "('multicast_interface': an interface's name, number or IPv4 address expected, got "
    for _, interface in ipairs { "", "::1", "fe80::1%lo", "ff02::1" } do
      local words = NAME .. ipv4 .. (interface == "" and '""' or interface) .. ")"
      t.assertEquals(words_of { family = "inet", multicast_interface = interface }, words)
      t.assertEquals(words_of { family = "inet6", multicast_interface = interface }, words)
    end
    local ipv6 = NAME
      .. "('multicast_interface': of an IPv6 endpoint an interface's name or number expected, got 127.0.0.1)"
    t.assertEquals(words_of { family = "inet6", multicast_interface = "127.0.0.1" }, ipv6)
    t.assertEquals(words_of { local_addr = { host = "::1" }, multicast_interface = "127.0.0.1" }, ipv6)
  end)
end

function TestWords:test_an_interface_known_by_an_ipv4_address_chooses_ipv4()
  t.run(function()
    local e <close> = asyncio.create_datagram_endpoint { local_addr = {}, multicast_interface = "127.0.0.1" }
    t.assertEquals(e:get_extra_info "sockname".family, "inet")
  end)
end

function TestWords:test_of_groups_say_what_an_interface_is()
  t.run(function()
    local four <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local six <close> = asyncio.create_datagram_endpoint { family = "inet6" }
    t.assertErrorMsgContains("name, number or IPv4 address expected, got \"\"", four.join_group, four, "239.1.2.3", "")
    t.assertErrorMsgContains("number or IPv4 address expected, got ::1", four.join_group, four, "239.1.2.3", "::1")
    t.assertErrorMsgContains("name or number expected, got 127.0.0.1", six.join_group, six, "ff02::5", "127.0.0.1")
    t.assertErrorMsgContains("no such device: interface nowhere0", six.join_group, six, "ff02::5", "nowhere0")
  end)
end

function TestWords:test_an_option_that_the_system_refuses_is_named_with_its_value()
  t.run(function()
    t.assertEquals(words_of { family = "inet", multicast_interface = "192.0.2.1" },
      "[EADDRNOTAVAIL] address not available: setsockopt (option 'multicast_interface' = 192.0.2.1)")
    t.assertEquals(words_of { family = "inet6", multicast_interface = 0x7fffffff },
      "[ENODEV] no such device: setsockopt (option 'multicast_interface' = 2147483647)")
    t.assertEquals(words_of { family = "inet", multicast_interface = "nowhere0" },
      "[ENODEV] no such device: setsockopt (option 'multicast_interface' = nowhere0)")
  end)
end

function TestWords:test_a_peer_that_is_a_broadcast_address_says_what_that_needs()
  t.run(function()
    local remote = { host = "127.255.255.255", port = 9 }
    t.assertEquals(words_of { remote_addr = remote }, "[EACCES] permission denied (a broadcast needs the option "
      .. "allow_broadcast = true): connect 127.255.255.255:9")
    asyncio.create_datagram_endpoint { remote_addr = remote, allow_broadcast = true }:close()
  end)
end

TestOnce = {}

function TestOnce:test_what_send_has_raised_is_not_heard_of_again()
  t.run(function()
    local server <close>, at = place.open()
    for _, opts in ipairs { { family = "inet" }, { remote_addr = at } } do
      for _, icmp_errors in ipairs { false, true } do
        opts.icmp_errors = icmp_errors
        local e <close> = asyncio.create_datagram_endpoint(opts)
        local to = not opts.remote_addr and at or nil
        local err = t.error_of(e.send, e, ("x"):rep(65520), to) -- too long for IP, not for the call
        t.assertEquals(err.code, "EMSGSIZE")
        t.assertNil(e:receive_nowait())
        asyncio.sleep(0.01)
        t.assertNil(e:receive_nowait())
        e:send("fine", to)
        t.assertEquals((server:receive()), "fine")
      end
    end
  end)
end

function TestOnce:test_an_error_that_was_raised_wakes_the_loop_no_more()
  t.real(function()
    local dead = place.dead()
    for _, call in ipairs { "receive", "send" } do
      local e <close> = place.connected(dead)
      e:send "x"
      local ok, err = asyncio.pcall(e[call], e, "y")
      t.assertFalse(ok)
      t.assertEquals(err.code, "ECONNREFUSED")
      t.assertNil(e:receive_nowait())
      local before = os.clock()
      t.assertFalse(asyncio.move_on_after(0.3, e.receive, e))
      t.assertTrue(os.clock() - before < 0.15, "it polls again and again")
    end
  end)
end

function TestOnce:test_a_refused_datagram_takes_none_that_has_come_to_a_unix_socket()
  t.run(function()
    local here <close> = place.path()
    local nowhere <close> = place.path()
    local e <close> = asyncio.create_datagram_endpoint { path = here.path }
    local client <close> = asyncio.create_datagram_endpoint { remote_path = here.path }
    client:send "kept"
    t.assertEquals(t.error_of(e.send, e, "x", { path = nowhere.path }).code, "ENOENT")
    t.assertEquals((e:receive_nowait()), "kept")
  end)
end

TestDatagramsOfAStranger = {}

-- A string of its own each time, which nobody else holds.
local function text(letter, n) return letter:rep(n) .. tostring({}) end

function TestDatagramsOfAStranger:test_an_address_that_takes_one_out_of_the_list_does_not_change_what_is_sent()
  t.real(function()
    local endpoint <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
    local here = endpoint:get_extra_info "sockname"
    local list = { { text("q", 900), here }, { "two", {} } }
    local filler = {}
    setmetatable(list[2][2], {
      __index = function(_, key)
        list[1] = false
        collectgarbage()
        for i = 1, 100 do filler[i] = text("z", 850 + i) end
        return here[key]
      end,
    })
    t.assertEquals(endpoint:send_many(list), 2)
    t.assertEquals(endpoint:receive():sub(1, 900), ("q"):rep(900))
    t.assertEquals(#filler, 100)
    t.assertEquals((endpoint:receive()), "two")
  end)
end

t.finish()
